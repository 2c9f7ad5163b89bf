"""The scaled pool of worker processes: its public face, and what connects its parts.

          WorkerPool
submit, cancel |  ^ succeeded, failed
               v  |
           Dispatcher  <-- who is ready --  Crew  -- launches, retires, replaces
               |  ^                          |
           jobs|  |records                   |
               v  |                          v
             Worker (one per process: socket, shared page)
"""

from __future__ import annotations

import asyncio
import os
from time import monotonic
from typing import TYPE_CHECKING

from event_collector_workers.errors import PoolBroken, PoolClosed, WorkerStartError
from event_collector_workers.job import Job, TaskSpec
from event_collector_workers.launch.launchers import check_start_method, is_importing_main, make_launcher
from event_collector_workers.machine import cpu_seconds
from event_collector_workers.pool.credit import HORIZON
from event_collector_workers.pool.crew import Crew, Recycling, memory_of
from event_collector_workers.pool.traffic import Dispatcher
from event_collector_workers.pool.worker import State, Worker
from event_collector_workers.statistics import PoolStatistics, WorkerStatistics
from event_collector_workers.transport.frames import Record, Setup

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.context import BaseContext

    from event_collector_workers.child.workplace import Initialize

__all__ = ["Job", "PoolListener", "PoolStatistics", "TaskSpec", "WorkerPool", "WorkerStatistics"]


_NO_GUARD = (
    "this is a worker process that imports the program's main module, which must not start workers while it is "
    'imported: put what the program does under `if __name__ == "__main__":`'
)


class PoolListener:
    """Hears of what happens in a pool, in the loop's thread. Override what is of interest."""

    def room(self) -> None:
        """The pool takes jobs again: its room was 0. Called at most once in a turn of the loop."""

    def answers(self) -> None:
        """All answers that were read from a worker have been handed to their jobs."""

    def worker_started(self, pid: int, seconds: float) -> None:
        """A worker became ready, `seconds` after it was decided to start it."""

    def worker_stopped(self, pid: int | None, reason: str, exitcode: int | None) -> None:
        """A worker ended: reason is "stopped" (as asked), "crashed" or "not started"."""

    def worker_complained(self, pid: int | None, trace: str) -> None:
        """A worker that was asked to stop could not close its tasks; `trace` is its traceback."""

    def breaker_opened(self, error: PoolBroken) -> None:
        """Workers die too often in a row: jobs fail at once until a worker lives again."""

    def breaker_closed(self) -> None:
        """A job has finished: the pool is well again."""


class WorkerPool:
    """Runs jobs in worker processes, as many as asked for, from one event loop.

    Args:
        tasks: What the workers can run; a job names one by its index.
        max_workers: Most processes at a time, at least 1. While one is being replaced there may be one more.
        min_workers: Fewest, 0 to max_workers.
        start_method: "forkserver" (the default where there is one), "spawn" or "fork".
        preload: Modules to import before workers are started from the process that has them.
        listener: Hears of what happens.
        max_jobs_per_worker: Jobs, at most, after which a worker is replaced; None for no limit. Its successor starts
            when the jobs left are those that take as long as a start, and at most a quarter of all: so none waits.
        max_worker_age: Seconds after which it is.
        max_worker_memory: Bytes of its own (USS) after which it is; read once a second at most, after a job.
        startup_timeout: Seconds that a worker may take to become ready.
        stop_timeout: Seconds that a retired worker may take to close its tasks once its last job has ended.
        mp_context: A `multiprocessing` context to start workers with, instead of `start_method`.
        initialize: A callable and its arguments, which each worker calls before it opens its tasks.
        horizon: Seconds of work that a worker may hold; what it holds, nothing that comes later can overtake.

    Raises:
        ValueError: A number is out of its range, or the start method is unknown.

    """

    def __init__(
        self,
        tasks: Sequence[TaskSpec],
        *,
        max_workers: int,
        min_workers: int = 0,
        start_method: str | None = None,
        preload: Sequence[str] = (),
        listener: PoolListener | None = None,
        max_jobs_per_worker: int | None = None,
        max_worker_age: float | None = None,
        max_worker_memory: int | None = None,
        startup_timeout: float = 60.0,
        stop_timeout: float = 10.0,
        mp_context: BaseContext | None = None,
        initialize: Initialize | None = None,
        horizon: float = HORIZON,
    ) -> None:
        if max_workers < 1 or not 0 <= min_workers <= max_workers:
            raise ValueError(
                f"need 0 <= min_workers <= max_workers and 1 <= max_workers, not {min_workers}, {max_workers}"
            )
        self._setup = Setup(os.getpid(), [(task.reference, task.argument) for task in tasks])
        self._max_workers = max_workers
        self._min_workers = min_workers
        check_start_method(start_method)
        self._start_method = start_method
        self._context = mp_context
        self._initialize = initialize
        self._horizon = horizon
        self._preload = tuple(preload)
        self._listener = listener or PoolListener()
        self._recycling = Recycling(max_jobs_per_worker, max_worker_age, max_worker_memory)
        self._startup_timeout = startup_timeout
        self._stop_timeout = stop_timeout
        self._closing = False
        self._closed = False
        self._waiters: list[asyncio.Future[None]] = []
        self._loop: asyncio.AbstractEventLoop
        self._dispatcher: Dispatcher
        self._crew: Crew

    # --- life

    async def start(self, workers: int) -> None:
        """Bind to the running loop and start workers; return when they are ready.

        Raises:
            WorkerStartError: One of them could not start. Nothing is left behind, as after a cancellation.
            PoolClosed: The pool was closed before.

        """
        if self._closed:
            raise PoolClosed("the pool is closed; make another one")
        if is_importing_main():
            raise WorkerStartError(_NO_GUARD)
        self._loop = asyncio.get_running_loop()
        try:
            self._launcher = make_launcher(
                self._loop, self._start_method, self._context, self._preload_names(), self._initialize
            )
        except OSError as error:
            raise WorkerStartError(f"a worker could not be started: {error}") from error
        self._dispatcher = Dispatcher(
            self._loop, self._listener.room, self._wake, self._spent, self._listener.answers, self._horizon
        )
        self._crew = Crew(
            self._loop,
            self._launcher,
            self._setup,
            self,
            self,
            startup_timeout=self._startup_timeout,
            stop_timeout=self._stop_timeout,
            recycling=self._recycling,
        )
        self._crew.target = self._clamp(workers)
        self._crew.adjust()
        try:
            while self._crew.count(State.READY) < self._crew.target:
                if self._crew.last_failure:
                    raise WorkerStartError(f"a worker could not be started: {self._crew.last_failure}")
                await self._change()
        except BaseException:
            await self.abort()
            raise

    def resize(self, workers: int) -> None:
        """Set how many workers there are to be, between min_workers and max_workers. Never blocks.

        Growing starts them in the background. Shrinking retires idle workers first; busy ones finish the job
        they are in, and what they had not started is handed to others.
        """
        if not self._closing:
            self._crew.target = self._clamp(workers)
            self._crew.adjust()

    def grow(self, workers: int) -> None:
        """Have at least that many workers, within the same bounds as `resize`."""
        if workers > self._crew.target:
            self.resize(workers)

    async def drain(self) -> None:
        """Wait until every submitted job has its outcome. Cancelling the wait changes nothing."""
        while self._dispatcher.outstanding:
            await self._change()

    async def close(self, timeout: float | None = None) -> None:
        """Finish all jobs, close the tasks in every worker, end the workers. Idempotent.

        Args:
            timeout: Seconds after which what is left is killed; None to wait for as long as it takes.

        A cancellation aborts the pool, and then goes on.

        """
        self._closing = True
        if not hasattr(self, "_crew"):
            self._closed = True
        if self._closed:
            return
        try:
            async with asyncio.timeout(timeout):
                await self.drain()
                self._crew.target = 0
                self._crew.forget_retry()
                self._crew.adjust()
                while self._crew.workers:
                    await self._change()
        except TimeoutError:
            pass
        finally:
            await self.abort()

    async def abort(self) -> None:
        """Kill every worker now; jobs without an outcome fail with PoolClosed. Nothing is left behind."""
        self._closing = True
        if self._closed or not hasattr(self, "_crew"):
            return
        self._dispatcher.abort()
        self._crew.kill_all()
        while self._crew.workers:
            await self._change()
        self._dispatcher.fail_backlog(lambda: PoolClosed("the pool was stopped before this job had ended"))
        self._dispatcher.close()
        self._launcher.close()
        self._closed = True

    # --- jobs

    def submit(self, job: Job) -> None:
        """Take a job without waiting: for an idle worker at once, else at the end of this turn of the loop.

        Raises:
            PoolClosed: The pool is closing or closed.
            ValueError: The job is in a pool already.

        """
        self.submit_all((job,))

    def submit_all(self, jobs: Sequence[Job]) -> None:
        """Take jobs, all or none of them; cheaper than one by one. Raises what `submit` raises."""
        if self._closing:
            raise PoolClosed("the pool is closing; it takes no more jobs")
        self._dispatcher.submit(jobs)
        if not self._crew.workers:
            self._loop.call_soon(self._revive)

    def cancel(self, job: Job) -> bool:
        """Cancel a job: withdraw it if it has not started, else kill the worker that is in it.

        Returns:
            False if the job has ended already or was never submitted. Otherwise its outcome follows, at once
            or when its worker is dead: JobCancelled, unless the job was faster.

        """
        return self._dispatcher.cancel(job)

    @property
    def room(self) -> int:
        """How many more jobs the workers take now; above that, jobs wait in the pool's own backlog."""
        room = self._dispatcher.room
        return room if room > 0 else 0

    @property
    def is_idle(self) -> bool:
        """Whether a worker has nothing to do."""
        return self._dispatcher.is_idle

    @property
    def backlog(self) -> int:
        """How many jobs no worker has yet."""
        return self._dispatcher.backlog

    @property
    def outstanding(self) -> int:
        """How many jobs were submitted and have no outcome yet."""
        return self._dispatcher.outstanding

    def statistics(self, *, memory: bool = False) -> PoolStatistics:
        """Return a snapshot. `memory`: read each worker's too, which the system takes a while for."""
        crew, dispatcher = self._crew, self._dispatcher
        workers = tuple(_describe(worker, memory=memory) for worker in crew.workers)
        return PoolStatistics(
            target=crew.target,
            ready=crew.count(State.READY),
            starting=crew.count(State.STARTING),
            busy=sum(worker.state is State.READY and worker.held > 0 for worker in crew.workers),
            backlog=dispatcher.backlog,
            submitted=dispatcher.submitted,
            finished=dispatcher.finished,
            failed=dispatcher.failed,
            crashed=dispatcher.crashed,
            restarts=crew.restarts,
            service_seconds=dispatcher.service_time,
            startup_seconds=crew.startup_seconds,
            cpu_seconds=crew.past_cpu_seconds + sum(worker.cpu_seconds for worker in workers),
            workers=workers,
        )

    # --- what workers and crew tell (WorkerEvents, CrewEvents)

    def on_ready(self, worker: Worker) -> None:
        """A worker can take jobs."""
        self._dispatcher.attach(worker)
        self._crew.became_ready(worker)
        self._listener.worker_started(worker.pid or 0, worker.startup)
        self._wake()

    def on_records(self, worker: Worker, records: list[Record], blob: bytes | None) -> None:
        """Jobs have ended."""
        self._dispatcher.on_records(worker, records, blob)
        self._crew.finished_one(worker)

    def on_look(self, worker: Worker) -> None:
        """A worker has results in its page."""
        self._dispatcher.look((worker,))

    def on_lost(self, worker: Worker) -> None:
        """A worker takes no more jobs."""
        self._dispatcher.release(worker)
        self._crew.adjust()

    def on_gone(self, worker: Worker) -> None:
        """A worker's process has ended."""
        reason = "stopped" if worker.leaving else "crashed" if worker.startup else "not started"
        self._dispatcher.settle(worker)
        self._crew.ended(worker)
        self._refuse()
        if worker.leaving and worker.complaint:
            self._listener.worker_complained(worker.pid, worker.complaint)
        self._listener.worker_stopped(worker.pid, reason, worker.exitcode)
        self._wake()

    def on_breaker(self, *, opened: bool) -> None:
        """The breaker opened or closed."""
        if not opened:
            self._listener.breaker_closed()
            return
        self._listener.breaker_opened(self._broken())
        self._refuse()

    def _spent(self, worker: Worker) -> None:
        self._crew.spent(worker, self._dispatcher.service_time)

    def _broken(self) -> PoolBroken:
        retry_in = self._crew.breaker.wait(monotonic())
        return PoolBroken(
            f"workers die again and again; the pool tries another one in {retry_in:.1f} s. The last: "
            f"{self._crew.last_failure}",
            retry_in=retry_in,
        )

    def _refuse(self) -> None:
        # Called at each death too: the last of a crew may go after the breaker has opened.
        if self._crew.breaker.is_refusing(monotonic()) and not self._dispatcher.ready:
            self._dispatcher.fail_backlog(self._broken)

    def _revive(self) -> None:
        if self._closing or self._crew.workers:
            return
        self._crew.target = max(1, self._crew.target)
        self._crew.adjust()
        self._refuse()

    # --- waiting

    def _preload_names(self) -> list[str]:
        modules = [reference.partition(":")[0] for reference, _ in self._setup.tasks]
        return [name for name in dict.fromkeys([*modules, *self._preload]) if name != "__main__"]

    def _clamp(self, workers: int) -> int:
        return max(self._min_workers, min(workers, self._max_workers))

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def _change(self) -> None:
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter


def _describe(worker: Worker, *, memory: bool) -> WorkerStatistics:
    sequence, seconds = worker.running()
    return WorkerStatistics(
        number=worker.number,
        pid=worker.pid,
        state=worker.state.value,
        in_hand=worker.held,
        job_seconds=seconds if sequence else 0.0,
        finished=worker.finished,
        cpu_seconds=0.0 if worker.pid is None else cpu_seconds(worker.pid) or worker.page.cpu_seconds,
        memory=memory_of(worker) if memory else None,
    )
