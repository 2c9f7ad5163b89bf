"""The scaled pool of worker processes: its public interface, and the wiring of its parts.

          WorkerPool
submit, cancel |  ^ succeeded, failed
               v  |
            Traffic  <-- ready workers --  Crew  -- launches, retires, replaces
               |  ^ jobs, records            v
             Worker (one per process: socket, shared page)
"""

from __future__ import annotations

import asyncio
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from event_collector_workers.child.open_descriptors import open_standard_descriptors
from event_collector_workers.environment import WorkerEnvironment
from event_collector_workers.launch.start_method import Launcher, check_start_method, is_importing_main, make_launcher
from event_collector_workers.pool.credit import HORIZON
from event_collector_workers.pool.crew import Crew, Lifetime
from event_collector_workers.pool.emission import Emission
from event_collector_workers.pool.job_watch import JobTraffic, JobWatch, JobWatcher
from event_collector_workers.pool.listener import PoolListener, tell
from event_collector_workers.pool.pool_view import jobs_in, progress_in, running_in, stacks_of, statistics_of
from event_collector_workers.pool.traffic import Traffic
from event_collector_workers.pool.worker_state import State
from event_collector_workers.pool_errors import PoolClosed, WorkerStartError
from event_collector_workers.segments.shared_file import SharedFile
from event_collector_workers.segments.shared_memory import SharedMemory, shared_memory_limit
from event_collector_workers.transport.frames import Part, Record, WorkerSetup

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.context import BaseContext

    from event_collector_workers.child.workplace import Initialize
    from event_collector_workers.job import Buffer, Copy, Job, TaskSpec
    from event_collector_workers.pool.worker import Worker
    from event_collector_workers.statistics import PoolStatistics
    from event_collector_workers.transport.progress_record import Progress

_NO_GUARD = (
    "this is a worker process that is importing the program's main module. The module must not start workers while "
    'it is imported: put the code that runs the program under `if __name__ == "__main__":`'
)


class WorkerPool:
    """Runs jobs in worker processes, from one event loop.

    Args:
        tasks: The tasks that workers can run. A job refers to one by its index.
        max_workers: Maximum number of processes, at least 1. While one is being replaced there may be one more.
        min_workers: Minimum number of processes, 0 to max_workers.
        start_method: "forkserver" (the default where it exists), "spawn" or "fork".
        preload: Modules that are imported once, before workers are forked.
        listener: Receives the events of the pool.
        max_jobs_per_worker: Replace a worker after this many jobs; None for no limit. Its successor starts early
            enough that no job waits for it, at most a quarter of the jobs before the end.
        max_worker_age: Replace a worker this many seconds after it became ready; None for no limit.
        max_worker_memory: Replace a worker that uses more than this many bytes by itself (USS); None for no limit.
            The memory is read after a job, at most once a second.
        startup_timeout: Seconds that a worker may take to become ready.
        stop_timeout: Seconds that a retired worker may take to close its tasks after its last job.
        mp_context: A `multiprocessing` context that starts workers; replaces `start_method`.
        initialize: A callable and its arguments. Each worker calls it before it opens its tasks.
        environment: What workers find when they import modules. None for that of the program.
        horizon: Seconds of work that a worker may hold. Later jobs cannot overtake the jobs that a worker holds.
        max_shared_memory: Bytes of memory that the pool shares with its workers for large values, at most; 0 for none:
            they travel through sockets. None for an eighth of the memory that this process may use.
        forward_output: Emit what workers log and print as records and lines of this program; see `emission`.

    Raises:
        ValueError: A number is out of its range, or the start method is unknown.
    """

    def __init__(
        self, tasks: Sequence[TaskSpec], *, max_workers: int, min_workers: int = 0, start_method: str | None = None,
        preload: Sequence[str] = (), listener: PoolListener | None = None, max_jobs_per_worker: int | None = None,
        max_worker_age: float | None = None, max_worker_memory: int | None = None, startup_timeout: float = 60.0,
        stop_timeout: float = 10.0, mp_context: BaseContext | None = None, initialize: Initialize | None = None,
        environment: WorkerEnvironment | None = None, horizon: float = HORIZON, max_shared_memory: int | None = None,
        forward_output: bool = True,
    ) -> None:  # fmt: skip
        if max_workers < 1 or not 0 <= min_workers <= max_workers:
            bounds = "0 <= min_workers <= max_workers and 1 <= max_workers"
            raise ValueError(f"need {bounds}, not {min_workers}, {max_workers}")
        check_start_method(start_method)
        modules = [task.reference.partition(":")[0] for task in tasks] + list(preload)
        self._make_launcher = partial(
            make_launcher,
            start_method=start_method,
            context=mp_context,
            preload=[name for name in dict.fromkeys(modules) if name != "__main__"],
            initialize=initialize,
        )
        self._environment, self._listener = environment or WorkerEnvironment(), listener or PoolListener()
        self._tasks, self._data = tasks, SharedFile([task.data for task in tasks])
        self._memory = SharedMemory(shared_memory_limit(max_shared_memory))
        self.copy: Copy = self._memory.copy
        """Return the bytes of parts in read-only memory of their own, which a worker maps if there is some for them."""
        self._make_crew = partial(
            Crew,
            make_setup=self._make_setup,
            events=self,
            memory=self._memory,
            lifetime=Lifetime(max_jobs_per_worker, max_worker_age, max_worker_memory, startup_timeout, stop_timeout),
        )
        self._min_workers, self._max_workers, self._horizon = min_workers, max_workers, horizon
        self._emission = Emission(self._listener, self._environment.group) if forward_output else None
        self._is_started = self._is_closing = self._is_closed = False
        self._waiters: list[asyncio.Future[None]] = []
        self._loop: asyncio.AbstractEventLoop  # this and the following: from start()
        self._launcher: Launcher
        self._traffic: Traffic
        self._intake: JobTraffic  # what takes results: the traffic, or a watch before it
        self._crew: Crew

    def __repr__(self) -> str:
        if not self._is_started:
            return f"<WorkerPool {'closed' if self._is_closed else 'not started'}>"
        state = "closed" if self._is_closed else "closing" if self._is_closing else "running"
        return f"<WorkerPool {state} {self._crew!r} {self._traffic!r}>"

    async def start(self, workers: int) -> None:
        """Bind to the running loop and start workers; return when they are ready.

        Raises WorkerStartError if a worker could not start: then the pool is aborted, as after a cancellation. Raises
        PoolClosed if the pool was closed before.
        """
        if self._is_closed:
            raise PoolClosed("the pool is closed; make another one")
        if is_importing_main():
            raise WorkerStartError(_NO_GUARD)
        self._loop = asyncio.get_running_loop()
        try:
            open_standard_descriptors()
            self._launcher = self._make_launcher(
                self._loop,
                environment=self._environment.seeded(),
                on_apart=partial(tell, self._listener.imported_apart),
            )
        except (OSError, ValueError) as error:
            raise WorkerStartError(f"a worker could not be started: {error}") from error
        self._crew = self._make_crew(self._loop, self._launcher)
        self._traffic = Traffic(self._loop, self._listener, self._wake, self._crew.on_quota_used, self._horizon)
        self._intake = self._traffic
        self._is_started = True
        try:
            for _ in self._data.write():
                await asyncio.sleep(0)
            self._crew.resize(self._clamp(workers))
            while self._crew.count(State.READY) < self._crew.target:
                if self._crew.last_failure:
                    raise WorkerStartError(f"a worker could not be started: {self._crew.last_failure}")
                await self._change()
        except BaseException:
            await self.abort()
            raise

    def resize(self, workers: int) -> None:
        """Set the target number of workers, clamped to min_workers and max_workers. Never blocks.

        New workers start in the background. Idle workers are retired first. Busy ones finish their current job.
        """
        if not self._is_closing:
            self._crew.resize(self._clamp(workers))

    def bound(self, max_workers: int) -> None:
        """Set another maximum number of workers, at least `min_workers` and 1."""
        self._max_workers = max(1, self._min_workers, max_workers)
        if self._is_started:
            self.resize(self._crew.target)

    def replace(self, worker: int, *, dry_run: bool = False) -> int:
        """Replace a worker without a gap, named by its process id or else its number; see `Crew.replace`."""
        return self._crew.replace(worker, dry_run=dry_run)

    def grow(self, workers: int) -> None:
        """Raise the target number of workers to at least `workers`, within the bounds of `resize`."""
        if workers > self._crew.target:
            self.resize(workers)

    async def drain(self) -> None:
        """Wait until every submitted job has its outcome. Cancellation ends the wait and has no other effect."""
        while self._traffic.outstanding:
            await self._change()

    async def close(self, timeout: float | None = None) -> None:
        """Finish all jobs, close the tasks in every worker, end the workers. Idempotent.

        The remaining workers are killed after `timeout` seconds; None for no limit. Cancellation aborts the pool.
        """
        self._is_closing = True
        self._is_closed = self._is_closed or not self._is_started
        if self._is_closed:
            return
        try:
            async with asyncio.timeout(timeout):
                await self.drain()
                self._crew.resize(0)
                while self._crew.workers:
                    await self._change()
        except TimeoutError:
            pass
        finally:
            await self.abort()

    async def abort(self) -> None:
        """Kill every worker now. Jobs without an outcome fail with PoolClosed. Idempotent."""
        self._is_closing = True
        if self._is_closed or not self._is_started:
            return
        self._traffic.abort()
        self._crew.kill_all()
        while self._crew.workers:
            await self._change()
        self._traffic.fail_backlog(lambda: PoolClosed("the pool was stopped before this job had ended"))
        self._traffic.close()
        self._memory.close()
        self._data.close()
        self._launcher.close()
        self._is_closed = True

    def submit(self, job: Job) -> None:
        """Accept a job without waiting. An idle worker gets it at once, else the next turn of the loop assigns it.

        Raises PoolClosed if the pool is closing or closed, ValueError if the job is in a pool already.
        """
        self.submit_all((job,))

    def submit_all(self, jobs: Sequence[Job]) -> None:
        """Accept all of these jobs or none. Cheaper than one by one. Raises the errors of `submit`."""
        if self._is_closing:
            raise PoolClosed("the pool is closing; it takes no more jobs")
        self._traffic.submit(jobs)
        if not self._crew.workers:
            self._loop.call_soon(self._revive)

    def recall(self, job: Job) -> bool:
        """Take a job back from its worker unless it has begun there; return whether it is in the backlog now."""
        return self._traffic.recall(job)

    def cancel(self, job: Job) -> bool:
        """Cancel a job: withdraw it if it has not started, else kill its worker.

        Return False if the job has ended or was never submitted. Otherwise its outcome follows, at once or when its
        worker is dead: JobCancelled, unless the job was faster.
        """
        return self._traffic.cancel(job)

    def go_on(self, job: Job, credit: int) -> None:
        """Have a job that has begun give so many parts more; 0: have it end. A no-op if it has ended."""
        self._traffic.go_on(job, credit)

    @property
    def room(self) -> int:
        """Jobs that the workers accept now, at least 0. Further jobs wait in the pool's backlog."""
        room = self._traffic.room
        return room if room > 0 else 0

    @property
    def is_idle(self) -> bool:
        """True if a worker has no job, and no job is waiting."""
        return self._traffic.is_idle

    @property
    def backlog(self) -> int:
        """Jobs that no worker holds."""
        return self._traffic.backlog

    @property
    def outstanding(self) -> int:
        """Jobs that were submitted and have no outcome yet."""
        return self._traffic.outstanding

    def tell_levels(self) -> None:
        """Tell the workers which records the program does not drop, if that has changed."""
        levels = None if self._emission is None else self._emission.changed_levels()
        if levels is not None:
            for worker in self._crew.workers:
                worker.tell_levels(levels)

    def statistics(self, *, memory: bool = False) -> PoolStatistics:
        """Return a snapshot. `memory`: read the memory of each worker too, which is slow."""
        return statistics_of(self._crew, self._traffic, self._memory, memory=memory)

    def progress(self) -> list[tuple[Job, int, Progress]]:
        """Return the jobs that have reported progress, with the process id of their worker and the last report."""
        return progress_in(self._crew.workers)

    def jobs(self) -> list[Job]:
        """Return all jobs without an outcome."""
        return jobs_in(self._crew.workers, self._traffic)

    def running(self) -> list[tuple[Job, int, int, float]]:
        """Return the jobs that workers are in, with the number and process id of the worker, and their seconds."""
        return running_in(self._crew.workers)

    def watch(self, watcher: JobWatcher | None) -> None:
        """Tell a watcher of all jobs that end from now on; None: nobody. The pool has started."""
        self._intake = self._traffic if watcher is None else JobWatch(self._traffic, watcher)

    def stacks(self, pid: int | None = None) -> list[tuple[int, int, str]]:
        """Return number, process id and stacks of the worker with this process id, or of all workers.

        An idle worker, or one that does not answer, has an empty text. Blocks, up to half a second for each worker.
        """
        return stacks_of(list(self._crew.workers), pid)

    def on_ready(self, worker: Worker) -> None:
        """Let the worker take jobs."""
        self._traffic.attach(worker)
        self._crew.on_ready(worker)
        tell(self._listener.worker_started, worker.pid or 0, worker.startup)
        self._wake()

    def on_records(self, worker: Worker, records: list[Record], blob: Buffer | None) -> None:
        """Hand the results to their jobs."""
        self._intake.on_records(worker, records, blob)
        self._crew.on_answers(worker)

    def on_part(self, worker: Worker, part: Part, blob: Buffer | None) -> None:
        """Hand a part to its job."""
        self._traffic.on_part(worker, part, blob)

    def on_look(self, worker: Worker) -> None:
        """Collect the records in the worker's page."""
        self._traffic.look((worker,))

    def on_output(self, worker: Worker, pid: int, kind: int, body: bytes) -> None:
        """Emit what the worker has logged."""
        if self._emission is not None:
            self._emission.emit(worker.number, pid, kind, body)

    def on_lost(self, worker: Worker) -> None:
        """Hand no more jobs to the worker, and replace it."""
        self._traffic.release(worker)
        self._crew.adjust()

    def on_gone(self, worker: Worker) -> None:
        """Settle the worker's jobs, forget it, and report its end."""
        if self._emission is not None:
            self._emission.forget(worker.number)
        reason = "stopped" if worker.ended_as_meant else "crashed" if worker.startup else "not started"
        self._intake.settle(worker)
        self._crew.on_gone(worker)
        self._fail_if_refusing()
        if worker.closing_error:
            tell(self._listener.worker_complained, worker.pid, worker.closing_error)
        tell(self._listener.worker_stopped, worker.pid, reason, worker.exitcode)
        self._wake()

    def on_breaker(self, *, opened: bool) -> None:
        """Report the breaker, and fail the backlog if it is open."""
        if not opened:
            tell(self._listener.breaker_closed)
            return
        tell(self._listener.breaker_opened, self._crew.broken_error())
        self._fail_if_refusing()

    def _make_setup(self) -> tuple[WorkerSetup, list[int]]:
        levels = None if self._emission is None else self._emission.levels()
        tasks = [(task.reference, task.argument) for task in self._tasks]
        return WorkerSetup(tasks, self._data.layout, levels), self._data.descriptors

    def _fail_if_refusing(self) -> None:
        # Called at each death too: the last worker may end after the breaker has opened.
        if self._crew.breaker.is_refusing(monotonic()) and not self._traffic.has_workers:
            self._traffic.fail_backlog(self._crew.broken_error)

    def _revive(self) -> None:
        if self._is_closing or self._crew.workers:
            return
        self._crew.resize(max(1, self._crew.target))
        self._fail_if_refusing()

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
