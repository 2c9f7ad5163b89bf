"""The thread that does the work of a worker process, with the worker's code."""

import asyncio
import threading
import traceback
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from time import perf_counter

from event_collector.handlers.progress_reports import register_report
from event_collector.values.clock import clock
from event_collector_workers import pool_errors as errors
from event_collector_workers.child.birth import standing_in
from event_collector_workers.child.workplace import resolve
from event_collector_workers.job import Buffer, Job, Task, TaskSpec
from event_collector_workers.transport.progress_record import Progress

Reply = tuple[Buffer, Buffer | None]


class StandIn:
    """A thread that runs jobs as a worker process would. It reports by `post()`: "opened", "ended", "stopped"."""

    def __init__(self, tasks: Sequence[TaskSpec], group: str, post: Callable[..., None]) -> None:
        self._specs, self._group, self._post = tasks, group, post
        self.jobs: SimpleQueue[Job | None] = SimpleQueue()
        """Jobs to run; None ends the thread."""
        self.thread = threading.Thread(target=self._be_worker, name="in-process worker", daemon=True)
        self.job: Job | None = None
        """The job that it runs. Written in the loop's thread."""
        self.timer: asyncio.TimerHandle | None = None
        """Gives up the job at its timeout."""
        self.progress: Progress | None = None
        """What the job has reported. Written in this thread, and before a job in the loop's."""

    def begin(self, job: Job) -> None:
        """Run a job."""
        self.job, self.progress = job, None
        self.jobs.put(job)

    def check_in(self, seconds: float, loop: asyncio.AbstractEventLoop, check: Callable[[], None]) -> None:
        """Check the limits of the job after this time."""
        self.timer = loop.call_later(seconds, check)

    def report(self, done: float, total: float | None, note: str) -> None:
        """Take the progress of the job."""
        self.progress = Progress(float(done), total, note, clock.now())

    def end(self) -> None:
        """Note that the job has ended, or was given up."""
        self.job = None
        if self.timer is not None:
            self.timer.cancel()

    def _be_worker(self) -> None:
        with standing_in(0, self._group):
            self._work()

    def _work(self) -> None:
        tasks: list[Task] = []
        _thread.stand_in = self
        try:
            try:
                for spec in self._specs:
                    tasks.append(resolve(spec.reference)(spec.argument))  # noqa: PERF401 - one may fail
            except BaseException:
                self._post("opened", self, traceback.format_exc())
                return
            self._post("opened", self, None)
            while (job := self.jobs.get()) is not None and self._run(tasks[job.task], job):
                pass
        finally:
            self._post("stopped", self, _close(tasks))

    def _run(self, task: Task, job: Job) -> bool:
        """Run one job; return whether the worker is still alive."""
        reply: Reply | errors.WorkerPoolError
        begun = perf_counter()
        try:
            reply = task.run(job.body, None if job.blob is None else bytes(job.blob))
        except SystemExit as exc:
            code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
            reply = errors.WorkerCrashed(f"the handler ended its worker ({exc!r})", exitcode=code)
        except BaseException:
            reply = errors.TaskError(traceback.format_exc())
        self._post("ended", self, job, reply, perf_counter() - begun)
        return not isinstance(reply, errors.WorkerCrashed)


class _InThread(threading.local):
    stand_in: StandIn | None = None
    """The stand-in that this thread is."""


_thread = _InThread()


def _report(done: float, total: float | None, note: str) -> bool:
    stand_in = _thread.stand_in
    if stand_in is not None:
        stand_in.report(done, total, note)
    return stand_in is not None


register_report(_report)


def _close(tasks: list[Task]) -> str:
    """Close tasks, the last one first; return the tracebacks of those that fail."""
    complaints = []
    for task in reversed(tasks):
        try:
            task.close()
        except BaseException:
            complaints.append(traceback.format_exc())
    return "\n".join(complaints)
