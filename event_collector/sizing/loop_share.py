"""The share of the event loop that each collector's handler takes over time; reports the one that takes too much."""

from collections.abc import Iterable
from typing import Any, Final

from event_collector.sizing.handler_time import Account

__all__ = ["LoopShares"]

SPAN: Final = 10.0
"""Seconds of activity over which a share is taken. Shorter would accuse a handler of a short rush."""

HOG: Final = 0.5
"""Share of the loop that is reported: above it everybody else waits as long as this handler runs."""

WORTHWHILE: Final = 0.0002
"""Seconds on the loop, per event, below which a worker would cost more than it saves."""


class LoopShares:
    """Reports each handler once that holds the loop for most of the time, where mode "auto" put it there.

    Args:
        log: where reports go.

    """

    def __init__(self, log: Any) -> None:
        self._log = log
        self._reported: set[str] = set()
        self._since: dict[str, tuple[float, float, int]] = {}  # held, on a CPU or ready for one, events
        self._span = 0.0

    def look(self, elapsed: float, accounts: Iterable[Account]) -> None:
        """Take in what the accounts say after `elapsed` seconds of activity."""
        self._span += elapsed
        for account in accounts:
            collector = account.collector
            if not (collector.automatic and collector.asynchronous) or account.sampled is None:
                continue
            held, cpu, events = self._since.get(collector.key, (0.0, 0.0, 0))
            taken = account.sampled
            self._since[collector.key] = (
                held + taken.held,
                cpu + taken.cpu + account.preempted,
                events + account.fresh,
            )
        if self._span >= SPAN:
            for key, (held, cpu, events) in self._since.items():
                self._judge(key, held, cpu, events)
            self._since.clear()
            self._span = 0.0

    def _judge(self, key: str, held: float, cpu: float, events: int) -> None:
        share = held / self._span
        if share < HOG or held < WORTHWHILE * events or key in self._reported:
            return
        self._reported.add(key)
        self._log.warning(
            "handler takes most of the event loop",
            collector=key,
            share=round(share, 2),
            milliseconds_per_event=round(held / events * 1e3, 3),
            events_per_second=round(events / self._span, 1),
            computing=round(min(1.0, cpu / held), 2),
            remedy=_remedy(key, cpu / held),
        )


def _remedy(key: str, computing: float) -> str:
    if computing < 0.5:  # it sleeps, or waits for something, without await
        return (
            f"it waits without `await`: use an asynchronous library, or write the handler as a plain `def` and "
            f"Collector({key!r}, ..., mode='thread')"
        )
    return (
        f"it computes: Collector({key!r}, ..., mode='process') runs it in worker processes, mode='adaptive' has the "
        f"queue decide"
    )
