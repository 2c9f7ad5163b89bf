"""Metrics of each collector: its counts, and percentiles of the times of its last events.

The events of a single collector are those of the queue, which counts and times them anyway. Only several collectors,
and batch handlers, which divide their time among the events of a call, keep counts and times of their own.
"""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

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


def collector_metrics(
    collectors: Mapping[str, Collector], totals: _QueueTotals, meter: Meter
) -> dict[str, CollectorMetrics]:
    """Return the metrics of each collector, by key."""
    found = {}
    for key, collector in collectors.items():
        usage = collector.usage
        if not counts_apart(collectors.values()):
            events, running, seconds = totals.attempts, totals.busy, totals.service_total
            times, waits = meter.service_times, meter.wait_times
        else:
            events, running, seconds = usage.completions, usage.running, usage.wall
            times, waits = usage.times or deque(), usage.waits or deque()
        found[key] = CollectorMetrics(
            key=key,
            place=collector.place,
            event_count=events,
            running=running,
            service_time=percentiles(times),
            wait_time=percentiles(waits),
            error_count=usage.errors,
            service_seconds=seconds,
        )
    return found
