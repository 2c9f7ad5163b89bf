"""Metrics of each collector: its counts, and percentiles of the times of its last events.

The events of a single collector are those of the queue, which counts and times them anyway. Only several collectors,
and batch handlers, which divide their time among the events of a call, keep counts and times of their own.
"""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from math import inf
from typing import NamedTuple, Protocol

from event_collector.handlers.collector import Collector
from event_collector.handlers.usage import Usage
from event_collector.watching.metrics import CollectorMetrics, Meter, Percentiles, percentiles


class _QueueTotals(Protocol):
    """Counts and times of all collectors together; the dispatcher has them."""

    @property
    def busy(self) -> int: ...
    @property
    def service_total(self) -> float: ...
    @property
    def attempts(self) -> int: ...


def counts_apart(collectors: Collection[Collector]) -> bool:
    """Return whether collectors keep counts and times of their own."""
    return len(collectors) > 1 or any(collector.batch is not None for collector in collectors)


def keep_times(collectors: Sequence[Collector], events: int) -> dict[str | None, Usage] | None:
    """Make collectors that count apart keep the times of their last `events` events.

    Return by key what keeps the seconds from sending an event to its end; None if none does.
    """
    if not counts_apart(collectors):
        return None
    for collector in collectors:
        collector.usage.keep(events)
    return {collector.key: collector.usage for collector in collectors}


class CollectorTimes(NamedTuple):
    """What a collector's metrics are made of."""

    events: int
    running: int
    seconds: float
    service_times: Sequence[float] | deque[float]
    wait_times: Sequence[float] | deque[float]


def collector_times(
    collectors: Mapping[str, Collector], totals: _QueueTotals, meter: Meter
) -> dict[str, CollectorTimes]:
    """Return counts and windows of each collector, by key."""
    if not counts_apart(collectors.values()):
        own = totals.attempts, totals.busy, totals.service_total, meter.service_times, meter.wait_times
        return {key: CollectorTimes(*own) for key in collectors}
    usages = {key: collector.usage for key, collector in collectors.items()}
    return {
        key: CollectorTimes(usage.completions, usage.running, usage.wall, usage.times or (), usage.waits or ())
        for key, usage in usages.items()
    }


class PercentileMemo:
    """Percentiles of the times of each collector, computed anew where events have ended since.

    Sorting is what a look costs if there are many busy collectors, so only so many times are sorted in a look: those of
    collectors whose percentiles are oldest come first. Those of a new collector are always computed.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, int, Percentiles, Percentiles]] = {}  # events, number of the look
        self._looks, self._most = 0, inf

    def __repr__(self) -> str:
        return f"<PercentileMemo of {len(self._known)} collectors>"

    def allow(self, most: float) -> None:
        """Sort at most about so many times in the next look."""
        self._most = most

    def renew(self, windows: Mapping[str, CollectorTimes]) -> None:
        """Compute percentiles anew."""
        self._looks += 1
        known, most = self._known, self._most
        stale = [key for key, one in windows.items() if key not in known or known[key][0] != one.events]
        stale.sort(key=lambda key: known[key][1] if key in known else -1)
        for key in stale:
            if most > 0 or key not in known:
                own = windows[key]
                most -= len(own.service_times) + len(own.wait_times)
                known[key] = own.events, self._looks, percentiles(own.service_times), percentiles(own.wait_times)

    def of(self, key: str) -> tuple[Percentiles, Percentiles]:
        """Return the percentiles of the times in the handler, and of those from sending to the end."""
        return self._known[key][2:]


def collector_metrics(
    collectors: Mapping[str, Collector], totals: _QueueTotals, meter: Meter, memo: PercentileMemo | None = None
) -> dict[str, CollectorMetrics]:
    """Return the metrics of each collector, by key. With a memo, some percentiles may be older."""
    windows = collector_times(collectors, totals, meter)
    memo = memo or PercentileMemo()
    memo.renew(windows)
    found = {}
    for key, own in windows.items():
        service_time, wait_time = memo.of(key)
        found[key] = CollectorMetrics(
            key=key,
            place=collectors[key].place,
            event_count=own.events,
            running=own.running,
            service_time=service_time,
            wait_time=wait_time,
            error_count=collectors[key].usage.errors,
            service_seconds=own.seconds,
        )
    return found
