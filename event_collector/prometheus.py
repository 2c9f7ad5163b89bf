"""Prometheus: the figures of queues for a registry of prometheus-client; the extra `prometheus`.

registry = prometheus_client.REGISTRY
registry.register(QueueCollector(queue))
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from event_collector.values.extras import missing
from event_collector.watching.remote_look import TIMEOUT, RemoteLook
from event_collector.watching.snapshot import Quantiles, Snapshot

try:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector
except ImportError as exc:
    raise missing("prometheus", "prometheus-client") from exc

if TYPE_CHECKING:
    from event_collector.queue import CollectorQueue

__all__ = ["QueueCollector"]

_PREFIX = "event_collector"


class QueueCollector(Collector):
    """The figures of queues, taken when they are asked for.

    Each has the label `queue`; counters start anew with the program, as Prometheus expects. Scrapes may come in any
    thread: the event loop of the queue is asked for a snapshot. Nothing is done between scrapes. A registry takes one
    of these, since a metric is there once: with all queues of the program.

    Args:
        queues: a queue, labelled with its id, or several by the names that they get as labels. Running or not.
        timeout: seconds that an event loop may take to answer; then the scrape fails with TimeoutError.

    """

    def __init__(
        self, queues: "CollectorQueue | Mapping[str, CollectorQueue]", *, timeout: float = TIMEOUT
    ) -> None:
        named = queues if isinstance(queues, Mapping) else {queues.id: queues}
        self._looks = {name: RemoteLook(queue, timeout) for name, queue in named.items()}

    def describe(self) -> Iterable[Metric]:
        """Return the metrics without their figures, for the registry, which looks for names that it has already."""
        return _metrics({})

    def collect(self) -> Iterable[Metric]:
        """Return the figures of this instant.

        Raises:
            TimeoutError: the event loop of a queue does not answer.

        """
        return _metrics({name: look() for name, look in self._looks.items()})


def _metrics(snapshots: Mapping[str, Snapshot]) -> Iterator[Metric]:
    yield from _of_queues(snapshots)
    yield from _of_workers(snapshots)
    yield from _of_collectors(snapshots)


def _of_queues(snapshots: Mapping[str, Snapshot]) -> Iterator[Metric]:
    healthy = _gauge("healthy", "1 while the queue runs and its worker processes live, else 0.")
    accepted = _counter("events_accepted", "Events that were accepted.")
    finished = _counter("events_finished", "Events that have their results.")
    dropped = _counter("events_dropped", "Events that a full queue has dropped.")
    places = _gauge("events", "Events by where they are: in a handler, in a queue, or dead.", "state")
    consumers = _gauge("consumers", "Events that may be in handlers at once.")
    wanted = _gauge("consumers_wanted", "Consumers that the control law wants.")
    for name, snapshot in snapshots.items():
        events, label = snapshot.events, (name,)
        healthy.add_metric(label, snapshot.state == "running" and snapshot.problem is None)
        accepted.add_metric(label, events.accepted)
        finished.add_metric(label, events.finished + events.dead)
        dropped.add_metric(label, events.dropped)
        for state in ("in_handlers", "queued", "scheduled", "dead"):
            places.add_metric((name, state), getattr(events, state))
        consumers.add_metric(label, snapshot.consumers)
        wanted.add_metric(label, snapshot.target_consumers)
    yield from (healthy, accepted, finished, dropped, places, consumers, wanted)


def _of_workers(snapshots: Mapping[str, Snapshot]) -> Iterator[Metric]:
    ready = _gauge("workers", "Worker processes that are ready.")
    wanted = _gauge("workers_wanted", "Worker processes that the control law wants.")
    memory = _gauge("workers_memory_bytes", "Memory that only one worker process uses, of all of them.")
    cpu = _counter("workers_cpu_seconds", "CPU time of the worker processes, past ones included.")
    restarts = _counter("worker_restarts", "Worker processes that ended without being told to.")
    for name, snapshot in snapshots.items():
        label = (name,)
        ready.add_metric(label, snapshot.workers_ready)
        wanted.add_metric(label, snapshot.target_workers)
        memory.add_metric(label, sum(worker.memory or 0 for worker in snapshot.workers))
        cpu.add_metric(label, snapshot.workers_cpu_seconds)
        restarts.add_metric(label, snapshot.worker_restarts)
    yield from (ready, wanted, memory, cpu, restarts)


def _of_collectors(snapshots: Mapping[str, Snapshot]) -> Iterator[Metric]:
    handled = _counter(
        "handled", "Events that a handler has ended with; each attempt counts.", "collector", "outcome"
    )
    busy = _gauge("busy", "Events in a handler.", "collector")
    service = Metric(f"{_PREFIX}_service_time_seconds", "Time of an event in its handler.", "summary")
    waited = Metric(f"{_PREFIX}_wait_time_seconds", "Time from sending an event to its end.", "summary")
    for name, one in ((name, one) for name, snapshot in snapshots.items() for one in snapshot.collectors):
        labels = {"queue": name, "collector": one.key}
        handled.add_metric((name, one.key, "ok"), max(0, one.events - one.errors))
        handled.add_metric((name, one.key, "error"), one.errors)
        busy.add_metric((name, one.key), one.busy)
        _add_quantiles(service, labels, one.service_time)
        service.add_sample(f"{service.name}_count", labels, one.events)
        service.add_sample(f"{service.name}_sum", labels, one.service_seconds)
        _add_quantiles(waited, labels, one.wait_time)
    yield from (handled, busy, service, waited)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{_PREFIX}_{name}", text, labels=("queue", *labels))


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"{_PREFIX}_{name}", text, labels=("queue", *labels))


def _add_quantiles(metric: Metric, labels: dict[str, str], times: Quantiles) -> None:
    for quantile, seconds in (("0.5", times.p50), ("0.95", times.p95), ("0.99", times.p99)):
        metric.add_sample(metric.name, {**labels, "quantile": quantile}, seconds)
