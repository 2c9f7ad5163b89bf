"""One worker process seen from the parent: what it has in hand, what it does, how it is told and ended."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import ExitStack
from enum import Enum
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from event_collector_workers.transport.channel import Channel, ProtocolError
from event_collector_workers.transport.frames import (
    Kind,
    Record,
    Setup,
    decode_record,
    decode_records,
    encode,
    message,
)
from event_collector_workers.transport.page import ParentPage, create_page_file

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from event_collector_workers.job import Job
    from event_collector_workers.launch.launchers import Handle, Launcher

__all__ = ["State", "Worker", "WorkerEvents"]


class State(Enum):
    """Where a worker is in its life. It only moves down this list."""

    STARTING = "starting"
    READY = "ready"
    RETIRING = "retiring"  # was told to stop: ends after the job it is in
    LOST = "lost"  # its socket is gone, the process perhaps not yet
    GONE = "gone"


class WorkerEvents(Protocol):
    """What a worker tells its pool, in the loop's thread."""

    def on_ready(self, worker: Worker) -> None:
        """It can take jobs."""

    def on_records(self, worker: Worker, records: list[Record], blob: bytes | None) -> None:
        """Jobs have ended; a blob belongs to the only record."""

    def on_look(self, worker: Worker) -> None:
        """There are records in the page."""

    def on_lost(self, worker: Worker) -> None:
        """It can take no more jobs, though its process may still be there."""

    def on_gone(self, worker: Worker) -> None:
        """Its process has ended: `exitcode` and `complaint` say how."""


class Verdict(NamedTuple):
    """Why a worker was killed: the job it was killed for, and that job's error."""

    sequence: int
    error: BaseException


class Worker:
    """A worker process and the jobs in its hands. Everything here is touched by the loop's thread only.

    Raises:
        OSError: The program has no descriptor or the machine no memory left.

    """

    def __init__(
        self,
        number: int,
        loop: asyncio.AbstractEventLoop,
        events: WorkerEvents,
        quota: int | None = None,
    ) -> None:
        self.number = number
        self.quota = quota  # jobs that may be handed over, ever
        self.pid: int | None = None
        self.state = State.STARTING
        self.in_hand: dict[
            int, Job | None
        ] = {}  # by sequence number; None: taken back, the worker has yet to say so
        self.finished = 0
        self.taken = 0  # jobs in in_hand that are None
        self.born = monotonic()
        self.startup = 0.0
        self.leaving = False  # is to be replaced: serves until its replacement does
        self.verdict: Verdict | None = None
        self.complaint = ""  # the last words of the child: a traceback's text
        self.exitcode: int | None = None
        self._loop = loop
        self._events = events
        self._handle: Handle | None = None
        self._killed = False
        self._next = 1
        self._given_at = 0.0
        with ExitStack() as undo:  # where descriptors or memory run out, what was had is given back
            self._page_fd = create_page_file()
            undo.callback(os.close, self._page_fd)
            self.page = ParentPage(self._page_fd)
            undo.callback(self.page.close)
            ours, self._theirs = socket.socketpair()
            undo.callback(ours.close)
            undo.callback(self._theirs.close)
            self._channel = Channel(loop, ours, self._on_message, self._on_announced, self._on_lost)
            undo.pop_all()

    def __repr__(self) -> str:
        return f"<Worker {self.number} pid={self.pid} {self.state.value} in_hand={len(self.in_hand)}>"

    def launch(self, launcher: Launcher, setup: Setup) -> None:
        """Start the process; one of on_ready and on_gone follows."""
        try:
            self._channel.send_with_descriptor(message(Kind.SETUP, encode(setup)), self._page_fd)
        except OSError as error:
            self._loop.call_soon(self._on_launched, error)
            return
        finally:
            os.close(self._page_fd)
        launcher.launch(self._theirs, self._on_launched)

    def give(self, jobs: Iterable[Job]) -> None:
        """Hand over jobs; they run in this order. A job with a blob travels in a message of its own."""
        self._given_at = monotonic()
        in_hand, sequence = self.in_hand, self._next
        plain: list[tuple[int, bytes]] = []
        for job in jobs:
            in_hand[sequence] = job
            job._place = self
            if job.blob is None:
                plain.append((job.task, job.body))
            else:
                self._next = sequence + 1  # before anything is sent: that may find the worker lost
                self._send_batch(sequence, plain)
                plain = []
                head = encode((sequence, [(job.task, job.body)]))
                with memoryview(job.blob) as blob:
                    self._channel.send(message(Kind.JOBS, head, blob.nbytes), job.blob)
            sequence += 1
        self._next = sequence
        self._send_batch(sequence, plain)

    def _send_batch(self, end: int, batch: list[tuple[int, bytes]]) -> None:
        if batch:
            self._channel.send(message(Kind.JOBS, encode((end - len(batch), batch))))

    @property
    def given(self) -> int:
        """How many jobs were handed over, ever."""
        return self._next - 1

    @property
    def allowance(self) -> int:
        """How many more jobs may be handed over."""
        return sys.maxsize if self.quota is None else self.quota - self.given

    @property
    def is_congested(self) -> bool:
        """Whether the worker has not yet read all that was sent to it."""
        return self._channel.unsent

    def collect(self) -> bool:
        """Take what is in the ring, and hand it over; return whether there was anything."""
        if not self.page.arrive():
            return False
        count, data = self.page.take()
        try:
            records = decode_records(count, data)
        except msgspec.DecodeError as error:
            self.complaint = f"its results are not readable: {error}"
            self.kill()
            return False
        self._events.on_records(self, records, None)
        return True

    def running(self, now: float | None = None) -> tuple[int, float]:
        """Return the number of the job that the worker is in, and its age in seconds.

        For a worker that has jobs and is in none of them, 0 and the seconds since it was given some, or has read
        on in a large one; for one that has none, 0 and 0.0.
        """
        if not self.in_hand:
            return 0, 0.0
        if now is None:
            now = monotonic()
        sequence, since = self.page.running()
        if sequence not in self.in_hand:
            return 0, now - max(self._given_at, self._channel.progress)
        return sequence, now - since

    def take_back(self) -> list[Job]:
        """Take back the jobs that have not started, in their order.

        Where the worker was faster, it reports each of them itself, as run or as skipped.
        """
        first = max(self.page.running()[0] + 1, self._next - len(self.in_hand))
        end = self._next
        if first >= end or self.page.revoke(first, end) >= first:
            return []
        taken = []
        for sequence in range(first, end):
            job = self.in_hand.get(sequence)
            if job is not None:
                self.in_hand[sequence] = None
                taken.append(job)
        self.taken += len(taken)
        return taken

    @property
    def held(self) -> int:
        """How many jobs the worker has before it, the one it is in included."""
        return len(self.in_hand) - self.taken

    def retire(self) -> bool:
        """Let the worker end after what is in its hands, or once its tasks are open; on_gone follows.

        False if it was killed instead: one that has not begun to open its tasks has nothing to close.
        """
        if self.state is State.STARTING and self.page.dismiss():
            self.kill()
            return False
        if self.state in (State.STARTING, State.READY):
            self.state = State.RETIRING
            self._channel.send(message(Kind.STOP))
        return True

    def condemn(self, sequence: int, error: BaseException) -> bool:
        """Kill the worker for the job it is in, if it still is; `error` becomes that job's.

        Take back the other jobs first: none of them must be running when the blow falls.
        """
        if self.page.running()[0] != sequence or self.verdict is not None:
            return False
        self.verdict = Verdict(sequence, error)
        self.kill()
        return True

    def kill(self) -> None:
        """End the process now; on_gone follows."""
        self._killed = True
        if self._handle is not None:
            self._handle.kill()
        if self.state is State.READY:
            self.state = State.LOST
            self._events.on_lost(self)

    def dispose(self) -> None:
        """Release the socket and the page. Idempotent."""
        self._channel.close()
        self.page.close()

    def _on_launched(self, outcome: Handle | BaseException) -> None:
        if isinstance(outcome, BaseException):
            self._theirs.close()
            self.complaint = f"{type(outcome).__name__}: {outcome}"
            self._on_exit(None)
            return
        self._handle = outcome
        self.pid = outcome.pid
        outcome.watch(self._loop, self._on_exit)
        if self._killed:
            outcome.kill()

    def _on_message(self, kind: int, head: bytes, blob: bytes | None) -> None:
        if kind == Kind.LOOK:
            self._events.on_look(self)
        elif kind == Kind.RESULT:
            self._events.on_records(self, [_record(head)], blob)
        elif kind == Kind.READY and self.state is State.STARTING:
            self.startup = monotonic() - self.born
            self.state = State.READY
            self._events.on_ready(self)
        elif kind in (Kind.FAILED, Kind.STOPPED):
            self.complaint = head.decode(errors="replace")

    def _on_announced(self, kind: int, head: bytes) -> None:
        if kind != Kind.RESULT or _record(head)[0] not in self.in_hand:
            raise ProtocolError("a value for no job that it has")

    def _on_lost(self, error: Exception | None) -> None:
        if self.state in (State.LOST, State.GONE):
            return
        if error is not None and not self.complaint:
            self.complaint = str(error)
        before, self.state = self.state, State.LOST
        if isinstance(error, ProtocolError):
            # The job that it is in now need not be the one that wrote there: it may end, and leave its result in
            # the ring. A worker that has not even started has none.
            if before is State.STARTING:
                self.kill()
            self._channel.send(message(Kind.STOP))
        if before is not State.RETIRING:
            self._events.on_lost(self)

    def _on_exit(self, exitcode: int | None) -> None:
        self._channel.receive_all()
        self.collect()
        self.state = State.GONE
        self.exitcode = exitcode
        self._events.on_gone(self)


def _record(head: bytes) -> Record:
    try:
        return decode_record(head)
    except msgspec.DecodeError as error:
        raise ProtocolError(f"not a result: {error}") from error
