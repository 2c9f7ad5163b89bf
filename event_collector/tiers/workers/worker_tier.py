"""The process tier of one queue: its collectors in worker processes, and its events as jobs for them."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import current_process
from typing import Any, Final

from msgspec.structs import replace

from event_collector.handlers import decorator
from event_collector.handlers.collector import ADAPTIVE, Collector
from event_collector.handlers.running_event import running_id
from event_collector.remote.codec import encode_payload
from event_collector.remote.host import open_host
from event_collector.remote.host_loop import HostLoop
from event_collector.remote.setup import is_decorated, seal
from event_collector.tiers.workers.event_jobs import CallJob, CollectorTask, EventJob, ResultSink
from event_collector.tiers.workers.worker_reading import WorkerReading
from event_collector.values.clock import clock
from event_collector.values.errors import ConfigError
from event_collector.values.payload import Payload
from event_collector_workers.job import Job, TaskSpec
from event_collector_workers.limits import WorkerLimits
from event_collector_workers.limits import apply as apply_limits
from event_collector_workers.machine import run_delay
from event_collector_workers.pool.credit import HORIZON, LONG_HORIZON
from event_collector_workers.pool.listener import PoolListener
from event_collector_workers.pool.worker_pool import WorkerPool
from event_collector_workers.pool_errors import PoolBroken, PoolClosed, WorkerPoolError, WorkerStartError
from event_collector_workers.statistics import PoolStatistics, WorkerStatistics

HOST = f"{open_host.__module__}:{open_host.__qualname__}"
MEMORY_INTERVAL = 5.0
"""Seconds between two readings of the workers' memory."""

MAIN_GUARD = (
    "workers import the program's main module: what starts the queue there must stand under "
    "`if __name__ == '__main__':`"
)


class PoolFactory:
    """Makes the pools of queues that start; the testing kit has it make another kind.

    Attributes:
        make: called with the arguments of WorkerPool.

    """

    def __init__(self) -> None:
        self.make: Callable[..., WorkerPool] = WorkerPool

    @contextmanager
    def making(self, make: Callable[..., Any]) -> Iterator[None]:
        """Have pools made by `make` within this context."""
        before, self.make = self.make, make
        try:
            yield
        finally:
            self.make = before


pool_factory: Final = PoolFactory()


class WorkerTier:
    """Runs collectors of mode "process", and adaptive ones while they are here.

    Args:
        collectors: those collectors.
        events: gets the results of the events it submitted.
        min_workers: how many workers stay when there is nothing to do.
        max_workers: the most there may be.
        may_overtake: whether an event may come that is to go before those that wait.
        start_method: how they are started; see CollectorQueue.
        limits: what each may take of the machine; None for no limits.
        log: hears of crashes.
        replacement: when workers are replaced, and how long a start may take; see WorkerPool.

    Raises:
        ConfigError: something of a collector cannot be had in another process.

    """

    def __init__(
        self,
        collectors: list[Collector],
        events: ResultSink,
        *,
        min_workers: int,
        max_workers: int,
        may_overtake: bool,
        start_method: str | None,
        limits: WorkerLimits | None,
        log: Any,
        **replacement: Any,
    ) -> None:
        _refuse_import_of_main(collectors)
        self._memory: dict[int, int | None] = {}  # of each worker, when last read
        self._memory_read_at = -MEMORY_INTERVAL
        self._times: dict[int, tuple[float, float]] = {}  # CPU time and delay of each worker, when last read
        self._cpu = self._delay = 0.0
        self._tasks = {
            collector: CollectorTask(number, collector, limits, events, self._cancel)
            for number, collector in enumerate(collectors)
        }
        self._events = _PoolEvents(events, self._tasks.values(), log)
        self._pool = pool_factory.make(
            [TaskSpec(HOST, collector.setup or seal(collector)) for collector in collectors],
            min_workers=min_workers,
            max_workers=max_workers,
            horizon=HORIZON if may_overtake else LONG_HORIZON,
            start_method=start_method,
            preload=_modules_of(collectors),
            listener=self._events,
            initialize=None if limits is None else (apply_limits, (limits,)),
            **replacement,
        )

    async def start(self, workers: int) -> None:
        """Start the first workers; one at least, which proves that the collectors can be opened there.

        Raises:
            WorkerStartError: they cannot; the text holds the worker's traceback.

        """
        try:
            await self._pool.start(max(1, workers))
        except WorkerStartError as exc:
            if MAIN_GUARD not in str(exc):
                exc.add_note(MAIN_GUARD)
            raise

    async def close(self, timeout: float | None) -> None:
        """End the workers, after their lifecycles; after `timeout` seconds they are killed."""
        await self._pool.close(timeout)

    async def abort(self) -> None:
        """Kill the workers now; their events end with QueueShutDown."""
        await self._pool.abort()

    # What the dispatcher and collectors ask for

    @property
    def room(self) -> int:
        """How many more events the workers can take now; one when there is no worker, which starts one."""
        room = self._pool.room
        if not room and not self._events.workers and not self._pool.backlog:
            return 1
        return room

    @property
    def is_idle(self) -> bool:
        """Whether a worker has nothing to do, and would begin with an event at once."""
        return self._pool.is_idle

    def submit(self, batch: list[tuple[Any, Collector]]) -> None:
        """Have workers process events; the results reach the dispatcher, perhaps within this call."""
        jobs: list[EventJob] = []
        for event, collector in batch:
            task, payload = self._tasks[collector], event.payload
            collector.usage.running += 1  # Usage.began()
            try:
                body, blob = encode_payload(payload, task.key, event.id, traced=False)
            except Exception as exc:
                task.refuse(event, exc)
                continue
            job = EventJob(task, body, blob, event)
            jobs.append(job)
        try:
            self._pool.submit_all(jobs)
        except PoolClosed as exc:
            for job in jobs:
                job.failed(PoolClosed(*exc.args), 0.0)

    def _cancel(self, job: Job) -> bool:
        return self._pool.cancel(job)

    async def run(self, collector: Collector, payload: Payload[Any]) -> Any:
        """Process one payload in a worker and return the outcome of its handler.

        Cancelled, a job that has not started is withdrawn; one that has costs its worker its life.
        """
        task = self._tasks[collector]
        body, blob = encode_payload(payload, collector.key, running_id())
        job = CallJob(task.number, body, blob, collector.timeout)
        job.of, job.outcome = task, asyncio.get_running_loop().create_future()
        collector.usage.began()
        try:
            self._pool.submit(job)
        except WorkerPoolError as exc:
            job.failed(exc, 0.0)
        try:
            return await job.outcome
        except asyncio.CancelledError:
            self._pool.cancel(job)
            raise

    # What the monitor reads and sets

    @property
    def size(self) -> int:
        """How many workers are ready."""
        return self._events.workers

    def gauge(self) -> "WorkerReading":
        """Return the figures of this instant; memory, which takes a while to read, is up to 5 s old."""
        figures = self._look()
        self._count_times(figures.workers)
        return WorkerReading(
            size=figures.ready,
            busy=figures.busy,
            starting=figures.starting,
            outstanding=figures.submitted - figures.finished - figures.failed,
            cpu=self._cpu,
            delay=self._delay,
            startup=figures.startup_seconds or None,
            memory=max((bytes_ for bytes_ in self._memory.values() if bytes_ is not None), default=None),
            cpu_in_all=figures.cpu_seconds,
        )

    def statistics(self) -> PoolStatistics:
        """Return the figures of this instant, with the memory of each worker, which is up to 5 s old."""
        figures = self._look()
        workers = tuple(replace(worker, memory=self._memory.get(worker.number)) for worker in figures.workers)
        return replace(figures, workers=workers)

    @property
    def problem(self) -> str | None:
        """Why events fail at once, as they do while workers keep dying; None when they do not."""
        return self._events.problem

    def _look(self) -> PoolStatistics:
        now = clock.now()
        fresh = now - self._memory_read_at >= MEMORY_INTERVAL
        figures = self._pool.statistics(memory=fresh)
        if fresh:
            self._memory_read_at = now
            self._memory = {worker.number: worker.memory for worker in figures.workers}
        return figures

    def resize(self, workers: int) -> None:
        """Set the number of workers, without waiting for it."""
        self._pool.resize(workers)

    def _count_times(self, workers: Iterable[WorkerStatistics]) -> None:
        """Add up how long workers were on a CPU, and had to wait for one, for the events they have.

        The price of a start is not an event's, but what there is of it since the last look is counted: to miss a part
        of the first event would make it look like waiting, and waiting like a need for more workers.
        """
        times: dict[int, tuple[float, float]] = {}
        for worker in workers:
            if worker.pid is None:
                continue
            cpu, delay = times[worker.pid] = worker.cpu_seconds, run_delay(worker.pid) or 0.0
            if worker.state != "starting":
                last_cpu, last_delay = self._times.get(worker.pid, (0.0, 0.0))
                self._cpu += max(0.0, cpu - last_cpu)
                self._delay += max(0.0, delay - last_delay)
        self._times = times


def seal_adaptive(collectors: Iterable[Collector]) -> None:
    """Seal adaptive collectors for their workers, before what their lifecycles open is in their contexts.

    Once for all starts: the end of a lifecycle may leave things in the context that cannot travel.

    Raises:
        ConfigError: something of a collector cannot be had in another process.

    """
    for collector in collectors:
        if collector.mode == ADAPTIVE and collector.setup is None:
            collector.keep_setup(seal(collector))


class _PoolEvents(PoolListener):
    """What the pool tells, for the dispatcher and the log."""

    def __init__(self, events: ResultSink, tasks: "Iterable[CollectorTask]", log: Any) -> None:
        self._events = events
        self._tasks = tuple(tasks)
        self._log = log
        self.workers = 0
        """How many are ready."""
        self.problem: str | None = None
        """The error of the breaker while it is open."""

    def room(self) -> None:
        """Workers take events again."""
        self._events.hand_out()

    def answers(self) -> None:
        """The answers of a worker are all with their events."""
        for task in self._tasks:
            if task.ended:
                task.settle()

    def worker_started(self, pid: int, seconds: float) -> None:
        """A worker became ready."""
        self.workers += 1
        self._log.debug("worker started", pid=pid, seconds=round(seconds, 4))

    def worker_stopped(self, pid: int | None, reason: str, exitcode: int | None) -> None:
        """A worker ended."""
        self.workers -= reason != "not started"
        level = self._log.debug if reason == "stopped" else self._log.warning
        level("worker ended", pid=pid, reason=reason, exitcode=exitcode)

    def worker_complained(self, pid: int | None, trace: str) -> None:
        """A lifecycle failed at the end of a worker."""
        self._log.error("lifecycle failed at the end of a worker", pid=pid, trace=trace)

    def breaker_opened(self, error: PoolBroken) -> None:
        """Workers die too often: events fail at once for a while."""
        self.problem = str(error)
        self._log.error("workers keep dying", reason=str(error), retry_in=error.retry_in)

    def breaker_closed(self) -> None:
        """Workers live again."""
        self.problem = None
        self._log.info("workers live again")


def _refuse_import_of_main(collectors: list[Collector]) -> None:
    """Stop a main module that starts its queue although a worker is only importing it."""
    if getattr(current_process(), "_inheriting", False):  # so multiprocessing itself knows, and nobody else
        raise ConfigError(f"collector {collectors[0].key!r} would start workers within a worker: {MAIN_GUARD}")


def _modules_of(collectors: list[Collector]) -> list[str]:
    """Return the modules that every worker needs."""
    modules = {open_host.__module__}
    for collector in collectors:
        handler = collector.handler
        modules.add(getattr(handler, "__module__", None) or type(handler).__module__)
        if is_decorated(handler):
            modules.add(decorator.__name__)  # the module of the handler imports it
        if collector.asynchronous:
            modules.add(HostLoop.__module__)
    return sorted(modules - {"__main__"})
