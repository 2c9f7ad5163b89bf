"""The times of each collector's last events, and the percentiles that they give when asked for.

A queue with one collector has them anyway: they are those of the queue. Only where there are several does each keep
its own.
"""

from collections import deque
from collections.abc import Mapping, Sequence

from event_collector.dispatch.dispatcher import Dispatcher
from event_collector.handlers.collector import Collector
from event_collector.watching.metrics import CollectorMetrics, Meter, percentiles

__all__ = ["collector_metrics", "keep_times"]


def keep_times(collectors: Sequence[Collector], events: int) -> dict[str | None, deque[float]] | None:
    """Have each of several collectors keep the times of its last events; return those from sending to the end."""
    if len(collectors) == 1:
        return None
    for collector in collectors:
        collector.usage.keep(events)
    return {collector.key: waits for collector in collectors if (waits := collector.usage.waits) is not None}


def collector_metrics(
    collectors: Mapping[str, Collector], dispatcher: Dispatcher, meter: Meter
) -> dict[str, CollectorMetrics]:
    """Return the metrics of each collector, by key."""
    alone = len(collectors) == 1
    return {
        key: CollectorMetrics(
            key=key,
            place=collector.place,
            event_count=dispatcher.finished if alone else collector.usage.completions,
            running=dispatcher.busy if alone else collector.usage.running,
            service_time=percentiles(meter.service_times if alone else collector.usage.times or ()),
            wait_time=percentiles(meter.wait_times if alone else collector.usage.waits or ()),
            error_count=collector.usage.errors,
            service_seconds=dispatcher.service_total if alone else collector.usage.wall,
        )
        for key, collector in collectors.items()
    }
