"""The zygote: a process with one thread that has imported the modules of the workers and forks them on request.

    pool  --- request, with the worker's socket attached -->  zygote  -- fork -->  worker
          <-- BORN with its process id, DEAD with its exit code --

It is told at its start which modules to import. A fork takes about a millisecond. When the pool's process ends, the
zygote kills its workers and exits. This module imports little, because each worker pays for its imports.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import signal
import socket
import struct
import traceback
from importlib import import_module
from multiprocessing import get_context, process, spawn
from select import select
from typing import TYPE_CHECKING, Any, Final

from event_collector_workers.child.open_descriptors import open_standard_streams
from event_collector_workers.child.signals import kill_group, leave_signals_to_program
from event_collector_workers.child.workplace import main as serve_pool
from event_collector_workers.transport.frames import Kind, message
from event_collector_workers.transport.lifeline import follow

if TYPE_CHECKING:
    from io import FileIO
    from multiprocessing.process import BaseProcess

    from event_collector_workers.child.workplace import Initialize

REQUEST: Final = struct.Struct("<Q")  # request number; the worker's socket is attached
REPORT: Final = struct.Struct("<Qii")  # request number, BORN or DEAD, process id or exit code
BORN: Final = 0
DEAD: Final = 1


def main(control_fd: int, boot: dict[str, Any], lifeline_fd: int) -> None:
    """Serve the pool at the other end of the control socket until it, or the program, is gone."""
    leave_signals_to_program()
    open_standard_streams()
    lifeline = follow(lifeline_fd)
    zygote = Zygote(socket.socket(fileno=control_fd))
    zygote.prepare(boot)
    try:
        zygote.serve(lifeline)
    finally:
        zygote.end()


class Zygote:
    """Forks workers, and reports their births and deaths. One thread does everything."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._initialize: Initialize | None = None
        self._failure = ""  # the traceback of the program's main module, if its import failed
        self._workers: dict[int, BaseProcess] = {}  # by request number

    def __repr__(self) -> str:
        return f"<Zygote pid={os.getpid()} workers={len(self._workers)}>"

    def prepare(self, boot: dict[str, Any]) -> None:
        """Take over the program's path and main module, as multiprocessing's spawn does. Preload the other modules."""
        current: Any = process.current_process()
        current._inheriting = True  # is_importing_main() reads this: a main module may lack a guard
        try:
            spawn.prepare(boot["preparation"])
            if boot["initialize"] is not None:
                self._initialize = pickle.loads(boot["initialize"])  # noqa: S301 - written by the pool's process
        except BaseException:
            self._failure = traceback.format_exc()
        finally:
            del current._inheriting
        for name in boot["preload"]:
            with contextlib.suppress(Exception):  # the worker imports it again and reports the error
                import_module(name)
        gc.freeze()

    def serve(self, lifeline: FileIO) -> None:
        """Fork on request until the pool closes the control socket, or the lifeline ends."""
        wake_read, wake_write = socket.socketpair()
        for file in (self._control, lifeline, wake_read, wake_write):
            os.register_at_fork(after_in_child=file.close)  # a worker must not be able to write to the pool here
        wake_write.setblocking(False)
        signal.set_wakeup_fd(wake_write.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        wake_read.setblocking(False)
        sources: list[FileIO | socket.socket] = [self._control, lifeline, wake_read]
        while True:
            ready, _, _ = select(sources, [], [])
            if lifeline in ready or (self._control in ready and not self._accept()):
                return
            with contextlib.suppress(BlockingIOError):
                wake_read.recv(4096)
            self._reap()

    def end(self) -> None:
        """End every worker, busy ones too, and this process: the pool is gone."""
        for worker in self._workers.values():
            kill_group(worker.pid or 0)
            worker.kill()
        os._exit(0)

    def _accept(self) -> bool:
        data, fds, _, _ = socket.recv_fds(self._control, REQUEST.size, 1)
        if not data:
            return False
        (number,) = REQUEST.unpack(data)
        pid = 0
        if fds:  # else out of descriptors: the system has dropped the attached one
            with socket.socket(fileno=fds[0]) as connection:
                pid = self._fork(number, connection)
        self._report(number, BORN, pid)
        if not pid:
            self._report(number, DEAD, 1)
        return True

    def _fork(self, number: int, connection: socket.socket) -> int:
        """Start a worker. Return its process id, or 0 after reporting to the pool why the system refused."""
        # A process with threads cannot be forked safely. If a module started one at import, each worker is spawned.
        context = get_context("fork" if _threads() == 1 else "spawn")
        worker = context.Process(  # type: ignore[attr-defined] # every context has it
            target=_run_worker, args=(connection, self._failure, self._initialize)
        )
        before = _descriptors()
        try:
            worker.start()
        except OSError as error:
            for fd in _descriptors() - before if before else ():  # multiprocessing leaks its pipes in this case
                with contextlib.suppress(OSError):
                    os.close(fd)
            connection.sendall(message(Kind.FAILED, f"fork failed: {error}".encode()))
            return 0
        self._workers[number] = worker
        return worker.pid or 0

    def _reap(self) -> None:
        for number, worker in list(self._workers.items()):
            code = worker.exitcode
            if code is not None:
                if code:
                    kill_group(worker.pid or 0)
                del self._workers[number]
                worker.close()
                self._report(number, DEAD, code)

    def _report(self, number: int, kind: int, value: int) -> None:
        with contextlib.suppress(OSError):  # the pool is gone; serve() notices
            self._control.sendall(REPORT.pack(number, kind, value))


def _threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        import threading

        return threading.active_count()


def _descriptors() -> set[int]:
    found: set[int] = set()
    with contextlib.suppress(OSError):
        for name in os.listdir("/dev/fd"):
            with contextlib.suppress(OSError):
                os.fstat(int(name))  # the descriptor of the listing itself is closed by now
                found.add(int(name))
    return found


def _run_worker(connection: socket.socket, failure: str, initialize: Initialize | None) -> None:
    if failure:
        connection.sendall(message(Kind.FAILED, failure.encode(errors="replace")))
        raise SystemExit(1)
    gc.unfreeze()
    serve_pool(connection, initialize)
