"""Where the handlers of one queue run, besides its event loop: threads, executors, worker processes."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from event_collector.dispatch.dispatcher import Dispatcher
from event_collector.events.event import QueueType
from event_collector.handlers.collector import ADAPTIVE, EXECUTOR, PROCESS, THREAD, Collector
from event_collector.life.scaling import most_workers
from event_collector.life.settings import Settings
from event_collector.tiers.adaptive import AdaptiveTier
from event_collector.tiers.executors.executor_tier import ExecutorTier
from event_collector.tiers.thread_tier import ThreadTier
from event_collector.tiers.workers.worker_tier import WorkerTier


class Tiers:
    """Makes what the collectors need, and attaches them to it; until it is closed.

    Args:
        settings: of the queue.
        dispatcher: gets the results of worker processes.
        redirect: called when adaptive collectors have moved.
        log: hears of workers and of moves.

    """

    def __init__(self, settings: Settings, dispatcher: Dispatcher, redirect: Callable[[], None], log: Any) -> None:
        self._settings, self._dispatcher, self._redirect, self._log = settings, dispatcher, redirect, log
        self._threads: ThreadTier | None = None
        self.executors: ExecutorTier | None = None
        self.workers: WorkerTier | None = None
        """Worker processes, once they have started."""
        self.adaptive: AdaptiveTier | None = None
        self._attached: list[Collector] = []

    async def open(self, everyone: list[Collector]) -> None:
        """Make the tiers. If one cannot be had, those before it stay until `close()`.

        Raises:
            ConfigError: something of a collector cannot be had in another process.
            WorkerStartError: workers cannot be started, or cannot open a collector.

        """
        by_mode: dict[str, list[Collector]] = {}
        for collector in everyone:
            by_mode.setdefault(collector.mode, []).append(collector)
        if any(collector.home == THREAD for collector in everyone):
            self._threads = ThreadTier(self._settings.max_threads)
            self._attach(by_mode.get(THREAD, []), self._threads)
        if EXECUTOR in by_mode:
            executors = ExecutorTier(by_mode[EXECUTOR])
            self._attach(by_mode[EXECUTOR], executors)
            self.executors = executors
            await executors.open()
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
            log=self._log,
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

    async def close(self, timeout: float | None) -> None:
        """End all tiers; workers that have not ended after `timeout` seconds are killed. No cancellation stops this."""
        if self.workers is not None:
            await insist(partial(self.workers.close, timeout))
        if self.executors is not None:
            await insist(self.executors.close)
        if self._threads is not None:
            self._threads.close()
        for collector in self._attached:
            collector.attach(None)
        self.workers = None

    def _attach(self, collectors: list[Collector], tier: Any) -> None:
        for collector in collectors:
            collector.attach(tier)
            self._attached.append(collector)


async def insist(step: Callable[[], Awaitable[object]]) -> None:
    """Take a step of an end again until it is through: a cancellation cannot keep the caller from it."""
    while True:
        try:
            await step()
        except asyncio.CancelledError:
            continue
        return
