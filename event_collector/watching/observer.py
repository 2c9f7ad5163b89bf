"""Observers: each takes snapshots of one queue, with the rates since its own previous one."""

import asyncio
import concurrent.futures
import math
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from operator import attrgetter
from time import monotonic, process_time
from typing import Final, Protocol, TypeVar

import msgspec

from event_collector.handlers.progress_reports import RunningProgress
from event_collector.values.clock import clock as handlers_clock
from event_collector.watching.collector_times import PercentileMemo
from event_collector.watching.feeds import FeedBoard, FeedSnapshot
from event_collector.watching.histograms import Histograms
from event_collector.watching.metrics import Accounting, CollectorMetrics, Metrics
from event_collector.watching.snapshot import (
    CollectorSnapshot,
    Decision,
    EventCounts,
    JournalSnapshot,
    ProgressSnapshot,
    Quantiles,
    Snapshot,
    WorkerGroupSnapshot,
    WorkerSnapshot,
)
from event_collector_workers.autoscaler import Change
from event_collector_workers.environment import DEFAULT_GROUP
from event_collector_workers.statistics import PoolStatistics, WorkerStatistics

T = TypeVar("T")

STALE: Final = 10.0
"""Seconds after which the previous snapshot is too old for rates."""

TIMEOUT: Final = 5.0
"""Seconds that an event loop may take to answer a `ThreadSafeObserver`."""

SORTED: Final = 100_000
"""Times that are sorted for percentiles in a look, for each second since the one before.

A thousand busy collectors have twenty times as many: to sort all would take a fifth of the event loop."""

LEAST_SORTED: Final = 20_000
"""Times that any look may sort: those of ten collectors with windows of 1,000 events."""

MOST_PROGRESS: Final = 100
"""Events in a snapshot whose progress it has."""


class _Events(Protocol):
    """The owner of a queue's events."""

    @property
    def dropped(self) -> int: ...
    def accounting(self) -> Accounting: ...


class _Engine(Protocol):
    """The part of a queue that starts and ends it."""

    state: str
    feeds: FeedBoard

    @property
    def changes(self) -> deque[Change]: ...
    @property
    def paused(self) -> tuple[bool, tuple[str, ...]]: ...
    def metrics(self) -> Metrics: ...
    def collector_metrics(self, memo: PercentileMemo, /) -> Mapping[str, CollectorMetrics]: ...
    @property
    def histograms(self) -> Histograms | None: ...
    def keep_histograms(self) -> None: ...
    def worker_statistics(self) -> Mapping[str, PoolStatistics]: ...
    def problems(self) -> Mapping[str, str]: ...
    def progress(self) -> list[RunningProgress]: ...
    def journal(self) -> JournalSnapshot | None: ...


class Observer:
    """Takes snapshots of a queue, in the thread of its event loop. `clock` and `cpu` return seconds."""

    def __init__(
        self,
        name: str,
        events: _Events,
        engine: _Engine,
        *,
        clock: Callable[[], float] = monotonic,
        cpu: Callable[[], float] = process_time,
    ) -> None:
        self._name, self._events, self._engine = name, events, engine
        self._clock, self._cpu = clock, cpu
        self._memo = PercentileMemo()
        self._looked = -math.inf
        self._elapsed: float | None = None
        # The counters of this snapshot and of the previous one.
        self._now: dict[tuple[str, str | int | None], float] = {}
        self._before = self._now

    def __repr__(self) -> str:
        return f"<Observer of {self._name}: {self._engine.state}>"

    def look(self) -> Snapshot:
        """Return a snapshot of this instant."""
        engine, now = self._engine, self._clock()
        if engine.histograms is not None:
            engine.histograms.look()
        elapsed = now - self._looked
        self._elapsed = elapsed if 0 < elapsed <= STALE else None
        self._before, self._now, self._looked = self._now, {}, now
        events = EventCounts(*self._events.accounting(), self._events.dropped)
        self._memo.allow(max(LEAST_SORTED, SORTED * elapsed))
        metrics, collectors = engine.metrics(), engine.collector_metrics(self._memo)
        groups = engine.worker_statistics()
        pools, problems = groups.values(), engine.problems()
        failures = [(name, pool.last_failure) for name, pool in groups.items()]
        queued = events.queued if len(collectors) == 1 else None
        return Snapshot(
            time=time.time(),
            elapsed=self._elapsed,
            pid=os.getpid(),
            queue=self._name,
            state=engine.state,
            problem="; ".join(_problem(*one) for one in problems.items()) or None,
            events=events,
            arrival_rate=self._rate(("queue", "accepted"), events.accepted),
            departure_rate=self._rate(("queue", "ended"), events.ended),
            load=metrics.load,
            consumers=metrics.consumers,
            target_consumers=metrics.target_consumers,
            workers_ready=sum(pool.ready for pool in pools),
            target_workers=sum(pool.target for pool in pools),
            worker_restarts=sum(pool.restarts for pool in pools),
            workers_cpu_seconds=sum((pool.cpu_seconds for pool in pools), 0.0),
            cpu=self._rate(("queue", "cpu"), self._cpu()),
            collectors=[self._collector(figures, queued) for figures in collectors.values()],
            groups=[_group(name, pool, problems.get(name)) for name, pool in groups.items()],
            workers=[self._worker(figures, name) for name, pool in groups.items() for figures in pool.workers],
            decisions=[Decision(one.subject, str(one.before), str(one.after), one.reason) for one in engine.changes],
            worker_failure=next((_problem(*one) for one in failures if one[1]), ""),
            is_paused=engine.paused[0],
            paused_collectors=list(engine.paused[1]),
            progress=self._progress(),
            shared_memory=sum(pool.shared_memory.size for pool in pools),
            shared_memory_in_use=sum(pool.shared_memory.in_use for pool in pools),
            max_shared_memory=sum(pool.shared_memory.limit for pool in pools),
            feeds=list(map(self._feed, engine.feeds.look())),
            journal=engine.journal(),
        )

    def _progress(self) -> list[ProgressSnapshot]:
        now = handlers_clock.now()
        reports = sorted(self._engine.progress(), key=attrgetter("event_id"))
        return [
            ProgressSnapshot(event_id, collector, pid, done, total, note, max(0.0, now - at))
            for event_id, collector, pid, done, total, note, at in reports[:MOST_PROGRESS]
        ]

    def _rate(self, counter: tuple[str, str | int | None], count: float) -> float | None:
        """Return the growth of a counter per second; None if the previous snapshot lacks it or is too old."""
        self._now[counter] = count
        before = self._before.get(counter)
        if before is None or self._elapsed is None:
            return None
        return max(0.0, count - before) / self._elapsed

    def keep_histograms(self) -> None:
        """Have the snapshots of this queue have histograms, from now on."""
        self._engine.keep_histograms()

    def _collector(self, figures: CollectorMetrics, queued: int | None) -> CollectorSnapshot:
        histograms = self._engine.histograms
        service, wait = (None, None) if histograms is None else histograms.of(figures.key)
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
            service_histogram=service,
            wait_histogram=wait,
        )

    def _feed(self, feed: FeedSnapshot) -> FeedSnapshot:
        fetched = self._rate((f"feed {feed.name}", "fetched"), feed.counts.fetched)
        acknowledged = self._rate((f"feed {feed.name}", "acknowledged"), feed.counts.acknowledged)
        return msgspec.structs.replace(feed, fetch_rate=fetched, acknowledge_rate=acknowledged)

    def _worker(self, figures: WorkerStatistics, group: str) -> WorkerSnapshot:
        return WorkerSnapshot(
            group=group,
            number=figures.number,
            pid=figures.pid,
            state=figures.state,
            cpu=self._rate(("worker", figures.pid), figures.cpu_seconds),
            cpu_seconds=figures.cpu_seconds,
            memory=figures.memory,
            job_seconds=figures.job_seconds or None,
            in_hand=figures.in_hand,
            finished=figures.finished,
        )


def _group(name: str, pool: PoolStatistics, problem: str | None) -> WorkerGroupSnapshot:
    return WorkerGroupSnapshot(
        name=name,
        ready=pool.ready,
        target=pool.target,
        busy=pool.busy,
        restarts=pool.restarts,
        cpu_seconds=pool.cpu_seconds,
        memory=sum(worker.memory or 0 for worker in pool.workers),
        problem=problem,
    )


def _problem(group: str, problem: str) -> str:
    return problem if group == DEFAULT_GROUP else f"worker group {group}: {problem}"


class _Queue(Protocol):
    """A queue as exporters see it."""

    id: str

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None: ...
    def make_observer(self) -> Observer: ...


class ThreadSafeObserver:
    """Takes snapshots of a queue for callers in any thread; its event loop has `timeout` seconds to answer."""

    def __init__(self, queue: _Queue, timeout: float = TIMEOUT) -> None:
        self._queue, self._timeout = queue, timeout
        self._observer = queue.make_observer()

    def __repr__(self) -> str:
        return f"<ThreadSafeObserver of {self._queue.id}>"

    def keep_histograms(self) -> None:
        """Have the snapshots of this queue have histograms, from now on."""
        self._observer.keep_histograms()

    def look(self) -> Snapshot:
        """Return a snapshot of this instant, taken in the thread of the queue's event loop while that runs.

        Raise TimeoutError if the event loop does not answer.
        """
        return call_in_loop(self._queue, self._observer.look, self._timeout)


def call_in_loop(queue: _Queue, function: Callable[[], T], timeout: float = TIMEOUT) -> T:
    """Return what a function returns in the thread of a queue's event loop; it is called here if that does not run.

    Raise TimeoutError if the event loop does not answer.
    """
    loop = queue.loop
    if loop is None or not loop.is_running() or loop is _running_loop():
        return function()
    answer: concurrent.futures.Future[T] = concurrent.futures.Future()
    try:
        loop.call_soon_threadsafe(_answer, answer, function)
    except RuntimeError:  # the loop has closed meanwhile: nothing changes any more
        return function()
    try:
        return answer.result(timeout)
    except concurrent.futures.TimeoutError:
        answer.cancel()
        raise TimeoutError(f"the event loop of {queue.id} did not answer within {timeout:g} s: it is blocked") from None


def _answer(answer: "concurrent.futures.Future[T]", function: Callable[[], T]) -> None:
    if answer.set_running_or_notify_cancel():
        try:
            answer.set_result(function())
        except Exception as exc:
            answer.set_exception(exc)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
