"""The observer: takes snapshots of one queue, each with the rates since the one before."""

import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from time import monotonic, process_time
from typing import Protocol

from event_collector.watching.metrics import Accounting, CollectorMetrics, Metrics
from event_collector.watching.snapshot import (
    CollectorSnapshot,
    Decision,
    EventCounts,
    Quantiles,
    Snapshot,
    WorkerSnapshot,
)
from event_collector_workers.autoscaler import Change
from event_collector_workers.statistics import PoolStatistics, WorkerStatistics

__all__ = ["Observed", "Observer"]

STALE = 10.0
"""Seconds after which the snapshot before says nothing of what happens now: then there are no rates."""

_Counters = dict[tuple[str, str | int], float]


class Events(Protocol):
    """The owner of the events, as the observer sees it."""

    @property
    def dropped(self) -> int:
        """Events that made room in a full queue."""

    def accounting(self) -> Accounting:
        """Return where all events are."""


class Observed(Protocol):
    """What runs them."""

    state: str
    changes: deque[Change]

    @property
    def problem(self) -> str | None:
        """What keeps it from working."""

    def metrics(self) -> Metrics:
        """Return the sizes of this instant."""

    def collector_metrics(self) -> Mapping[str, CollectorMetrics]:
        """Return the figures of each collector, by key."""

    def worker_statistics(self) -> PoolStatistics | None:
        """Return the figures of the worker processes; None where there are none."""


class Observer:
    """Looks at a queue when it is asked to, in the thread of the queue's event loop.

    Args:
        name: of the queue, in the log.
        events: the owner of its events.
        observed: what runs them.
        clock: tells the time, in seconds.
        cpu: tells the seconds of CPU time that this process has used.

    """

    def __init__(
        self,
        name: str,
        events: Events,
        observed: Observed,
        *,
        clock: Callable[[], float] = monotonic,
        cpu: Callable[[], float] = process_time,
    ) -> None:
        self._name, self._events, self._observed = name, events, observed
        self._clock, self._cpu = clock, cpu
        self._looked: float | None = None
        self._before: _Counters = {}
        self._now: _Counters = {}
        self._elapsed: float | None = None

    def look(self) -> Snapshot:
        """Return a snapshot of this instant."""
        observed, now = self._observed, self._clock()
        elapsed = None if self._looked is None else now - self._looked
        self._elapsed = elapsed if elapsed is not None and 0 < elapsed <= STALE else None
        self._before, self._now, self._looked = self._now, {}, now
        accounting, metrics, pool = (
            self._events.accounting(),
            observed.metrics(),
            observed.worker_statistics(),
        )
        collectors = observed.collector_metrics()
        queued = accounting.queued if len(collectors) == 1 else None
        return Snapshot(
            time=time.time(),
            elapsed=self._elapsed,
            pid=os.getpid(),
            queue=self._name,
            state=observed.state,
            problem=observed.problem,
            events=_counts(accounting, self._events.dropped),
            arrival_rate=self._rate(("queue", "accepted"), accounting.accepted),
            departure_rate=self._rate(("queue", "finished"), accounting.finished + accounting.dead),
            load=metrics.load,
            consumers=metrics.consumers,
            target_consumers=metrics.target_consumers,
            workers_ready=0 if pool is None else pool.ready,
            target_workers=0 if pool is None else pool.target,
            worker_restarts=0 if pool is None else pool.restarts,
            workers_cpu_seconds=0.0 if pool is None else pool.cpu_seconds,
            cpu=self._rate(("queue", "cpu"), self._cpu()),
            collectors=[self._collector(figures, queued) for figures in collectors.values()],
            workers=[] if pool is None else [self._worker(worker) for worker in pool.workers],
            decisions=[
                Decision(change.subject, str(change.before), str(change.after), change.reason)
                for change in observed.changes
            ],
        )

    def _rate(self, what: tuple[str, str | int], count: float) -> float | None:
        """Return how fast a counter has grown since the snapshot before; None if that did not have it."""
        self._now[what] = count
        before = self._before.get(what)
        if before is None or self._elapsed is None:
            return None
        return max(0.0, count - before) / self._elapsed

    def _collector(self, figures: CollectorMetrics, queued: int | None) -> CollectorSnapshot:
        return CollectorSnapshot(
            key=figures.key,
            place=figures.place,
            events=figures.event_count,
            errors=figures.error_count,
            rate=self._rate(("collector", figures.key), figures.event_count),
            busy=figures.running,
            queued=queued,
            service_seconds=figures.service_seconds,
            service_time=Quantiles(*figures.service_time),
            wait_time=Quantiles(*figures.wait_time),
        )

    def _worker(self, figures: WorkerStatistics) -> WorkerSnapshot:
        return WorkerSnapshot(
            pid=figures.pid,
            state=figures.state,
            cpu=self._rate(("worker", figures.number), figures.cpu_seconds),
            cpu_seconds=figures.cpu_seconds,
            memory=figures.memory,
            job_seconds=figures.job_seconds or None,
            in_hand=figures.in_hand,
            finished=figures.finished,
        )


def _counts(accounting: Accounting, dropped: int) -> EventCounts:
    return EventCounts(*accounting, dropped=dropped)
