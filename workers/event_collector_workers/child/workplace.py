"""The code of a worker process: read jobs, run them one at a time, leave each result where it survives the process.

    socket in  --> Inbox --> Workplace.run --> task.run --> ring of the shared page   (small results)
                                                       +--> socket out                (large ones, parts, and LOOK)

A result goes into the ring at once. The worker announces it (LOOK) when it has no more jobs, or as the next job
begins if the parent has promised no visit (see `page`). This module imports little: its imports precede the user's
own in every worker.
"""

from __future__ import annotations

import os
import socket
import threading
import traceback
from contextlib import suppress
from importlib import import_module
from io import BytesIO, FileIO
from time import monotonic_ns, process_time_ns
from typing import TYPE_CHECKING, Final, NoReturn, cast

from event_collector_workers.child.forwarding import current
from event_collector_workers.child.items import ItemRun
from event_collector_workers.child.job_progress import report_by
from event_collector_workers.child.open_descriptors import open_standard_streams
from event_collector_workers.child.signals import handle_signals_in_forks, kill_group, leave_signals_to_program
from event_collector_workers.child.stack_writer import write_stacks
from event_collector_workers.child.suspended_jobs import LATER, SuspendedJobs
from event_collector_workers.transport.frames import (
    HEADER,
    NO_BLOB,
    Kind,
    Outcome,
    WorkerSetup,
    decode_batch,
    decode_chunk,
    decode_levels,
    decode_setup,
    encode,
    message,
)
from event_collector_workers.transport.lifeline import follow
from event_collector_workers.transport.outlet import Outlet
from event_collector_workers.transport.page import WorkerPage

if TYPE_CHECKING:
    from collections.abc import Callable

    from event_collector_workers.job import Buffer, ItemsTask, Task

    Initialize = tuple[Callable[..., object], tuple[object, ...]]

ORPHANED: Final = 113
"""Exit code of a worker whose parent is gone."""

FORKED: Final = 114
"""Exit code of a process that a handler forked and that then returned from the handler as if it were the worker."""

_LOOK: Final = message(Kind.LOOK)
_DONE: Final = Outcome.DONE.value  # a plain int encodes faster than the enum member
_IN_RING: Final = 16 * 1024  # bytes; a larger record would displace many small ones from the ring
_POLLING: Final = 100_000  # nanoseconds that an otherwise idle parent takes from a result to the next job
_BRISK: Final = 150_000  # nanoseconds: the same, and the wake-up of the processor

_yield: Final[Callable[[], None]] = getattr(os, "sched_yield", lambda: None)  # Windows has none


def main(connection: socket.socket, enter: Callable[[], Initialize | None]) -> None:
    """Serve the pool at the other end of `connection` until it sends STOP or is gone.

    `enter` makes the imports that precede the tasks. It returns what has to be called before they are opened.
    """
    leave_signals_to_program()
    open_standard_streams()
    connection.setblocking(True)
    inbox = Inbox(connection)
    setup, page_fd, lifeline_fd, outlet_fd = inbox.receive_setup()
    threading.Thread(target=_end_with_program, args=(follow(lifeline_fd),), name="parent-watch", daemon=True).start()
    try:
        page = WorkerPage(page_fd)
        write_stacks(page_fd)
        report_by(page.report)
        # A process that a handler forks must neither keep the pool waiting nor reply in place of this one.
        os.register_at_fork(after_in_child=page.detach)
        os.register_at_fork(after_in_child=connection.close)
        handle_signals_in_forks()
        if setup.levels is not None:
            current.begin(Outlet(outlet_fd, page.note_output), setup.levels)
        workplace = Workplace(connection, inbox, page)
        initialize = enter()
        if initialize is not None:
            initialize[0](*initialize[1])
        if not workplace.open(setup):
            return
    except BaseException:
        current.end()
        try:
            connection.sendall(message(Kind.FAILED, traceback.format_exc().encode(errors="replace")))
        except OSError:  # the program is gone
            _exit_orphaned()
        raise SystemExit(1) from None
    try:
        workplace.serve()
    except OSError:
        if connection.fileno() == -1:  # a handler forked this process, and it returned from the handler
            os._exit(FORKED)
        raise
    except SystemExit:
        current.end()
        raise
    failures = workplace.close()
    current.end()
    connection.sendall(message(Kind.STOPPED, failures.encode(errors="replace")))


def _end_with_program(lifeline: FileIO) -> None:
    """End this process, and what its handlers have started, when the lifeline ends."""
    try:
        lifeline.read(1)
    except OSError:  # a handler has closed all descriptors
        return
    _exit_orphaned()


class Inbox:
    """Reads messages from the socket: blocking, into one buffer that is reused."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = memoryview(bytearray(256 * 1024))
        self._start = 0
        self._end = 0
        self._is_brisk = False  # whether the last wait was so short that polling would have ended it

    def __repr__(self) -> str:
        return f"<Inbox unread={self._end - self._start} brisk={self._is_brisk}>"

    def receive_setup(self) -> tuple[WorkerSetup, int, int, int]:
        """Receive the first message, and the descriptors of page, lifeline and outlet that are attached to it."""
        data, fds, _, _ = socket.recv_fds(self._socket, HEADER.size, 3)
        while len(data) < HEADER.size:
            data += self._socket.recv(HEADER.size - len(data)) or bytes(_exit_orphaned())
        _, size, _ = HEADER.unpack(data)
        return decode_setup(self.read(size)), fds[0], fds[1], fds[2]

    def next(self, on_idle: Callable[[], None]) -> tuple[int, bytes, int]:
        """Return kind, head and blob size of the next message. Call `on_idle` before waiting for it."""
        if self._end - self._start < HEADER.size:
            self._fill(HEADER.size, on_idle)
        kind, size, blob_size = HEADER.unpack_from(self._buffer, self._start)
        self._start += HEADER.size
        return kind, self.read(size), blob_size

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes."""
        have = self._end - self._start
        if size <= have:
            start = self._start
            self._start = start + size
            return bytes(self._buffer[start : start + size])
        # getvalue() of a BytesIO over fresh memory returns that memory: a large value is copied only once.
        value = BytesIO(bytes(size))
        with value.getbuffer() as view:
            view[:have] = self._buffer[self._start : self._end]
            self._start = self._end = 0
            while have < size:
                have += self._socket.recv_into(view[have:]) or _exit_orphaned()
        return value.getvalue()

    def _fill(self, least: int, on_idle: Callable[[], None]) -> None:
        have = self._end - self._start
        self._buffer[:have] = self._buffer[self._start : self._end]
        self._start, self._end = 0, have
        if not self._poll():
            on_idle()
            self._wait()
        while self._end < least:
            self._receive()

    def _receive(self, flags: int = 0) -> None:
        self._end += self._socket.recv_into(self._buffer[self._end :], 0, flags) or _exit_orphaned()

    def _poll(self) -> bool:
        """Receive without waiting. Return whether there was anything."""
        try:
            self._receive(socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        return True

    def _wait(self) -> None:
        """Wait for bytes and receive them. If the last wait was short, poll for a while before blocking."""
        begun = monotonic_ns()
        if self._is_brisk:
            while monotonic_ns() - begun < _POLLING:
                if self._poll():
                    return
                _yield()  # the parent may be waiting for this very processor
        self._receive()
        self._is_brisk = monotonic_ns() - begun < _BRISK


def _exit_orphaned() -> NoReturn:
    kill_group(os.getpid())
    os._exit(ORPHANED)


class Workplace:
    """Holds the open tasks and runs jobs in them, in the main thread of the worker."""

    def __init__(self, connection: socket.socket, inbox: Inbox, page: WorkerPage) -> None:
        self._socket = connection
        self._inbox = inbox
        self._page = page
        self._tasks: list[Task] = []
        self._suspended = SuspendedJobs(page, self._send)
        self._announced_at = -1  # the parent's visits at the last announcement: one for each visit is enough
        self._is_unannounced = False  # whether the ring holds records that were not announced

    def __repr__(self) -> str:
        return f"<Workplace pid={os.getpid()} tasks={len(self._tasks)} unannounced={self._is_unannounced}>"

    def open(self, setup: WorkerSetup) -> bool:
        """Open the tasks in order and send READY. If one fails to open, close those before it.

        Return False, with no task opened, if the parent has dismissed this worker.
        """
        tasks = [(resolve(reference), argument) for reference, argument in setup.tasks]
        if not self._page.begin_opening():
            return False
        try:
            for task, argument in tasks:
                self._tasks.append(self._suspended.adapted(task(argument)))
        except BaseException:
            self.close()
            raise
        self._socket.sendall(message(Kind.READY))
        return True

    def serve(self) -> None:
        """Run jobs until the parent sends STOP."""
        receive, run, tasks = self._inbox.next, self.run, self._tasks
        while True:
            kind, head, blob_size = receive(self._on_idle)
            if kind != Kind.JOBS and kind != Kind.CHUNK:
                if kind == Kind.LEVELS:
                    current.take_levels(decode_levels(head))
                elif self._suspended.is_end(kind, head):
                    return
                continue
            blob = None if blob_size == NO_BLOB else self._inbox.read(blob_size)
            if kind == Kind.CHUNK:
                self.run_chunk(*decode_chunk(head), blob or b"")
            else:
                sequence, jobs = decode_batch(head)
                for number, body in jobs:
                    run(sequence, tasks[number], body, blob)
                    sequence += 1
            if self._is_unannounced:  # here too: the next message may be long in coming, or STOP
                self._page.settle()
                self._announce()

    def run(self, sequence: int, task: Task, body: bytes, blob: bytes | None) -> None:
        """Run one job, unless it was taken back, and leave its result where it survives this process."""
        reply: Buffer
        reply_blob: Buffer | None = None
        begun = monotonic_ns()
        is_ours = self._page.begin(sequence, begun)
        if self._is_unannounced:
            try:
                self._announce()
            except OSError:
                # An earlier handler has closed the socket. This job has begun and must run all the same. The worker
                # ends after the batch, because it cannot read another one.
                pass
        if is_ours:
            try:
                reply, reply_blob = task.run(body, blob)
                outcome = _DONE
            except SystemExit:
                raise  # the task requests the end of the process
            except BaseException:
                outcome, reply = Outcome.ERROR, traceback.format_exc().encode(errors="replace")
            ended = monotonic_ns()
        else:
            outcome, reply, ended = Outcome.SKIPPED, b"", begun
        record = encode((sequence, outcome, (ended - begun) * 1e-9, reply))
        if reply_blob is None and len(record) <= _IN_RING and self._page.write(record):
            self._is_unannounced = True
        else:
            self._send(record, reply_blob)

    def run_chunk(self, first: int, number: int, count: int, body: bytes) -> None:
        """Run the items of a chunk that were not taken back, and leave their outcomes where they survive."""
        items = ItemRun(self._page, self, first, count)
        try:
            cast("ItemsTask", self._tasks[number]).run_items(body, items)
        except (SystemExit, OSError):  # the end of the process, requested or by the loss of the socket
            raise
        except BaseException:
            trace = traceback.format_exc().encode(errors="replace")
            self.leave(encode((first, Outcome.ERROR, 0.0, trace)), None, aside=True)
        else:
            items.end()

    def leave(self, record: bytes, blob: Buffer | None, *, aside: bool) -> bool:
        """Leave a record in the ring, or send it through the socket, if it must be or the ring has no room for it.

        Return whether it was sent.
        """
        if not aside and blob is None and len(record) <= _IN_RING and self._page.write(record):
            self._is_unannounced = True
            return False
        self._send(record, blob)
        return True

    def announce(self) -> None:
        """Announce the records in the ring, as `run()` does. Call it after a fence."""
        if self._is_unannounced:
            with suppress(OSError):  # see run()
                self._announce()

    def close(self) -> str:
        """Close the tasks in reverse order. Return the tracebacks of those that raised."""
        failures = []
        for task in reversed(self._tasks):
            try:
                task.close()
            except Exception:
                failures.append(traceback.format_exc())
        self._page.report_cpu(process_time_ns())
        return "\n".join(failures)

    def _announce(self) -> None:
        """Announce the records in the ring, unless a visit of the parent is certain. Call it after a fence."""
        visits = self._page.visits()
        if not visits & 1 and visits != self._announced_at:
            self._announced_at = visits
            self._send_look()

    def _send_look(self) -> None:
        self._socket.sendall(_LOOK)
        self._is_unannounced = False

    def _on_idle(self) -> None:
        if self._is_unannounced:
            self._send_look()
        self._page.report_cpu(process_time_ns())

    def _send(self, record: bytes, blob: Buffer | None, kind: Kind = Kind.RESULT) -> None:
        if blob is None:
            self._socket.sendall(message(kind, record))
            return
        if blob is LATER:
            return
        with memoryview(blob) as view, view.cast("B") as raw:
            head = message(kind, record, raw.nbytes)
            sent = self._socket.sendmsg([head, raw])
            self._socket.sendall(head[sent:])
            self._socket.sendall(raw[max(0, sent - len(head)) :])


def resolve(reference: str) -> Callable[[bytes], Task]:
    """Return the object that "module:qualname" refers to. Raises ImportError or AttributeError if there is none."""
    module_name, _, qualname = reference.partition(":")
    found: object = import_module(module_name)
    for name in qualname.split("."):
        found = getattr(found, name)
    return found  # type: ignore[return-value]
