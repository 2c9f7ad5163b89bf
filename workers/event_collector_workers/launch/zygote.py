"""The zygote: a process with one thread that has imported the modules of the workers and forks them on request.

    pool  --- request, with the worker's socket attached -->  zygote  -- fork -->  worker
          <-- BORN with its process id, DEAD with its exit code --

It is told at its start which modules to import. A fork takes about a millisecond. When the pool's process ends, the
zygote kills its workers and exits. This module imports little, because each worker pays for its imports.

With start method "spawn" it imports nothing for the workers, and spawns them. A program that spawned its workers itself
could not keep them from importing what lies in the working directory.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import struct
import sys
import traceback
from functools import partial
from multiprocessing import get_context
from select import select
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from event_collector_workers.child.birth import Birth
from event_collector_workers.child.open_descriptors import open_standard_streams
from event_collector_workers.child.signals import kill_group, leave_signals_to_program, signals_blocked
from event_collector_workers.child.workplace import main as serve_pool
from event_collector_workers.launch.inheritance import Inheritance, threads
from event_collector_workers.launch.preload import Preload, Unfit
from event_collector_workers.transport.frames import Kind, message
from event_collector_workers.transport.lifeline import follow

if TYPE_CHECKING:
    from io import BufferedRandom, FileIO
    from multiprocessing.process import BaseProcess
    from typing import IO

    from event_collector_workers.environment import WorkerEnvironment

REQUEST: Final = struct.Struct("<QII")  # request number, number and start of the worker; its socket is attached
REPORT: Final = struct.Struct("<Qii")  # request number, kind, process id or exit code or size
BORN: Final = 0
DEAD: Final = 1
APART: Final = 2  # each worker makes a step of the preload by itself: as many bytes follow, "step\nreason" and zeros


class Boot(NamedTuple):
    """What a zygote is told at its start, in a file."""

    command: list[str]
    """The words that start a zygote."""
    path: list[str]
    """Folders to import from."""
    preparation: dict[str, Any]
    """What multiprocessing tells a new process about the program."""
    preload: list[str]
    initialize: bytes | None
    environment: WorkerEnvironment
    apart: tuple[str, ...]
    """Steps of the preload that each worker makes by itself."""
    spawns: bool
    """Whether each worker is spawned and makes all steps."""

    def write(self, file: IO[bytes]) -> None:
        """Write this into an empty file, after the path, without which it cannot be read."""
        pickle.dump(self.path, file)
        pickle.dump(self, file)
        file.flush()
        file.seek(0)


def main(control_fd: int, file: BufferedRandom, lifeline_fd: int) -> None:
    """Serve the pool at the other end of the control socket until it, or the program, is gone."""
    variables = os.environ.copy()
    leave_signals_to_program()
    open_standard_streams()
    lifeline = follow(lifeline_fd)
    boot: Boot = pickle.load(file)  # noqa: S301 - written by the pool's process
    zygote = Zygote(socket.socket(fileno=control_fd), Preload(*boot[2:]), spawns=boot.spawns)
    before = Inheritance()
    try:
        zygote.prepare()
    except Unfit as unfit:
        for fd in before.new_files():
            os.set_inheritable(fd, False)
        step, reason = unfit.args
        zygote.report_apart(step, reason)
        os.dup2(lifeline.fileno(), lifeline_fd)
        _begin_anew(boot._replace(apart=(*boot.apart, step)), file, (control_fd, lifeline_fd), variables)
    file.close()
    try:
        zygote.serve(lifeline)
    finally:
        zygote.end()


def _begin_anew(boot: Boot, file: BufferedRandom, descriptors: tuple[int, ...], variables: dict[str, str]) -> NoReturn:
    """Replace this process by one that is told something else. Requests of the pool wait in the control socket."""
    file.seek(0)
    file.truncate()
    boot.write(file)
    for fd in (*descriptors, file.fileno()):
        os.set_inheritable(fd, True)
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))  # as the program starts a zygote
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()
    os.execve(boot.command[0], boot.command, variables)  # noqa: S606 - the words that have started this process


class Zygote:
    """Forks or spawns workers, and reports their births and deaths. One thread does everything."""

    def __init__(self, control: socket.socket, preload: Preload, *, spawns: bool = False) -> None:
        self._control = control
        self._preload = preload
        self._spawns = spawns
        self._failure = ""  # the traceback of a step of the preload
        self._workers: dict[int, BaseProcess] = {}  # by request number

    def __repr__(self) -> str:
        return f"<Zygote pid={os.getpid()} workers={len(self._workers)}>"

    def prepare(self) -> None:
        """Make the preload. Raises Unfit if workers must not share one of its steps."""
        try:
            self._preload.make()
        except Unfit:
            raise
        except BaseException:
            self._failure = traceback.format_exc()

    def report_apart(self, step: str, reason: str) -> None:
        """Tell the pool that each worker makes a step of the preload by itself."""
        text = f"{step}\n{reason}".encode(errors="replace")
        text += bytes(-len(text) % REPORT.size)
        with contextlib.suppress(OSError):  # the pool is gone
            self._control.sendall(REPORT.pack(0, APART, len(text)) + text)

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
        number, place, start = REQUEST.unpack(data)
        pid = 0
        if fds:  # else out of descriptors: the system has dropped the attached one
            with socket.socket(fileno=fds[0]) as connection:
                pid = self._fork(number, connection, Birth(place, start))
        self._report(number, BORN, pid)
        if not pid:
            self._report(number, DEAD, 1)
        return True

    def _fork(self, number: int, connection: socket.socket, birth: Birth) -> int:
        """Start a worker. Return its process id, or 0 after reporting to the pool why the system refused."""
        # A process with threads cannot be forked safely. If it began with one, each worker is spawned.
        worker: BaseProcess
        if not self._spawns and threads() == 1:
            worker = get_context("fork").Process(target=self._work, args=(connection, birth))
        else:
            worker = get_context("spawn").Process(target=serve_pool, args=(connection, self._preload.spawned(birth)))
        before = _descriptors()
        try:
            with signals_blocked():
                worker.start()
        except OSError as error:
            for fd in _descriptors() - before if before else ():  # multiprocessing leaks its pipes in this case
                with contextlib.suppress(OSError):
                    os.close(fd)
            connection.sendall(message(Kind.FAILED, f"fork failed: {error}".encode()))
            return 0
        self._workers[number] = worker
        return worker.pid or 0

    def _work(self, connection: socket.socket, birth: Birth) -> None:
        """Be a worker that was forked."""
        if self._failure:
            connection.sendall(message(Kind.FAILED, self._failure.encode(errors="replace")))
            raise SystemExit(1)
        serve_pool(connection, partial(self._preload.finish, birth))

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


def _descriptors() -> set[int]:
    found: set[int] = set()
    with contextlib.suppress(OSError):
        for name in os.listdir("/dev/fd"):
            with contextlib.suppress(OSError):
                os.fstat(int(name))  # the descriptor of the listing itself is closed by now
                found.add(int(name))
    return found
