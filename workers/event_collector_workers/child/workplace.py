"""The code of a worker process: read jobs, run them one at a time, leave each result where it survives the process.

    socket in  --> Inbox --> Workplace.run --> task.run --> ring of the shared page   (small results)
                                                       +--> socket out                (large ones, parts, and LOOK)

A result goes into the ring at once. The worker announces it (LOOK) when it has no more jobs, or as the next job
begins if the parent has promised no visit (see `page`). This module imports little: its imports precede the user's
own in every worker.
"""

from __future__ import annotations

import os
import threading
import traceback
from contextlib import suppress
from importlib import import_module
from time import monotonic_ns, process_time_ns
from typing import TYPE_CHECKING, Final, cast

from event_collector_workers.child.forwarding import current
from event_collector_workers.child.inbox import Inbox, exit_orphaned
from event_collector_workers.child.items import ItemRun
from event_collector_workers.child.job_progress import report_by
from event_collector_workers.child.open_descriptors import open_standard_streams
from event_collector_workers.child.signals import handle_signals_in_forks, leave_signals_to_program
from event_collector_workers.child.stack_writer import write_stacks
from event_collector_workers.child.suspended_jobs import LATER, SuspendedJobs
from event_collector_workers.segments.segment_sizes import SHARED_FROM
from event_collector_workers.segments.shared_file import read_shared
from event_collector_workers.segments.worker_segments import WorkerSegments
from event_collector_workers.transport.frames import (
    NO_BLOB,
    PLACE,
    VIEW,
    Kind,
    Outcome,
    WorkerSetup,
    decode_batch,
    decode_chunk,
    decode_levels,
    decode_segment,
    decode_slot,
    encode,
    message,
    message_in_segment,
    parts_of,
)
from event_collector_workers.transport.lifeline import follow
from event_collector_workers.transport.outlet import Outlet
from event_collector_workers.transport.page import WorkerPage

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from io import FileIO

    from event_collector_workers.job import Blob, Buffer, ItemsTask, Task

    Initialize = tuple[Callable[..., object], tuple[object, ...]]

FORKED: Final = 114
"""Exit code of a process that a handler forked and that then returned from the handler as if it were the worker."""

_LOOK: Final = message(Kind.LOOK)
_PARTS: Final = 64  # of a value, in one system call
_DONE: Final = Outcome.DONE.value  # a plain int encodes faster than the enum member
_IN_RING: Final = 16 * 1024  # bytes; a larger record would displace many small ones from the ring


def main(connection: socket.socket, enter: Callable[[], Initialize | None]) -> None:
    """Serve the pool at the other end of `connection` until it sends STOP or is gone.

    `enter` makes the imports that precede the tasks. It returns what has to be called before they are opened.
    """
    leave_signals_to_program()
    open_standard_streams()
    connection.setblocking(True)
    try:
        _serve(connection, enter)
    except ConnectionError:  # the program has ended, and has left messages of this worker unread
        exit_orphaned()


def _serve(connection: socket.socket, enter: Callable[[], Initialize | None]) -> None:
    inbox = Inbox(connection)
    setup, (page_fd, lifeline_fd, outlet_fd, *others) = inbox.receive_setup()
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
        data = read_shared(others.pop(0), setup.layout) if setup.layout else [[]] * len(setup.tasks)
        if others:
            workplace.use_segments(others[0])
        initialize = enter()
        if initialize is not None:
            initialize[0](*initialize[1])
        if not workplace.open(setup, data):
            return
    except BaseException:
        current.end()
        try:
            connection.sendall(message(Kind.FAILED, traceback.format_exc().encode(errors="replace")))
        except OSError:  # the program is gone
            exit_orphaned()
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
    exit_orphaned()


class Workplace:
    """Holds the open tasks and runs jobs in them, in the main thread of the worker."""

    def __init__(self, connection: socket.socket, inbox: Inbox, page: WorkerPage) -> None:
        self._socket = connection
        self._inbox = inbox
        self._page = page
        self._tasks: list[Task] = []
        self._segments: WorkerSegments | None = None
        self._before_wait = self._on_idle
        self._suspended = SuspendedJobs(page, self._send)
        self._announced_at = -1  # the parent's visits at the last announcement: one for each visit is enough
        self._is_unannounced = False  # whether the ring holds records that were not announced

    def __repr__(self) -> str:
        return f"<Workplace pid={os.getpid()} tasks={len(self._tasks)} unannounced={self._is_unannounced}>"

    def open(self, setup: WorkerSetup, data: list[list[memoryview]]) -> bool:
        """Open the tasks in order, each with its data, and send READY. If one fails to open, close those before it.

        Return False, with no task opened, if the parent has dismissed this worker.
        """
        tasks = [
            (resolve(reference), (argument, views) if views else (argument,))
            for (reference, argument), views in zip(setup.tasks, data, strict=True)
        ]
        if not self._page.begin_opening():
            return False
        try:
            for task, arguments in tasks:
                self._tasks.append(self._suspended.adapted(task(*arguments)))
        except BaseException:
            self.close()
            raise
        self._socket.sendall(message(Kind.READY))
        return True

    def serve(self) -> None:
        """Run jobs until the parent sends STOP."""
        receive, run, tasks = self._inbox.next, self.run, self._tasks
        while True:
            kind, head, blob_size = receive(self._before_wait)
            if kind != Kind.JOBS and kind != Kind.CHUNK:
                if self._is_end(kind, head):
                    return
                continue
            if blob_size != NO_BLOB:
                self._run_with_blob(kind, head, blob_size)
            else:
                sequence, jobs = decode_batch(head)
                for number, body in jobs:
                    run(sequence, tasks[number], body, None)
                    sequence += 1
            if self._is_unannounced:  # here too: the next message may be long in coming, or STOP
                self._page.settle()
                self._announce()

    def use_segments(self, inlet: int) -> None:
        """Get the descriptors of segments from this socket."""
        self._segments = WorkerSegments(self._page, inlet)

    def run(self, sequence: int, task: Task, body: bytes, blob: Buffer | None) -> None:
        """Run one job, unless it was taken back, and leave its result where it survives this process."""
        reply: Buffer
        reply_blob: Blob | None = None
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

    def run_chunk(self, first: int, number: int, count: int, body: Buffer | None) -> None:
        """Run the items of a chunk that were not taken back, and leave their outcomes where they survive.

        Skip all of them if there is no body.
        """
        items = ItemRun(self._page, self, first, count)
        try:
            if body is not None:
                cast("ItemsTask", self._tasks[number]).run_items(body, items)
        except (SystemExit, OSError):  # the end of the process, requested or by the loss of the socket
            raise
        except BaseException:
            trace = traceback.format_exc().encode(errors="replace")
            self.leave(encode((first, Outcome.ERROR, 0.0, trace)), None, aside=True)
        else:
            items.end()

    def leave(self, record: bytes, blob: Blob | None, *, aside: bool) -> bool:
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

    def _is_end(self, kind: int, head: bytes) -> bool:
        """Process a message that brings no jobs; return whether the worker is to end."""
        segments = self._segments
        if segments is not None and kind == Kind.SEGMENT:
            slot, size, lease, is_for_results = decode_segment(head)
            segments.add(slot, size, lease, is_for_results=is_for_results)
            self._before_wait = self._on_idle_with_segments
            return False
        if segments is not None and kind == Kind.NO_SEGMENT:
            segments.remove(decode_slot(head))
            return False
        if kind == Kind.LEVELS:
            current.take_levels(decode_levels(head))
            return False
        return self._suspended.is_end(kind, head)

    def _run_with_blob(self, kind: int, head: bytes, size: int) -> None:
        """Run a job with a large value, or a chunk. Skip it if that is in a segment which could not be mapped."""
        if size >= 0:
            self._run_sent(kind, head, self._inbox.read(size))
            return
        lease, nbytes, is_bytes = PLACE.unpack_from(head)
        segments = self._segments
        view = None if segments is None else segments.open(NO_BLOB - 1 - size, lease, nbytes)
        # The items of a chunk are copied as they are decoded.
        blob = bytes(view) if view is not None and is_bytes and kind != Kind.CHUNK else view
        del view
        self._run_sent(kind, head[PLACE.size :], blob)
        del blob
        if segments is not None:
            segments.end_unseen()

    def _run_sent(self, kind: int, head: bytes, blob: Buffer | None) -> None:
        if kind == Kind.CHUNK:
            self.run_chunk(*decode_chunk(head), blob)
            return
        sequence, [(number, body)] = decode_batch(head)
        if blob is None:
            self._send(encode((sequence, Outcome.SKIPPED, 0.0, b"")), None)
        else:
            self.run(sequence, self._tasks[number], body, blob)

    def _on_idle_with_segments(self) -> None:
        if self._segments is not None:
            self._segments.end_unseen()
        self._on_idle()

    def _on_idle(self) -> None:
        if self._is_unannounced:
            self._send_look()
        self._page.report_cpu(process_time_ns())

    def _send(self, record: bytes, blob: Blob | None, kind: Kind = Kind.RESULT) -> None:
        if blob is None:
            self._socket.sendall(message(kind, record))
            return
        if blob is LATER:
            return
        parts, is_bytes = parts_of(blob), isinstance(blob, bytes)
        size = sum(part.nbytes for part in parts)
        if self._segments is not None and size >= SHARED_FROM and (place := self._segments.put(parts, size)):
            self._socket.sendall(message_in_segment(kind, record, *place, size, is_bytes=is_bytes))
            return
        head = message(kind, record, size if is_bytes else size | VIEW)
        sent = self._socket.sendmsg([head, *parts[:_PARTS]])
        for part in [memoryview(head), *parts]:
            self._socket.sendall(part[min(sent, part.nbytes) :])
            sent -= min(sent, part.nbytes)


def resolve(reference: str) -> Callable[..., Task]:
    """Return the object that "module:qualname" refers to. Raises ImportError or AttributeError if there is none."""
    module_name, _, qualname = reference.partition(":")
    found: object = import_module(module_name)
    for name in qualname.split("."):
        found = getattr(found, name)
    return found  # type: ignore[return-value]
