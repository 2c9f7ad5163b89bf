"""Metrics of each collector: its counts, and percentiles of the times of its last events.

The events of a single collector are those of the queue, which counts and times them anyway. Only several collectors,
and batch handlers, which divide their time among the events of a call, keep counts and times of their own.
"""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from event_collector.handlers.collector import Collector
from event_collector.handlers.usage import Usage
from event_collector.watching.metrics import CollectorMetrics, Meter, percentiles


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
        key: CollectorTimes(
            usage.completions, usage.running, usage.wall, usage.times or deque(), usage.waits or deque()
        )
        for key, usage in usages.items()
    }


def collector_metrics(
    collectors: Mapping[str, Collector], totals: _QueueTotals, meter: Meter
) -> dict[str, CollectorMetrics]:
    """Return the metrics of each collector, by key."""
    return {
        key: CollectorMetrics(
            key=key,
            place=collectors[key].place,
            event_count=own.events,
            running=own.running,
            service_time=percentiles(own.service_times),
            wait_time=percentiles(own.wait_times),
            error_count=collectors[key].usage.errors,
            service_seconds=own.seconds,
        )
        for key, own in collector_times(collectors, totals, meter).items()
    }
