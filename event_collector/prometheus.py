"""Prometheus: the figures of queues for a registry of prometheus-client; the extra `prometheus`.

registry = prometheus_client.REGISTRY
registry.register(QueueCollector(queue))
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from event_collector.values.checks import check_seconds
from event_collector.values.extras import missing
from event_collector.watching.figures import FIGURES, Figure
from event_collector.watching.histograms import TimeHistogram
from event_collector.watching.observer import TIMEOUT, ThreadSafeObserver
from event_collector.watching.snapshot import Snapshot

try:
    from prometheus_client.core import Metric
    from prometheus_client.registry import Collector
except ImportError as exc:
    raise missing("prometheus", "prometheus-client") from exc

if TYPE_CHECKING:
    from event_collector.queue import CollectorQueue

__all__ = ["QueueCollector"]


class QueueCollector(Collector):
    """The figures of queues, read at each scrape.

    Every sample has the label `queue`. Counters restart with the program, as Prometheus expects. A scrape may come from
    any thread: the event loop of the queue takes the snapshot. Times are histograms, which count from the making of
    this object on; between scrapes each look of the autoscaler adds to them. A registry takes one QueueCollector, since
    metric names are unique: register all queues of the program with it.

    Args:
        queues: one queue, labelled with its id, or several by the names that label them. They need not run.
        timeout: seconds that an event loop may take to answer. After that, the scrape fails with TimeoutError.
    """

    def __init__(self, queues: "CollectorQueue | Mapping[str, CollectorQueue]", *, timeout: float = TIMEOUT) -> None:
        check_seconds("QueueCollector(timeout=...) takes", timeout, is_optional=False)
        by_name = queues if isinstance(queues, Mapping) else {queues.id: queues}
        self._observers = {name: ThreadSafeObserver(queue, timeout) for name, queue in by_name.items()}
        for observer in self._observers.values():
            observer.keep_histograms()

    def __repr__(self) -> str:
        return f"<QueueCollector of {', '.join(self._observers)}>"

    def describe(self) -> Iterable[Metric]:
        """Return the metrics without samples, from which the registry learns their names."""
        return _metrics({})

    def collect(self) -> Iterable[Metric]:
        """Return the figures of this instant.

        Raises:
            TimeoutError: the event loop of a queue does not answer.
        """
        return _metrics({name: observer.look() for name, observer in self._observers.items()})


def _metrics(snapshots: Mapping[str, Snapshot]) -> Iterator[Metric]:
    return (_metric(figure, snapshots) for figure in FIGURES if figure.prometheus)


def _metric(figure: Figure, snapshots: Mapping[str, Snapshot]) -> Metric:
    kind = "histogram" if figure.histogram else figure.kind
    metric = Metric(f"event_collector_{figure.prometheus}", figure.meaning, kind)
    if figure.histogram:
        for queue, snapshot in snapshots.items():
            for key, histogram in figure.histograms(snapshot):
                _add_histogram(metric, {"queue": queue, "collector": str(key)}, histogram)
        return metric
    name = f"{metric.name}_total" if figure.kind == "counter" else metric.name
    for queue, snapshot in snapshots.items():
        for key, part, value in figure.samples(snapshot):
            labels = {"queue": queue} if key is None else {"queue": queue, str(figure.subject): key}
            own = {figure.label: part} if part else {}
            metric.add_sample(name, {**labels, **own}, value)
    return metric


def _add_histogram(metric: Metric, labels: dict[str, str], histogram: TimeHistogram) -> None:
    for bound, count in histogram.cumulative():
        metric.add_sample(f"{metric.name}_bucket", {**labels, "le": bound}, count)
    metric.add_sample(f"{metric.name}_count", labels, histogram.count)
    metric.add_sample(f"{metric.name}_sum", labels, histogram.sum)
