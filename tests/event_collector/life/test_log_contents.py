"""What stands in log lines: ids, keys, numbers and reasons, and no values of payloads."""

import asyncio
import os
from copy import copy
from pathlib import Path
from typing import Any

import pytest

from event_collector import Collector, CollectorQueue, Context, Payload, Reject, Retry

SECRET = "s3cr3t"


class Log:
    """Keeps what is logged, as it would be written."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __getattr__(self, level: str) -> Any:
        return lambda text, **fields: self.lines.append(f"{level} {text} {fields!r}")


def die(payload: Payload[Any], ctx: Context) -> None:
    if payload.value == SECRET:
        os._exit(3)


async def reject(payload: Payload[Any], ctx: Context) -> None:
    raise Reject(payload.value)


async def spoil(payload: Payload[Any], ctx: Context) -> None:
    payload.value.append(lambda: SECRET)
    raise ValueError(payload.value)


async def hang(payload: Payload[Any], ctx: Context) -> None:
    await asyncio.sleep(60)


@pytest.mark.parametrize(
    ("handler", "value", "line"),
    [
        (reject, SECRET, "an event has failed for good"),
        (die, SECRET, "worker ended"),
        (spoil, [SECRET], "a dead letter cannot be stored"),
        (hang, SECRET, "events given up"),
    ],
    ids=["reject", "die", "spoil", "hang"],
)
async def test_log_lines_carry_no_payload(tmp_path: Path, handler: Any, value: Any, line: str) -> None:
    """Not of events that fail, end their worker, or are given up, with a journal and after the next start."""
    log = Log()
    settings: dict[str, Any] = {"journal": tmp_path / "journal", "log": log, "consumer_shutdown_timeout": 0.1}
    retry = Retry(max_attempts=2, backoff=0.0)
    for _ in range(2):
        collector = Collector("c", handler, retry=retry)
        async with CollectorQueue([collector], max_workers=1, **settings) as queue:
            event = await queue.get_publisher().send(Payload(copy(value)))
            if handler is not hang:
                await event.wait()
    assert any(line in written for written in log.lines), log.lines
    assert SECRET not in "".join(log.lines)
