"""All that executes in a worker process: read jobs, run them one at a time, leave each result safe.

    socket in  --> Inbox --> Host.run --> task.run --> ring of the shared page   (small results)
                                                  +--> socket out                (large ones, and LOOK)

A result goes into the ring at once. The parent is told to look when the worker has nothing left to do, or, as the
next job begins, when no visit of its own is to come (see `page`). This module imports as little as it can: what it
needs is loaded before the user's own modules in every worker.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import traceback
from importlib import import_module
from io import BytesIO
from time import monotonic_ns, process_time_ns
from typing import TYPE_CHECKING, Final, NoReturn

from event_collector_workers.child.signals import reset_signals
from event_collector_workers.transport.frames import (
    HEADER,
    NO_BLOB,
    Kind,
    Outcome,
    Setup,
    decode_batch,
    decode_setup,
    encode,
    message,
)
from event_collector_workers.transport.page import WorkerPage

if TYPE_CHECKING:
    from collections.abc import Callable

    from event_collector_workers.job import Buffer, Task

    Initialize = tuple[Callable[..., object], tuple[object, ...]]

__all__ = ["main"]

ORPHANED: Final = 113
"""Exit code of a worker whose parent is gone; nobody is left to read it but a person."""

FORKED: Final = 114
"""Exit code of a process that a handler forked, and that then returned from the handler as if it were the worker."""

_LOOK: Final = message(Kind.LOOK)
_DONE: Final = Outcome.DONE.value  # of a plain int, which encodes faster
_IN_RING: Final = 16 * 1024  # a larger record would push many small ones out of the ring
_POLLING: Final = 100_000  # nanoseconds: what a parent without other jobs takes from a result to the next one
_BRISK: Final = 150_000  # nanoseconds of a wait in which the processor also had to be woken

_yield: Final[Callable[[], None]] = getattr(os, "sched_yield", lambda: None)  # Windows has none


def main(connection: socket.socket, initialize: Initialize | None = None) -> None:
    """Be a worker: serve the pool at the other end of `connection` until it says stop or is gone."""
    reset_signals()
    connection.setblocking(True)
    inbox = Inbox(connection)
    setup, page_fd = inbox.setup()
    _watch(setup.parent, connection)
    try:
        page = WorkerPage(page_fd)
        os.close(page_fd)
        # A process that a handler forks neither keeps the pool waiting nor answers in this one's place.
        os.register_at_fork(after_in_child=page.detach)
        os.register_at_fork(after_in_child=connection.close)
        host = Host(connection, inbox, page)
        if initialize is not None:
            initialize[0](*initialize[1])
        if not host.open(setup):
            return
    except BaseException:
        connection.sendall(message(Kind.FAILED, traceback.format_exc().encode(errors="replace")))
        raise SystemExit(1) from None
    try:
        host.serve()
    except OSError:
        if connection.fileno() == -1:  # forked by a handler, and returned from it
            os._exit(FORKED)
        raise
    connection.sendall(message(Kind.STOPPED, host.close().encode(errors="replace")))


def _watch(parent: int, connection: socket.socket) -> None:
    """End this process when the parent ends, however it ends and whatever the task is doing at the time."""
    poll = select.poll()
    poll.register(connection, 0)  # nothing but the hang-up, when the parent's end is closed
    if hasattr(os, "pidfd_open"):
        # The parent's end may live on in a child that the parent has forked: its process id does not.
        try:
            poll.register(os.pidfd_open(parent), select.POLLIN)
        except ProcessLookupError:
            os._exit(ORPHANED)
        except OSError:  # a kernel or a sandbox without it
            pass

    def wait() -> None:
        poll.poll()
        os._exit(ORPHANED)

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()


class Inbox:
    """Reads messages from the socket: blocking, into a buffer that is kept."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = memoryview(bytearray(256 * 1024))
        self._start = 0
        self._end = 0
        self._is_brisk = False  # whether the last wait was so short that polling would have ended it

    def setup(self) -> tuple[Setup, int]:
        """Receive the first message and the page's descriptor with it."""
        data, fds, _, _ = socket.recv_fds(self._socket, HEADER.size, 1)
        while len(data) < HEADER.size:
            data += self._socket.recv(HEADER.size - len(data)) or bytes(_gone())
        _, size, _ = HEADER.unpack(data)
        return decode_setup(self.read(size)), fds[0]

    def next(self, idle: Callable[[], None]) -> tuple[int, bytes, int]:
        """Return kind, head and blob size of the next message; call `idle` before waiting for it."""
        if self._end - self._start < HEADER.size:
            self._fill(HEADER.size, idle)
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
        # A BytesIO over fresh zeroed memory hands that very memory out again: a large value is copied only
        # once.
        value = BytesIO(bytes(size))
        with value.getbuffer() as view:
            view[:have] = self._buffer[self._start : self._end]
            self._start = self._end = 0
            while have < size:
                have += self._socket.recv_into(view[have:]) or _gone()
        return value.getvalue()

    def _fill(self, least: int, idle: Callable[[], None]) -> None:
        have = self._end - self._start
        self._buffer[:have] = self._buffer[self._start : self._end]
        self._start, self._end = 0, have
        if not self._poll():
            idle()
            self._wait()
        while self._end < least:
            self._end += self._socket.recv_into(self._buffer[self._end :]) or _gone()

    def _poll(self) -> bool:
        """Receive what is there; return whether there was anything."""
        try:
            self._end += self._socket.recv_into(self._buffer[self._end :], 0, socket.MSG_DONTWAIT) or _gone()
        except BlockingIOError:
            return False
        return True

    def _wait(self) -> None:
        """Receive, when there is something. If the last wait was short, poll for a while before blocking."""
        begun = monotonic_ns()
        if self._is_brisk:
            while monotonic_ns() - begun < _POLLING:
                if self._poll():
                    return
                _yield()  # to the parent above all, which may be waiting for this very processor
        self._end += self._socket.recv_into(self._buffer[self._end :]) or _gone()
        self._is_brisk = monotonic_ns() - begun < _BRISK


def _gone() -> NoReturn:
    os._exit(ORPHANED)


class Host:
    """Holds the open tasks and runs jobs in them."""

    def __init__(self, connection: socket.socket, inbox: Inbox, page: WorkerPage) -> None:
        self._socket = connection
        self._inbox = inbox
        self._page = page
        self._tasks: list[Task] = []
        self._told_at = -1  # the parent's visits when it was told to look last: once is enough
        self._untold = False  # whether records are in the ring that the parent has not been told of

    def open(self, setup: Setup) -> bool:
        """Open the tasks in order, and say so; if one cannot be opened, close those before it.

        False, and none is opened, when the parent has no use for this worker any more.
        """
        tasks = [(resolve(reference), argument) for reference, argument in setup.tasks]
        if not self._page.begin_opening():
            return False
        try:
            for task, argument in tasks:
                self._tasks.append(task(argument))
        except BaseException:
            self.close()
            raise
        self._socket.sendall(message(Kind.READY))
        return True

    def serve(self) -> None:
        """Run jobs until the parent says stop."""
        receive, run, tasks = self._inbox.next, self.run, self._tasks
        while True:
            kind, head, blob_size = receive(self._idle)
            if kind == Kind.STOP:
                return
            sequence, jobs = decode_batch(head)
            blob = None if blob_size == NO_BLOB else self._inbox.read(blob_size)
            for number, body in jobs:
                run(sequence, tasks[number], body, blob)
                sequence += 1
            if self._untold:  # here, too: what comes next may block, or be the end
                self._page.settle()
                self._announce()

    def run(self, sequence: int, task: Task, body: bytes, blob: bytes | None) -> None:
        """Run one job, unless it was taken back, and leave its result where it survives this process."""
        reply: Buffer
        reply_blob: Buffer | None = None
        begun = monotonic_ns()
        is_ours = self._page.begin(sequence, begun)
        if self._untold:
            try:
                self._announce()
            except OSError:
                # An earlier handler has closed the socket. This job has begun and must not pay for it: with nothing to
                # read from, the worker ends after the batch.
                pass
        if is_ours:
            try:
                reply, reply_blob = task.run(body, blob)
                outcome = _DONE
            except SystemExit:
                raise  # the task asks for the end of the process, and gets it
            except BaseException:
                outcome, reply = Outcome.ERROR, traceback.format_exc().encode(errors="replace")
            ended = monotonic_ns()
        else:
            outcome, reply, ended = Outcome.SKIPPED, b"", begun
        record = encode((sequence, outcome, (ended - begun) * 1e-9, reply))
        if reply_blob is None and len(record) <= _IN_RING and self._page.write(record):
            self._untold = True
        else:
            self._send(record, reply_blob)

    def close(self) -> str:
        """Close the tasks, the last one first; return the tracebacks of those that failed to."""
        failures = []
        for task in reversed(self._tasks):
            try:
                task.close()
            except Exception:
                failures.append(traceback.format_exc())
        self._page.report_cpu(process_time_ns())
        return "\n".join(failures)

    def _announce(self) -> None:
        """Have the parent look at the ring, unless it is about to; after a fence."""
        visits = self._page.visits()
        if not visits & 1 and visits != self._told_at:
            self._told_at = visits
            self._tell()

    def _tell(self) -> None:
        self._socket.sendall(_LOOK)
        self._untold = False

    def _idle(self) -> None:
        if self._untold:
            self._tell()
        self._page.report_cpu(process_time_ns())

    def _send(self, record: bytes, blob: Buffer | None) -> None:
        if blob is None:
            self._socket.sendall(message(Kind.RESULT, record))
            return
        with memoryview(blob) as view, view.cast("B") as raw:
            head = message(Kind.RESULT, record, raw.nbytes)
            sent = self._socket.sendmsg([head, raw])
            self._socket.sendall(head[sent:])
            self._socket.sendall(raw[max(0, sent - len(head)) :])


def resolve(reference: str) -> Callable[[bytes], Task]:
    """Return what "module:qualname" names.

    Raises:
        ImportError, AttributeError: There is no such module or name.

    """
    module_name, _, qualname = reference.partition(":")
    found: object = import_module(module_name)
    for name in qualname.split("."):
        found = getattr(found, name)
    return found  # type: ignore[return-value]
