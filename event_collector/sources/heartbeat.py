"""The heartbeat of a feed: extends the messages that it holds, so that the broker gives them to nobody else."""

import asyncio
from time import monotonic
from typing import Final

from event_collector.sources.ledger import Ledger
from event_collector.sources.source import Source
from event_collector.sources.source_health import SourceHealth
from event_collector.values.errors import SourceError

BEATS: Final = 3
"""Extensions of a message within its hold; two may be missed."""


async def extend_held(source: Source, ledger: Ledger, health: SourceHealth) -> None:
    """Extend held messages, well before their hold expires, until this is cancelled."""
    while True:
        interval = source.hold / BEATS  # the source may find another one later
        await asyncio.sleep(interval)
        now = monotonic()
        due = [held for held in ledger.held.values() if now - held.touched >= interval / 2]
        if not due:
            continue
        try:
            await source.extend([held.message for held in due])
        except SourceError as exc:
            health.fail(exc)
        else:
            for held in due:
                held.touch(now)
