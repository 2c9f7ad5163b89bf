"""The process tier of a queue: runs collectors in worker processes, with events as jobs."""

import asyncio
import selectors
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from event_collector.events.event import CollectorEvent
from event_collector.handlers import value_handler
from event_collector.handlers.collector import ADAPTIVE, Collector
from event_collector.handlers.parts import open_sink
from event_collector.handlers.progress_reports import RunningProgress
from event_collector.handlers.running_event import running_id
from event_collector.remote import host, host_loop, line_items
from event_collector.remote.codec import encode_payload
from event_collector.remote.host import open_host
from event_collector.remote.parts_host import open_parts_host
from event_collector.remote.sent_value import encode_sent
from event_collector.remote.setup import seal
from event_collector.remote.shared_data import pack_shared
from event_collector.tiers.workers.event_jobs import BatchJob, CallJob, CollectorTask, EventJob, ResultSink
from event_collector.tiers.workers.exchangeable import Encode
from event_collector.tiers.workers.line_codec import LineCodec, ReadLine
from event_collector.tiers.workers.parts_job import PartsJob
from event_collector.tiers.workers.pool_events import PoolEvents, StructuredRecords
from event_collector.tiers.workers.pool_factory import pool_factory
from event_collector.tiers.workers.sealing import modules_of, refuse_import_of_main
from event_collector.tiers.workers.value_chunks import ChunkCodec, ChunkOwner, ValueChunk, ValueCodec
from event_collector.values.clock import clock
from event_collector.values.payload import Payload
from event_collector_workers.environment import DEFAULT_GROUP, WorkerEnvironment
from event_collector_workers.job import Buffer, Job, TaskSpec
from event_collector_workers.limits import WorkerLimits
from event_collector_workers.limits import apply as apply_limits
from event_collector_workers.machine import run_delay
from event_collector_workers.pool.credit import HORIZON, LONG_HORIZON
from event_collector_workers.pool.worker_pool import WorkerPool
from event_collector_workers.pool_errors import PoolClosed, WorkerPoolError, WorkerStartError
from event_collector_workers.stack_dumps import hide_files
from event_collector_workers.statistics import PoolStatistics, WorkerStatistics

HOST: Final = f"{open_host.__module__}:{open_host.__qualname__}"
PARTS_HOST: Final = f"{open_parts_host.__module__}:{open_parts_host.__qualname__}"
CLOSING: Final = 1.0
"""Seconds in which a cancelled handler that yields reaches its next `yield`. A worker that is killed would take the
handlers along that are suspended in it."""
MEMORY_INTERVAL: Final = 5.0
"""Age in seconds from which the workers' memory is read again for a snapshot."""

LEVELS_INTERVAL: Final = 1.0
"""Seconds between two looks at the levels of the program's loggers, which workers follow."""

_OURS = (host, host_loop, line_items, value_handler, asyncio.base_events, asyncio.events, selectors)
hide_files(*(str(module.__file__) for module in _OURS))


class WorkerReading(NamedTuple):
    """The worker processes at one instant."""

    pool: PoolStatistics
    cpu: float = 0.0
    """Total seconds of workers on a CPU, without their starts."""
    delay: float = 0.0
    """Total seconds in which workers were ready to run, but had no CPU."""
    memory: int | None = None
    """Bytes of the largest worker."""


class WorkerTier:
    """Runs collectors of mode "process", and adaptive collectors while their place is a worker.

    `may_overtake`: whether a new event may go before queued ones. `options` of WorkerPool control the replacement and
    start of workers. `records` takes what handlers log with structlog. The other options are those of CollectorQueue.

    Raises:
        ConfigError: a collector cannot be sent to another process.
    """

    def __init__(
        self,
        collectors: list[Collector],
        events: ResultSink,
        *,
        may_overtake: bool,
        limits: WorkerLimits | None,
        log: Any,
        records: StructuredRecords | None = None,
        **options: Any,
    ) -> None:
        refuse_import_of_main(collectors)
        self._memory: dict[int | None, int | None] = {}  # of each worker, at the last reading
        self._memory_read_at = self._levels_told_at = -MEMORY_INTERVAL
        self._times: dict[int, tuple[float, float]] = {}  # CPU time and delay of each worker, at the last reading
        self._cpu = self._delay = 0.0
        self._encode: Encode = encode_payload  # or a watcher's
        self._tasks = {
            collector: CollectorTask(number, collector, limits, events, self)
            for number, collector in enumerate(collectors)
        }
        self._has_adaptive = any(collector.mode == ADAPTIVE for collector in collectors)
        self._codecs: dict[tuple[Collector, ReadLine | None], ChunkCodec] = {}
        self._group = options.get("environment", WorkerEnvironment()).group
        self._events = PoolEvents(events, self._tasks.values(), log, records, self._group)
        self.pool: WorkerPool = pool_factory.make(
            [
                TaskSpec(
                    PARTS_HOST if collector.is_generator else HOST,
                    collector.setup or seal(collector),
                    pack_shared(collector),
                )
                for collector in collectors
            ],
            horizon=HORIZON if may_overtake else LONG_HORIZON,
            preload=modules_of(collectors),
            listener=self._events,
            initialize=None if limits is None else (apply_limits, (limits,)),
            **options,
        )
        pool: object = self.pool  # the testing kit has another one
        self._takes_chunks = isinstance(pool, WorkerPool) and options.get("max_jobs_per_worker") is None

    async def start(self, workers: int) -> None:
        """Start the first workers, at least one, which proves that workers can open the collectors.

        WorkerStartError contains the traceback of a worker that cannot.
        """
        try:
            await self.pool.start(max(1, workers))
        except WorkerStartError as exc:
            if self._group != DEFAULT_GROUP:
                exc.args = (f"worker group {self._group!r}: {exc.args[0]}", *exc.args[1:])
            raise

    def copy(self, parts: Sequence[Buffer]) -> memoryview:
        """Return the bytes of the parts in read-only memory of their own, which workers map if there is some."""
        return self.pool.copy(parts)

    async def close(self, timeout: float | None) -> None:
        """Leave the lifecycles of the workers and end them. After `timeout` seconds they are killed."""
        await self.pool.close(timeout)

    async def abort(self) -> None:
        """Kill the workers. Their events end with QueueShutDown."""
        await self.pool.abort()

    # For the dispatcher and the collectors

    @property
    def room(self) -> int:
        """Number of events that workers can take now; 1 if there is no worker, since an event starts one."""
        return self.pool.room or int(not self._events.workers and not self.pool.backlog)

    @property
    def is_idle(self) -> bool:
        """Whether a worker is idle, so that it would begin an event at once."""
        return self.pool.is_idle

    def submit(self, batch: list[tuple[Any, Collector]]) -> None:
        """Hand events to workers. Results may reach the dispatcher within this call."""
        jobs: list[EventJob] = []
        if self._has_adaptive:
            for _, collector in batch:
                if (part := self._tasks[collector].part) is not None:
                    part.began()
        tasks, encode = self._tasks, self._encode
        for event, collector in batch:
            task, sent = tasks[collector], event.sent
            collector.usage.running += 1  # Usage.began()
            try:
                if type(sent) is tuple:
                    body, blob = sent
                    event.sent = None  # CollectorEvent.keep_sent(): the job has it now
                elif sent is None:
                    body, blob = encode(event.payload, collector, event.id, traced=False, fidelity=task.fidelity)
                else:
                    if collector.retry is None:
                        event.keep_sent(None)
                    body, blob = sent.parts(event.payload, collector.key, event.id)
            except Exception as exc:
                task.fail(event, exc, 0.0)
                continue
            jobs.append(EventJob(task, body, blob, event))
        try:
            self.pool.submit_all(jobs)
        except PoolClosed as exc:
            for job in jobs:
                job.failed(PoolClosed(*exc.args), 0.0)

    def recall(self, job: Job) -> bool:
        """Take a job back from its worker unless it has begun there; return whether it waits here now."""
        return self.pool.recall(job)

    def cancel(self, job: Job) -> bool:
        """Withdraw a job, or kill the worker that runs it; return False if it has just ended."""
        return self.pool.cancel(job)

    @property
    def takes_chunks(self) -> bool:
        """Whether workers take values in lists. A worker that is replaced after so many events counts them singly."""
        return self._takes_chunks

    def make_chunk(
        self, collector: Collector, values: list[Any], owner: ChunkOwner, read_line: ReadLine | None, **about: Any
    ) -> ValueChunk:
        """Encode values for `submit_chunk()`; with `read_line`, they are lines of JSON.

        Raises EncodeError, or what a value raises, if one cannot be encoded.
        """
        task = self._tasks[collector]
        codec = self._codecs.get((collector, read_line))
        if codec is None:
            codec = ValueCodec(task) if read_line is None else LineCodec(task, read_line)
            self._codecs[collector, read_line] = codec
        return ValueChunk(task, codec, values, owner, **about)

    def submit_chunk(self, chunk: ValueChunk) -> None:
        """Hand values to a worker."""
        try:
            self.pool.submit(chunk)
        except PoolClosed as exc:
            chunk.failed(PoolClosed(*exc.args), 0.0)

    async def run(self, collector: Collector, payload: Payload[Any]) -> Any:
        """Process one payload in a worker and return the outcome of its handler.

        Cancellation withdraws a job that has not started, and kills the worker of a job that has.
        """
        task = self._tasks[collector]
        event_id = running_id()
        body, blob = encode_sent(payload, collector, event_id, fidelity=task.fidelity)
        job = CallJob(task.number, body, blob)
        job.event_id = event_id
        job.limit, job.of, job.outcome = task.limit, task, asyncio.get_running_loop().create_future()
        task.began_call()
        try:
            self.pool.submit(job)
        except WorkerPoolError as exc:
            job.failed(exc, 0.0)
        try:
            return await job.outcome
        except asyncio.CancelledError:
            self.pool.cancel(job)
            raise

    async def exchange(self, collector: Collector, body: bytes) -> tuple[bytes, float]:
        """Call a batch handler in a worker with an encoded batch; return its reply, and the seconds that it took.

        Cancellation withdraws a call that has not started, and kills the worker of a call that has.
        """
        job = BatchJob(self._tasks[collector], body, asyncio.get_running_loop().create_future())
        try:
            self.pool.submit(job)
        except WorkerPoolError as exc:
            job.failed(exc, 0.0)
        try:
            return await job.reply
        except asyncio.CancelledError:
            self.pool.cancel(job)
            raise

    async def run_parts(self, collector: Collector, payload: Payload[Any]) -> Any:
        """Do what `run()` does, for a handler that yields: its parts go to the sink of the event.

        Cancellation closes the handler at its `yield`, and kills its worker if that takes longer than CLOSING.
        """
        task, sink = self._tasks[collector], open_sink(collector.key)
        body, blob = encode_sent(payload, collector, running_id(), fidelity=task.fidelity)
        job = PartsJob(task, body, blob, sink)
        task.began_call()
        try:
            self.pool.submit(job)
        except WorkerPoolError as exc:
            job.failed(exc, 0.0)
        sink.on_change(job.refill)
        try:
            return await job.outcome
        except asyncio.CancelledError:
            if self.pool.recall(job):
                self.pool.cancel(job)
            else:
                self.pool.go_on(job, 0)
                asyncio.get_running_loop().call_later(CLOSING, self.pool.cancel, job)
            raise
        finally:
            sink.on_change(None)

    def go_on(self, job: Job, credit: int) -> None:
        """Have a job give so many parts more; 0: have it end."""
        self.pool.go_on(job, credit)

    @property
    def size(self) -> int:
        """Number of workers that are ready."""
        return self._events.workers

    def measure_memory(self) -> int:
        """Read the memory of all workers, starting ones included, and return its sum in bytes. This is slow."""
        self._memory_read_at = clock.now()
        self._memory = {one.pid: one.memory for one in self.pool.statistics(memory=True).workers}
        return sum(filter(None, self._memory.values()))

    def gauge(self) -> WorkerReading:
        """Return the current figures. The memory is that of the last `measure_memory()`."""
        if clock.now() - self._levels_told_at >= LEVELS_INTERVAL:
            self._levels_told_at = clock.now()
            self.pool.tell_levels()
        figures = self.pool.statistics()
        self._count_times(figures.workers)
        memory = max((bytes_ for bytes_ in self._memory.values() if bytes_ is not None), default=None)
        return WorkerReading(figures, self._cpu, self._delay, memory)

    def statistics(self) -> PoolStatistics:
        """Return the current figures, with the memory of each worker, which is up to 5 s old."""
        if clock.now() - self._memory_read_at >= MEMORY_INTERVAL:
            self.measure_memory()
        figures = self.pool.statistics()
        workers = tuple(replace(worker, memory=self._memory.get(worker.pid)) for worker in figures.workers)
        return replace(figures, workers=workers)

    def progress(self) -> list[RunningProgress]:
        """Return what the handlers in workers have reported."""
        found = []
        for job, pid, (done, total, note, at) in self.pool.progress():
            if isinstance(job, (EventJob, CallJob)):
                event_id = job.event.id if isinstance(job, EventJob) else job.event_id
                found.append(RunningProgress(event_id, job.of.key, pid, done, total, note, at))
        return found

    def encode_with(self, encode: Encode | None) -> None:
        """Have events encoded by another function; None: by `encode_payload()`."""
        self._encode = encode or encode_payload

    def events(self) -> list[CollectorEvent]:
        """Return the events that are here, running or not."""
        return [job.event for job in self.pool.jobs() if isinstance(job, EventJob)]

    def stacks(self, pid: int | None) -> list[tuple[int, str, str]]:
        """Return process id, subject and stack of one worker, or of all. Blocks: call it in another thread."""
        group = "" if self._group == DEFAULT_GROUP else f" of {self._group}"
        return [(pid, f"worker {number}{group}", text) for number, pid, text in self.pool.stacks(pid)]

    @property
    def problem(self) -> str | None:
        """The reason why events fail at once while workers keep dying; None while they do not."""
        return self._events.problem

    def bound(self, max_workers: int) -> None:
        """Set the upper bound of the number of workers."""
        self.pool.bound(max_workers)

    def replace(self, worker: int, *, dry_run: bool = False) -> int:
        """Replace a worker, named by its process id or its number, and return its process id."""
        return self.pool.replace(worker, dry_run=dry_run)

    def resize(self, workers: int) -> None:
        """Set the number of workers, without waiting for them to start or end."""
        self.pool.resize(workers)

    def __repr__(self) -> str:
        collectors = [task.key for task in self._tasks.values()]
        return f"<WorkerTier {self.size} workers, room for {self.room}, collectors={collectors}>"

    def _count_times(self, workers: Iterable[WorkerStatistics]) -> None:
        """Add the time of workers on a CPU, and waiting for one, since the last reading.

        Workers that are starting are left out. The end of a start is counted with the first event: otherwise the event
        would seem to wait, and to need more workers.
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
