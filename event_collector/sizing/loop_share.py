"""The share of the event loop that each handler holds, and the warning about a handler that holds too much."""

from collections.abc import Iterable
from typing import Any, Final

from event_collector.sizing.handler_time import Account
from event_collector.values.clock import clock

SPAN: Final = 10.0
"""Seconds of activity over which a share is measured. A shorter span would warn about short bursts."""

HOG: Final = 0.5
"""Minimum share of the loop that is reported. Above it, all other handlers wait longer than this one runs."""

WORTHWHILE: Final = 0.0002
"""Minimum seconds on the loop per event that are reported. Below it, a worker process would cost more than it saves."""


class LoopShares:
    """Warns once about each handler that holds the loop most of the time, if mode="auto" chose the loop for it."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._reported: set[str] = set()
        self._since: dict[str, tuple[float, float, int]] = {}  # seconds held, seconds on a CPU or ready for one, events
        self._span = 0.0

    def look(self, elapsed: float, accounts: Iterable[Account]) -> None:
        """Add the readings of the accounts after `elapsed` seconds of activity."""
        self._span += elapsed
        for account in accounts:
            collector = account.collector
            if not (collector.automatic and collector.asynchronous) or account.sampled is None:
                continue
            held, cpu, events = self._since.get(collector.key, (0.0, 0.0, 0))
            held, cpu = held + account.sampled.held, cpu + account.sampled.cpu + account.preempted
            self._since[collector.key] = held, cpu, events + account.fresh
        if self._span >= clock.source.patience(SPAN):
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
    if computing < 0.5:
        return (
            f"it waits without `await`: use an asynchronous library, or write the handler as a plain `def` and "
            f"Collector({key!r}, ..., mode='thread')"
        )
    return f"it computes: use Collector({key!r}, ..., mode='process'), or mode='adaptive' to let the queue decide"
