"""The tiers of a running queue: threads, executors and worker processes."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from event_collector.dispatch.dispatcher import Dispatcher
from event_collector.events.event import QueueType
from event_collector.handlers.collector import ADAPTIVE, COROUTINE, EXECUTOR, PROCESS, THREAD, Collector
from event_collector.handlers.parts import PartsTier
from event_collector.life.reports import CANCEL_GRACE
from event_collector.life.scaling import most_workers
from event_collector.life.settings import Settings
from event_collector.life.structlog_emission import StructlogEmission
from event_collector.tiers.adaptive import AdaptiveTier
from event_collector.tiers.batch_calls import BatchCalls, DirectCalls, EncodedCalls, call_on_loop
from event_collector.tiers.batch_tier import BatchTier
from event_collector.tiers.executors.executor_tier import ExecutorTier
from event_collector.tiers.thread_tier import ThreadTier
from event_collector.tiers.workers.worker_tier import WorkerTier
from event_collector_workers.environment import make_environment
from event_collector_workers.machine import granted_cpus


class Tiers:
    """Makes the tiers that the collectors need, and attaches the collectors to them until `close()`.

    `redirect` is called when adaptive collectors have moved.
    """

    def __init__(self, settings: Settings, dispatcher: Dispatcher, redirect: Callable[[], None], log: Any) -> None:
        self._settings, self._dispatcher, self._redirect, self._log = settings, dispatcher, redirect, log
        self._threads: ThreadTier | None = None
        self.executors: ExecutorTier | None = None
        self.workers: WorkerTier | None = None
        """The worker processes, once they have started."""
        self.adaptive: AdaptiveTier | None = None
        self._attached: list[Collector] = []
        self._batches: list[BatchTier] = []

    async def open(self, everyone: list[Collector]) -> None:
        """Make the tiers. If one fails, the tiers before it stay until `close()`.

        Raises:
            ConfigError: a collector cannot be sent to another process, or its executor cannot be used.
            WorkerStartError: a worker cannot start, or cannot open a collector.
        """
        by_mode: dict[str, list[Collector]] = {}
        for collector in everyone:
            by_mode.setdefault(collector.mode, []).append(collector)
        self._attach([collector for collector in by_mode.get(COROUTINE, []) if collector.batch is not None], None)
        if any(collector.home == THREAD for collector in everyone):
            self._threads = ThreadTier(self._settings.max_threads)
            self._attach(by_mode.get(THREAD, []), self._threads)
        if EXECUTOR in by_mode:
            self.executors = ExecutorTier(by_mode[EXECUTOR])
            self._attach(by_mode[EXECUTOR], self.executors)
            await self.executors.open()
        remote = [collector for collector in everyone if collector.mode in (PROCESS, ADAPTIVE)]
        if remote:
            await self._open_workers(remote, by_mode)

    async def _open_workers(self, remote: list[Collector], by_mode: dict[str, list[Collector]]) -> None:
        settings = self._settings
        most = most_workers(settings)
        workers = WorkerTier(
            remote,
            self._dispatcher,
            min_workers=settings.min_workers,
            max_workers=most,
            may_overtake=settings.queue_type is not QueueType.FIFO,
            start_method=settings.start_method,
            limits=settings.worker_limits,
            environment=make_environment(
                {
                    "seed": settings.seed,
                    "worker_threads": settings.worker_threads,
                    "worker_env": settings.worker_env,
                    "worker_nice": settings.worker_nice,
                    "worker_affinity": settings.worker_affinity,
                    "worker_devices": settings.worker_devices,
                },
                share=granted_cpus() / most,
            ),
            log=self._log,
            records=StructlogEmission(),
            max_jobs_per_worker=settings.max_events_per_worker,
            max_worker_age=settings.max_worker_age,
            max_worker_memory=settings.max_worker_memory,
            startup_timeout=settings.worker_startup_timeout,
        )
        self._attach(by_mode.get(PROCESS, []), workers)
        if ADAPTIVE in by_mode:
            self.adaptive = AdaptiveTier(by_mode[ADAPTIVE], workers, self._threads, self._redirect, self._log)
            self._attach(by_mode[ADAPTIVE], self.adaptive)
        await workers.start(settings.min_workers if settings.autoscale else most)
        self.workers = workers

    def hurry(self) -> None:
        """Begin calls of batch handlers as soon as no other event can come: the queue drains."""
        for tier in self._batches:
            tier.look()

    def has(self, task: "asyncio.Task[Any]") -> bool:
        """Return whether a batch handler runs in this task."""
        return any(tier.has(task) for tier in self._batches)

    async def close(self, timeout: float | None) -> None:
        """End all tiers, despite cancellation. Workers that have not ended after `timeout` seconds are killed."""
        for tier in self._batches:
            await insist(partial(tier.close, CANCEL_GRACE))
        if self.workers is not None:
            await insist(partial(self.workers.close, timeout))
        if self.executors is not None:
            await insist(self.executors.close)
        if self._threads is not None:
            self._threads.close()
        for collector in self._attached:
            collector.attach(None)
        self.workers = None

    def __repr__(self) -> str:
        tiers = [tier for tier in (self._threads, self.executors, self.workers, self.adaptive) if tier is not None]
        return f"<Tiers {tiers}>"

    def _attach(self, collectors: list[Collector], tier: Any) -> None:
        for collector in collectors:
            if collector.batch is None:
                collector.attach(PartsTier(tier) if collector.is_generator else tier)
            else:
                batches = BatchTier(collector, _calls_of(collector, tier), self._is_full)
                collector.attach(batches, batches.expire)
                self._batches.append(batches)
            self._attached.append(collector)

    def _is_full(self) -> bool:
        """Return whether no event can begin before one has ended."""
        permits, gate = self._dispatcher.permits, self._dispatcher.gate
        return permits.busy >= permits.most() or (gate.refusal is not None and not self._dispatcher.backlogs)


def _calls_of(collector: Collector, tier: Any) -> BatchCalls:
    """Return what calls a batch handler, in the tier of its mode or on the event loop."""
    if collector.mode == PROCESS or collector.is_in_processes:
        return EncodedCalls(collector, tier.exchange)
    return DirectCalls(collector, call_on_loop if collector.mode == COROUTINE else tier.run)


async def insist(step: Callable[[], Awaitable[object]]) -> None:
    """Await a step of the shutdown. If the caller is cancelled meanwhile, repeat the step until it has completed."""
    while True:
        try:
            await step()
        except asyncio.CancelledError:
            continue
        return


def is_here(collector: Collector) -> bool:
    """Return whether the collector's lifecycle is entered in this process."""
    in_threads = collector.executor is not None and not collector.is_in_processes
    return collector.home in (COROUTINE, THREAD) or in_threads
