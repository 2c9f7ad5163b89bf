"""One worker process, as the parent sees it: its state, the jobs it holds, its socket and its page."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import ExitStack
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

import msgspec

from event_collector_workers.job import ChunkJob
from event_collector_workers.pool import chunk_records as chunks
from event_collector_workers.pool.stack_probe import StackProbe
from event_collector_workers.pool.value_exchange import ValueExchange, has_enough
from event_collector_workers.pool.worker_output import WorkerOutput
from event_collector_workers.pool.worker_state import SILENT, State
from event_collector_workers.pool_errors import PoolClosed, crash_error
from event_collector_workers.transport.channel import Channel
from event_collector_workers.transport.frames import (
    Kind,
    WorkerSetup,
    decode_part,
    decode_record,
    decode_records,
    encode,
    message,
)
from event_collector_workers.transport.page import ParentPage, create_page_file
from event_collector_workers.transport.reader import ProtocolError, decoded

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop as Loop
    from collections.abc import Callable, Sequence

    from event_collector_workers.child.birth import Birth
    from event_collector_workers.job import Buffer, Job
    from event_collector_workers.launch.start_method import Handle, Launcher
    from event_collector_workers.pool.worker_events import WorkerEvents
    from event_collector_workers.segments.shared_memory import SharedMemory
    from event_collector_workers.transport.records import LogLevels


class Worker:
    """A worker process and the jobs that it holds. Only this class writes its fields, in the loop's thread.

    At most `quota` jobs may be handed to it; None for no limit. Raises OSError if descriptors or memory have run out.
    """

    def __init__(
        self, birth: Birth, loop: Loop, events: WorkerEvents[Worker], memory: SharedMemory, quota: int | None = None
    ) -> None:
        self.number, self.quota, self._birth = birth.number, quota, birth
        self.pid: int | None = None
        self.state = State.STARTING
        self.in_hand: dict[int, Job | None] = {}  # by sequence number; None: taken back, not yet confirmed
        self.remove_job: Callable[[int], Job | None] = self.in_hand.pop
        """Remove an answered job and return it: None if it was taken back. Raises KeyError for an unknown number.
        This is the dict's own method, because it is called for every job."""
        self.suspended: dict[Job, int] = {}  # begun, with their numbers; the worker runs others until `go_on`
        self.startup = 0.0  # seconds from the creation of this object to READY
        self.is_leaving = False  # to be replaced; serves until its successor is ready
        self.complaint = ""  # the reason of its end: the text of a traceback, or what is wrong with its messages
        self.closing_error = ""  # the traceback of a task that could not be closed
        self.exitcode: int | None = None
        self._has_parts = self.has_chunks = self._has_values = False  # of its jobs: gave parts, are chunks, are large
        self._taken = 0  # values in in_hand that are None, without the one that was given up
        self.given_up: dict[int, Job] = {}  # the job during which it will be killed, by sequence number
        self._kill_reason: tuple[int, BaseException] | None = None  # the job it was killed for, and its error
        self._loop, self._events, self.made_at = loop, events, monotonic()
        self._handle: Handle | None = None
        self._is_killed = self._is_stopped = False  # stopped: it has closed its tasks
        self._next, self._given_at, self.finished = 1, 0.0, 0
        with ExitStack() as undo:  # if descriptors run out
            undo.callback(os.close, page_fd := create_page_file())
            self._page_fd, self.page = page_fd, ParentPage(page_fd)
            undo.callback(self.page.close)
            self.probe = StackProbe(loop, os.dup(self._page_fd))
            undo.callback(self.probe.close)
            ours, self._theirs = socket.socketpair()
            undo.callback(ours.close)
            undo.callback(self._theirs.close)
            self._output = WorkerOutput(loop, self.page, partial(events.on_output, self))
            undo.callback(self._output.close)
            values = self._values = ValueExchange(memory, self.page, self.in_hand)
            undo.callback(values.close)
            self._channel = Channel(loop, ours, self._on_message, values.announced, values.open, self._on_lost)
            values.use(self._channel)
            undo.pop_all()

    def __repr__(self) -> str:
        leaving = " leaving" if self.is_leaving else ""
        return f"<Worker {self.number} pid={self.pid} {self.state.value}{leaving} in_hand={len(self.in_hand)}>"

    def launch(self, launcher: Launcher, setup: WorkerSetup, data: Sequence[int]) -> None:
        """Start the process, with the descriptor of shared data. Either on_ready or on_gone follows."""
        try:
            fds = self._page_fd, launcher.lifeline.fileno(), self._output.writer, *data, *self._values.inlet
            self._channel.send_with_descriptors(message(Kind.SETUP, encode(setup)), fds)
        except OSError as error:
            self._loop.call_soon(self._on_launched, error)
            return
        finally:
            os.close(self._page_fd)
            self._output.close_writer()
            self._values.close_inlet()
        launcher.launch(self._theirs, self._birth, self._on_launched)

    def give(self, jobs: Sequence[Job]) -> None:
        """Hand over jobs, which run in this order. A job with a blob travels in a separate message."""
        self._given_at = monotonic()
        in_hand, first = self.in_hand, self._next
        plain: list[tuple[int, bytes]] = []
        for sequence, job in enumerate(jobs, first):
            in_hand[sequence] = job
            if job.blob is None:
                plain.append((job.task, job.body))
            elif isinstance(job, ChunkJob):
                self._next, self.has_chunks = sequence + job.count, True
                self._send_batch(sequence, plain)
                self._values.send(Kind.CHUNK, chunks.head_of(sequence, job), job.blob)
                self.give(jobs[sequence - first + 1 :])
                return
            else:
                self._next, self._has_values = sequence + 1, True  # before sending, which may find the worker lost
                self._send_batch(sequence, plain)
                plain = []
                self._values.send(Kind.JOBS, encode((sequence, [(job.task, job.body)])), job.blob)
        self._next = first + len(jobs)
        self._send_batch(self._next, plain)

    def _send_batch(self, end: int, batch: list[tuple[int, bytes]]) -> None:
        if batch:
            self._channel.send(message(Kind.JOBS, encode((end - len(batch), batch))))

    @property
    def allowance(self) -> int:
        """Jobs of the quota that are left."""
        return sys.maxsize if self.quota is None else self.quota - (self._next - 1)

    @property
    def is_congested(self) -> bool:
        """True if the worker has yet to read some of its input, or holds enough of it."""
        return self._channel.has_unsent or (self._has_values and has_enough(self.in_hand.values()))

    @property
    def has_jobs(self) -> bool:
        """True if the worker has yet to answer a job, which may be suspended."""
        return bool(self.in_hand or self.suspended)

    @property
    def load(self) -> int:
        """Jobs that the worker has yet to answer and that were not taken back."""
        return len(self.in_hand) - self._taken

    @property
    def held(self) -> int:
        """The load; one more if a chunk with several items is in it, since others could have some of these."""
        return self.load + (self.has_chunks and chunks.has_several(self.in_hand))

    def collect(self) -> bool:
        """Take the records from the ring and report them. Return whether there were any."""
        if not self.page.arrive():
            return False
        count, data = self.page.take()
        self._output.catch_up()
        try:
            records = decode_records(count, data)
        except msgspec.DecodeError as error:
            self.kill(f"its results are not readable: {error}")
            return False
        self.finished += count
        self._events.on_records(self, records, None)
        return True

    def keep_in_hand(self, first: int, job: ChunkJob) -> None:
        """Put a chunk back that was removed by one of its records and has not ended."""
        chunks.put_first(self.in_hand, first, job)

    def peek(self) -> None:
        """Take the outcomes of items that the worker keeps until a record has them."""
        if self.has_chunks:
            chunks.take_from_sheet(self.in_hand, self.page.sheet)

    def count_items(self, count: int) -> None:
        """Count the items in a record that was counted as one job."""
        self.finished += count - 1

    def confirm_taken(self) -> None:
        """Count one answer for a job that was taken back."""
        self._taken -= 1

    def running(self, now: float | None = None) -> tuple[int, float]:
        """Return the number and the age in seconds of the job that the worker is in.

        For a worker that holds jobs and is in none of them, return 0 and the seconds since it was given jobs or has
        read a part of a large one. For a worker without jobs, return 0 and 0.0.
        """
        if not self.in_hand:
            return 0, 0.0
        now = monotonic() if now is None else now
        sequence, since = self.page.current() if self._has_parts else self.page.running()
        if sequence not in self.in_hand and not (self.has_chunks and chunks.chunk_with(self.in_hand, sequence)):
            return 0, now - max(self._given_at, self._channel.progress)
        return sequence, now - since

    def silent_for(self, sequence: int) -> float:
        """Return the seconds since the current job, with this number, has reported its progress, or has begun."""
        progress = self.page.progress(sequence)
        return monotonic() - (self.page.running()[1] if progress is None else progress.at)

    def take_back(self) -> list[Job]:
        """Take back the jobs that have not started, in order.

        If the worker was faster, it answers each of them itself: as run or as skipped.
        """
        end = self._next
        first = max(self.page.running()[0] + 1, next(iter(self.in_hand), end))
        if first >= end or self.page.revoke(first, end) >= first:
            return []
        taken = chunks.take_unstarted(self.in_hand, first)
        self._taken += len(taken)
        return taken

    def suspend(self, sequence: int) -> None:
        """Note that a job has given as many parts as it may."""
        if (job := self.in_hand.pop(sequence, None)) is not None:
            self.suspended[job] = sequence

    def go_on(self, job: Job, credit: int) -> None:
        """Have a job that it holds give so many parts more; 0: have it end. A no-op for one that it has given up."""
        sequence = self.suspended.pop(job, 0) or next((n for n, held in self.in_hand.items() if held is job), 0)
        if sequence:
            self.in_hand[sequence] = job
            if not credit:
                self.page.close_job(sequence)
            self._channel.send(message(Kind.GO_ON, encode((sequence, credit))))

    def tell_levels(self, levels: LogLevels) -> None:
        """Tell the process which records the program does not drop."""
        self._channel.send(message(Kind.LEVELS, encode(levels)))

    def take_all(self) -> dict[int, Job]:
        """Remove and return all jobs, by sequence number, after the process has ended."""
        jobs = {sequence: job for sequence, job in self.in_hand.items() if job is not None} | self.given_up
        jobs |= {sequence: job for job, sequence in self.suspended.items()}
        self.in_hand.clear()
        self.suspended.clear()
        self.given_up, self._taken = {}, 0
        return jobs

    @property
    def ended_as_meant(self) -> bool:
        """Whether the pool has ended the process, or asked it to end and it did so in order."""
        return self.is_leaving and (self._is_stopped or self._is_killed or self.exitcode == 0)

    def leave(self) -> None:
        """Mark the worker as one to be replaced."""
        self.is_leaving = True

    def retire(self) -> bool:
        """End the worker after the jobs that it holds, or after it has opened its tasks. on_gone follows.

        Return False if it was killed instead: a worker that has not begun to open its tasks has nothing to close.
        """
        self.is_leaving = True
        if self.state is State.STARTING and self.page.dismiss():
            self.kill()
            return False
        if self.state in (State.STARTING, State.READY):
            self.state = State.RETIRING
            self._channel.send(message(Kind.STOP))
        return True

    def give_up(self, sequence: int) -> bool:
        """Drop the answer of job `sequence` if the worker is still in it, because it will be killed; return whether.

        Take back the other jobs first, and give it no more. `condemn` follows.
        """
        self.peek()
        first, job = chunks.chunk_with(self.in_hand, sequence) or (sequence, self.in_hand.get(sequence))
        if job is None or self.page.current()[0] != sequence or self._kill_reason is not None:
            return False
        if isinstance(job, ChunkJob) and first + job.taken > sequence:
            return False  # this item has ended
        self.in_hand[first], self.given_up = None, {first: job}
        return True

    def condemn(self, sequence: int, error: BaseException) -> bool:
        """Kill the worker if it is in job `sequence`, or has given it up: it ends with `error`. Return whether it is.

        Take back the other jobs first: none of them must be running when the worker is killed.
        """
        is_in_it = chunks.holds(self.given_up, sequence) or self.page.current()[0] == sequence
        if self.state is State.GONE or not is_in_it or self._kill_reason is not None:
            return False
        self._kill_reason, self.is_leaving = (sequence, error), True
        self.kill()
        return True

    def kill_error(self, sequence: int) -> BaseException | None:
        """Return the error of the job that the worker was killed for; None if it is another one."""
        return self._kill_reason[1] if self._kill_reason is not None and self._kill_reason[0] == sequence else None

    def kill(self, complaint: str = "") -> None:
        """End the process now. on_gone follows. A `complaint` gives the reason."""
        self.complaint, self._is_killed = complaint or self.complaint, True
        if self._handle is not None:
            self._handle.kill()
        if self.state is State.READY:
            self.state = State.LOST
            self._events.on_lost(self)

    def dispose(self) -> None:
        """Release the socket and the page. Idempotent."""
        for part in (self._channel, self._values, self._output, self.probe, self.page):
            part.close()

    def death_error(self, sequence: int, *, aborted: bool) -> BaseException:
        """Return the error of the job during which the process ended. `aborted`: the pool has ended all workers."""
        if (error := self.kill_error(sequence)) is not None:
            return error
        if aborted:
            return PoolClosed("the pool was stopped while this job ran; it may have taken effect")
        stack = self.probe.crash() if (self.exitcode or 0) < 0 else ""
        return crash_error(self.number, self.pid, self.exitcode, self.complaint, stack)

    def _on_launched(self, outcome: Handle | BaseException) -> None:
        if isinstance(outcome, BaseException):
            self._theirs.close()
            if self.complaint in ("", SILENT):
                self.complaint = f"{type(outcome).__name__}: {outcome}"
            self._on_exit(None)
            return
        self._handle, self.pid = outcome, outcome.pid
        outcome.watch(self._on_exit)
        if self._is_killed:
            outcome.kill()
        self._enter_service()

    def _enter_service(self) -> None:
        # On a busy machine a worker may be ready before its launcher has reported its process id.
        is_up = self.startup and self._handle is not None and not self._is_killed
        if is_up and self.state is State.STARTING:
            self.state = State.READY
            self._events.on_ready(self)

    def _on_message(self, kind: int, head: bytes, blob: Buffer | None) -> None:
        if kind == Kind.LOOK:
            self._events.on_look(self)
            return
        self._output.catch_up()
        if kind == Kind.RESULT:
            self.finished += 1
            record = decoded(decode_record, head)
            if self.has_chunks:
                self.collect()  # records of a chunk go through the ring first, and through the socket from one on
            self._events.on_records(self, [record], blob)
        elif kind == Kind.PART:
            self._has_parts = True
            self._events.on_part(self, decoded(decode_part, head), blob)
        elif kind == Kind.READY:
            self.startup = monotonic() - self.made_at
            self._enter_service()
        elif kind == Kind.FAILED:
            self.complaint = head.decode(errors="replace")
        elif kind == Kind.STOPPED:
            self._is_stopped, self.closing_error = True, head.decode(errors="replace")
        if blob is not None:
            self._values.note_result(blob)

    def _on_lost(self, error: Exception | None) -> None:
        if self._handle is not None:
            self._handle.expect_exit()
        if self.state in (State.LOST, State.GONE):
            return
        if self.state is State.STARTING and not isinstance(error, ProtocolError):
            self.complaint = self.complaint or SILENT
        elif error is not None:
            self.complaint = self.complaint or str(error)
        before, self.state = self.state, State.LOST
        if isinstance(error, ProtocolError):
            # The current job is not necessarily the one that wrote to the socket: it may end, and leave its result
            # in the ring. A worker that has not started has no job.
            if before is State.STARTING:
                self.kill()
            self._channel.send(message(Kind.STOP))
        if before is not State.RETIRING:
            self._events.on_lost(self)

    def _on_exit(self, exitcode: int | None) -> None:
        self._output.receive_all()
        self._channel.receive_all()
        self.collect()
        self.probe.end()  # the signal that asks for a stack may have ended it: then a limit was exceeded all the same
        self.state, self.exitcode = State.GONE, exitcode
        self._events.on_gone(self)
