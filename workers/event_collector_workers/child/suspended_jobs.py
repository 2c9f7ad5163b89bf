"""Jobs of this worker that give parts, and are suspended while their parts wait to be read.

    run() --> parts, as many as may be --> suspended --GO_ON--> parts ... --> reply
                                               |
                                               '--GO_ON with 0--> closed --> reply

The worker runs other jobs meanwhile, so a reader may wait for those. Parts and reply travel through the socket, which
keeps their order and what a worker has sent before it died.
"""

from __future__ import annotations

import traceback
from time import monotonic_ns
from typing import TYPE_CHECKING, Final, cast

from event_collector_workers.job import PARTS_AHEAD
from event_collector_workers.transport.frames import Kind, Outcome, decode_turn, encode

if TYPE_CHECKING:
    from typing import Protocol

    from event_collector_workers.job import Blob, Buffer, PartsTask, Steps, Task
    from event_collector_workers.transport.page import WorkerPage

    class Send(Protocol):
        """Sends a message, and its blob."""

        def __call__(self, head: bytes, blob: Blob | None, kind: Kind = ..., /) -> None:
            """Send it."""


LATER: Final = memoryview(b"")
"""The blob of a reply that is not there yet: the job is suspended."""

_IN_SOCKET: Final = b""
"""A blob, so that a reply takes the way of the parts before it."""


class SuspendedJobs:
    """Runs jobs that give parts as far as they may go.

    Args:
        page: where the current job is announced.
        send: sends parts, and replies of jobs that were suspended.
    """

    def __init__(self, page: WorkerPage, send: Send) -> None:
        self._page, self._send = page, send
        self._jobs: dict[int, _Job] = {}  # by sequence number
        self._is_stopping = False  # the pool has sent STOP: the worker ends when no job is suspended

    def __repr__(self) -> str:
        return f"<SuspendedJobs {len(self._jobs)}{' stopping' if self._is_stopping else ''}>"

    def adapted(self, task: Task) -> Task:
        """Return a task that runs as others do; the task itself if its jobs give no parts."""
        return _AdaptedTask(cast("PartsTask", task), self) if hasattr(task, "produce") else task

    def begin(self, steps: Steps) -> tuple[Buffer, Blob | None]:
        """Run the job that was just started; return its reply, or LATER."""
        reply = self._advance(_Job(self._page.started, steps), PARTS_AHEAD)
        if reply is None:
            return b"", LATER
        return reply[0], _IN_SOCKET if reply[1] is None else reply[1]

    def is_end(self, kind: int, head: bytes) -> bool:
        """Process a message that brings no jobs; return whether the worker is to end."""
        if kind == Kind.STOP:
            self._is_stopping = True
        else:
            sequence, credit = decode_turn(head)
            job = self._jobs.pop(sequence, None)
            if job is not None:  # else it has ended meanwhile
                self._go_on(job, credit)
        return self._is_stopping and not self._jobs

    def _go_on(self, job: _Job, credit: int) -> None:
        self._page.resume(job.sequence, monotonic_ns() - job.spent)
        outcome, blob = Outcome.DONE, None
        try:
            reply = self._advance(job, credit)
            if reply is None:
                return
            body, blob = reply
        except SystemExit:
            raise  # the task requests the end of the process
        except BaseException:
            outcome, body = Outcome.ERROR, traceback.format_exc().encode(errors="replace")
        self._send(encode((job.sequence, outcome, job.spent * 1e-9, body)), blob)

    def _advance(self, job: _Job, credit: int) -> tuple[Buffer, Blob | None] | None:
        """Have a job give so many parts, or close it for 0. Return its reply; None if it is suspended."""
        begun, is_closed = monotonic_ns(), credit == 0 or None
        try:
            while credit or is_closed:
                body, blob = job.steps.send(is_closed)
                self._send(encode((job.sequence, body)), blob, Kind.PART)
                credit = 0 if self._page.is_closed(job.sequence) else credit - 1
        except StopIteration as stop:
            reply: tuple[Buffer, Blob | None] = stop.value
            return reply
        finally:
            job.add(monotonic_ns() - begun)
            self._page.resume(0, begun)
        self._jobs[job.sequence] = job
        return None


class _Job:
    """A job that has begun. `spent`: nanoseconds in the task, without the time in which it was suspended."""

    __slots__ = ("sequence", "spent", "steps")

    def __init__(self, sequence: int, steps: Steps) -> None:
        self.sequence, self.steps, self.spent = sequence, steps, 0

    def add(self, nanoseconds: int) -> None:
        """Count time in the task."""
        self.spent += nanoseconds


class _AdaptedTask:
    """Runs the jobs of a task that give parts, up to the first time that they are suspended."""

    def __init__(self, task: PartsTask, jobs: SuspendedJobs) -> None:
        self._jobs, self._produce, self.close = jobs, task.produce, task.close

    def run(self, body: bytes | memoryview, blob: Buffer | None) -> tuple[Buffer, Blob | None]:
        """Run one job."""
        return self._jobs.begin(self._produce(body, blob))
