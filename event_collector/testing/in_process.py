"""Workers in the test's own process: a pool without processes, in the place of the pool of a queue.

A thread, the *stand-in*, does the work of a worker with the worker's code: the setup of each collector is pickled and
opened, payloads and results are encoded and decoded, lifecycles are entered and left, an `async def` has its own event
loop. Jobs run one at a time, in order.

    submit --> backlog --> stand-in (a thread) --> call_soon_threadsafe --> job.succeeded / job.failed
                              |
                              '-- replaced at a timeout, at a cancellation, and when its handler ends it
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from event_collector.testing.stand_in import Reply, StandIn
from event_collector.tiers.workers.pool_factory import pool_factory
from event_collector.tiers.workers.worker_tier import PARTS_HOST
from event_collector.values.clock import clock
from event_collector.values.errors import ConfigError
from event_collector_workers import pool_errors as errors
from event_collector_workers.environment import WorkerEnvironment
from event_collector_workers.job import Buffer, Job, TaskSpec, TimeLimit
from event_collector_workers.pool.listener import PoolListener, tell
from event_collector_workers.segments.private_copies import private_copy
from event_collector_workers.statistics import PoolStatistics, SharedMemoryStatistics
from event_collector_workers.transport.frames import parts_of
from event_collector_workers.transport.progress_record import Progress


@contextmanager
def in_process_workers() -> Iterator[None]:
    """Run the handlers of worker processes in a thread of this process, for queues that start within this context.

    No process is started. Otherwise all is as in a worker: handlers that a worker cannot import are refused at the
    start, values are encoded and decoded, each collector has a copy of its context and enters its lifecycle there.
    There is one worker in each group, whatever `max_workers` says. The thread shares modules and their globals with
    the test and has no `worker_limits`, environment or seed of its own; a handler that exceeds its timeout is given up
    but runs on. SystemExit of a handler is a WorkerCrashed; `os._exit()` and signals end the test itself. Executors of
    the application (`mode=Executor`) are not replaced. The start of a queue raises ConfigError if the handler of a
    worker process yields.
    """
    with pool_factory.making(InProcessPool):
        yield


class InProcessPool:
    """A pool of one worker that is a thread, with the interface of WorkerPool. Ignores the settings of processes."""

    def __init__(
        self,
        tasks: Sequence[TaskSpec],
        *,
        listener: PoolListener | None = None,
        environment: WorkerEnvironment | None = None,
        **_settings: Any,
    ) -> None:
        if any(task.reference == PARTS_HOST for task in tasks):
            raise ConfigError(
                "in-process workers run no handlers that yield: test these in worker processes, or threads"
            )
        self._specs, self._listener = tuple(tasks), listener or PoolListener()
        self._group = (environment or WorkerEnvironment()).group
        self._backlog: deque[Job] = deque()
        self._worker: StandIn | None = None  # ready, or opening its tasks
        self._leaving: set[StandIn] = set()  # about to end, and waited for
        self._is_ready = self._closing = False
        self._broken: str | None = None  # why a worker could not open its tasks
        self._counts: dict[str, Any] = {"submitted": 0, "finished": 0, "failed": 0, "crashed": 0, "restarts": 0}
        self._change = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop

    # Life

    async def start(self, workers: int) -> None:
        """Start the worker; return when it has opened its tasks.

        Raises:
            WorkerStartError: it could not; the message contains the traceback.
        """
        self._loop = asyncio.get_running_loop()
        self._hire()
        try:
            await self._until(lambda: self._is_ready or self._broken is not None)
            if self._broken is not None:
                raise errors.WorkerStartError(f"an in-process worker could not be started: {self._broken}")
        except BaseException:
            await self.abort()
            raise

    def copy(self, parts: Sequence[Buffer]) -> memoryview:
        """Return the bytes of the parts in read-only memory of their own."""
        return private_copy(parts)

    def resize(self, workers: int) -> None:
        """Do nothing: there is one worker."""

    def bound(self, max_workers: int) -> None:
        """Do nothing: there is one worker."""

    def replace(self, worker: int, *, dry_run: bool = False) -> int:
        """Raise LookupError: there is no process to replace."""
        raise LookupError(f"there is no worker process {worker}: the worker is a thread of the test")

    async def close(self, timeout: float | None = None) -> None:
        """Finish all jobs, close the tasks and end the thread; abort what is left after `timeout` seconds."""
        self._closing = True
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._until(lambda: not self._outstanding)
                self._dismiss()
                await self._until(lambda: not self._leaving)
        await self.abort()

    async def abort(self) -> None:
        """Fail every job with PoolClosed. A thread in a handler ends after it, and its reply is ignored."""
        self._closing = True
        running = self._running
        self._dismiss(awaited=running is None)
        if running is not None:
            self._backlog.appendleft(running)
        self._fail_backlog(errors.PoolClosed, "the pool was stopped before this job had ended")

    # Jobs

    def go_on(self, job: Job, credit: int) -> None:
        """Do nothing: no handler that yields runs here."""

    def submit(self, job: Job) -> None:
        """Take a job. Raises PoolClosed after the end has begun."""
        self.submit_all((job,))

    def submit_all(self, jobs: Sequence[Job]) -> None:
        """Take jobs, all or none of them."""
        if self._closing:
            raise errors.PoolClosed("the pool is closing; it takes no more jobs")
        self._counts["submitted"] += len(jobs)
        for job in jobs:
            job.move_to(self)
            clock.source.watch(job)
        self._backlog.extend(jobs)
        self._hand_out()

    def recall(self, job: Job) -> bool:
        """Return whether a job has not begun."""
        return job in self._backlog

    def cancel(self, job: Job) -> bool:
        """Withdraw a job, or give up the worker that runs it; return False if it has ended."""
        error = errors.JobCancelled("the job was cancelled")
        if job is self._running:
            self._give_up(job, error)
        elif job in self._backlog:
            self._backlog.remove(job)
            self._fail(job, error)
        else:
            return False
        return True

    @property
    def room(self) -> int:
        """Number of jobs that the worker takes at once."""
        return int(self.is_idle)

    @property
    def is_idle(self) -> bool:
        """Whether the worker has nothing to do."""
        return self._is_ready and self._running is None and not self._backlog

    @property
    def backlog(self) -> int:
        """Number of jobs that the worker does not have yet."""
        return len(self._backlog)

    def statistics(self, *, memory: bool = False) -> PoolStatistics:
        """Return a snapshot, without the times and the memory of the thread."""
        return PoolStatistics(
            **self._counts, target=1, ready=int(self._is_ready),
            starting=int(self._worker is not None and not self._is_ready), busy=int(self._running is not None),
            backlog=len(self._backlog), service_seconds=0.0, startup_seconds=0.0, cpu_seconds=0.0, workers=(),
            shared_memory=SharedMemoryStatistics(),
        )  # fmt: skip

    def jobs(self) -> list[Job]:
        """Return all jobs without an outcome."""
        return [*self._backlog, *([] if self._running is None else [self._running])]

    def tell_levels(self) -> None:
        """Do nothing: handlers use the loggers of the program."""

    def progress(self) -> list[tuple[Job, int, Progress]]:
        """Return the job that has reported progress, with the process id and the last report."""
        worker, job = self._worker, self._running
        progress = None if worker is None else worker.progress
        return [] if job is None or progress is None else [(job, os.getpid(), progress)]

    def running(self) -> list[tuple[Job, int, int, float]]:
        """Return nothing: the age of the job is not known."""
        return []

    def watch(self, watcher: object) -> None:
        """Do nothing: viewers of a queue see no jobs of in-process workers."""

    def stacks(self, pid: int | None = None) -> list[tuple[int, int, str]]:
        """Return nothing: the thread is one of the program's."""
        return []

    @property
    def _outstanding(self) -> int:
        return int(self._counts["submitted"] - self._counts["finished"] - self._counts["failed"])

    @property
    def _running(self) -> Job | None:
        return None if self._worker is None else self._worker.job

    # The worker

    def _hire(self) -> None:
        self._is_ready, self._broken = False, None
        self._worker = StandIn(self._specs, self._group, self._post)
        self._worker.thread.start()

    def _dismiss(self, reason: str = "stopped", *, awaited: bool = True) -> None:
        """Have the worker end after its job, whose reply is ignored."""
        worker, self._worker = self._worker, None
        if worker is None:
            return
        worker.end()
        worker.jobs.put(None)
        if awaited:
            self._leaving.add(worker)
        if self._is_ready:
            self._is_ready = False
            tell(self._listener.worker_stopped, os.getpid(), reason, None)

    def _hand_out(self) -> None:
        worker = self._worker
        if worker is None and self._backlog and not self._closing:
            self._hire()
        if worker is None or not self._is_ready or worker.job is not None or not self._backlog:
            return
        job = self._backlog.popleft()
        worker.begin(job)
        if job.limit is not None:
            check = partial(self._check_limit, worker, job, job.limit, clock.now())
            worker.check_in(job.limit.left(), self._loop, check)

    def _check_limit(self, worker: StandIn, job: Job, limit: TimeLimit, began: float) -> None:
        """Give up a job that has exceeded its timeout or its heartbeat, or check it again."""
        now, progress = clock.now(), worker.progress
        left = limit.left(now - began, now - (began if progress is None else progress.at))
        if left > 0:
            worker.check_in(left, self._loop, partial(self._check_limit, worker, job, limit, began))
        elif limit.timeout is not None and now - began >= limit.timeout:
            text = f"the job ran longer than {limit.timeout} s"
            self._give_up(job, errors.JobTimeout(text, timeout=limit.timeout))
        else:
            self._give_up(job, errors.JobSilent(f"the job reported no progress for {limit.heartbeat} s"))

    def _give_up(self, job: Job, error: errors.WorkerPoolError, *, ends: bool = False) -> None:
        """Fail the running job and replace the worker, as a kill would; `ends`: the worker ends by itself."""
        self._counts["crashed"] += ends
        self._counts["restarts"] += ends
        self._dismiss("crashed" if ends else "stopped", awaited=ends)
        self._fail(job, error)
        self._take_next()

    def _take_next(self) -> None:
        self._hand_out()
        if self.room:
            tell(self._listener.room)
        self._change.set()

    def _fail_backlog(self, kind: type[errors.WorkerPoolError], text: str) -> None:
        jobs, self._backlog = self._backlog, deque()
        for job in jobs:
            self._fail(job, kind(text))

    def _fail(self, job: Job, error: BaseException, elapsed: float = 0.0) -> None:
        self._counts["failed"] += 1
        self._let_go(job)
        tell(job.failed, error, elapsed)
        self._change.set()

    def _let_go(self, job: Job) -> None:
        job.move_to(None)
        clock.source.forget(job)

    # Reports of the worker

    def _post(self, what: str, *args: Any) -> None:
        """Call a method below in the loop's thread; a no-op if the loop is closed."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(getattr(self, f"_{what}"), *args)

    def _opened(self, worker: StandIn, trouble: str | None) -> None:
        if worker is not self._worker:
            return
        if trouble is None:
            self._is_ready = True
            tell(self._listener.worker_started, os.getpid(), 0.0)
            self._take_next()
            return
        self._worker, self._broken = None, trouble
        self._leaving.add(worker)
        self._fail_backlog(errors.PoolBroken, f"an in-process worker could not be replaced: {trouble}")
        self._change.set()

    def _ended(self, worker: StandIn, job: Job, reply: Reply | errors.WorkerPoolError, elapsed: float) -> None:
        if worker.job is not job:
            return  # it was given up
        if isinstance(reply, errors.WorkerCrashed):
            self._give_up(job, reply, ends=True)
            return
        worker.end()
        if isinstance(reply, errors.WorkerPoolError):
            self._fail(job, reply, elapsed)
        else:
            self._counts["finished"] += 1
            self._let_go(job)
            body, blob = reply
            tell(job.succeeded, bytes(body), None if blob is None else b"".join(parts_of(blob)), elapsed)
        tell(self._listener.answers)
        self._take_next()

    def _stopped(self, worker: StandIn, complaints: str) -> None:
        worker.thread.join()
        self._leaving.discard(worker)
        if complaints:
            tell(self._listener.worker_complained, os.getpid(), complaints)
        self._change.set()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._change.clear()
            await self._change.wait()
