"""Prometheus: the figures of queues for a registry of prometheus-client; the extra `prometheus`.

registry = prometheus_client.REGISTRY
registry.register(QueueCollector(queue))
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from event_collector.values.checks import check_seconds
from event_collector.values.extras import missing
from event_collector.watching.figures import FIGURES, Figure
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

_QUANTILES: Final = {"p50": "0.5", "p95": "0.95", "p99": "0.99"}


class QueueCollector(Collector):
    """The figures of queues, read at each scrape.

    Every sample has the label `queue`. Counters restart with the program, as Prometheus expects. A scrape may come from
    any thread: the event loop of the queue takes the snapshot. Nothing happens between scrapes. A registry takes one
    QueueCollector, since metric names are unique: register all queues of the program with it.

    Args:
        queues: one queue, labelled with its id, or several by the names that label them. They need not run.
        timeout: seconds that an event loop may take to answer. After that, the scrape fails with TimeoutError.
    """

    def __init__(self, queues: "CollectorQueue | Mapping[str, CollectorQueue]", *, timeout: float = TIMEOUT) -> None:
        check_seconds("QueueCollector(timeout=...) takes", timeout, is_optional=False)
        by_name = queues if isinstance(queues, Mapping) else {queues.id: queues}
        self._observers = {name: ThreadSafeObserver(queue, timeout) for name, queue in by_name.items()}

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
    metric = Metric(f"event_collector_{figure.prometheus}", figure.meaning, figure.kind)
    name = f"{metric.name}_total" if figure.kind == "counter" else metric.name
    for queue, snapshot in snapshots.items():
        for key, part, value in figure.samples(snapshot):
            labels = {"queue": queue} if key is None else {"queue": queue, str(figure.subject): key}
            if part in figure.totals:
                metric.add_sample(f"{name}_{part}", labels, value)
            else:
                own = {figure.label: _QUANTILES.get(part, part)} if part else {}
                metric.add_sample(name, {**labels, **own}, value)
    return metric
