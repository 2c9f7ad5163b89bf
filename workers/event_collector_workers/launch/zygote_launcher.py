"""The pool's side of the zygote: boots it in the background, requests workers, receives reports of their deaths."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import subprocess
import sys
import tempfile
from io import BytesIO
from multiprocessing import spawn
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil

from event_collector_workers.child.signals import kill_group, signals_blocked
from event_collector_workers.launch.working_directory import existing_directory
from event_collector_workers.launch.zygote import APART, BORN, REPORT, REQUEST, Boot
from event_collector_workers.transport.lifeline import Lifeline

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from event_collector_workers.child.birth import Birth
    from event_collector_workers.child.workplace import Initialize
    from event_collector_workers.environment import WorkerEnvironment

_PATIENCE: Final = 2.0  # seconds after which a zygote should have reported the end of a worker
_LOOK_EVERY: Final = 0.1  # seconds between two looks at a worker whose zygote has died


class ZygoteHandle:
    """A worker that a zygote forked. `on_silence` is called if the zygote does not report its end."""

    def __init__(self, pid: int, loop: asyncio.AbstractEventLoop, on_silence: Callable[[], None]) -> None:
        self.pid = pid
        self._loop = loop
        self._on_silence = on_silence
        self._has_ended = False
        self._exitcode: int | None = None
        self._on_exit: Callable[[int | None], None] | None = None
        self._process: psutil.Process | None = None  # told from a later process that has the same id
        with contextlib.suppress(psutil.Error):
            self._process = psutil.Process(pid)

    def __repr__(self) -> str:
        state = f"ended with {self._exitcode}" if self._has_ended else "alive"
        return f"<ZygoteHandle pid={self.pid} {state}>"

    def watch(self, on_exit: Callable[[int | None], None]) -> None:
        """Call `on_exit` once after the process has ended, with its exit code (negative: signal; None: unknown)."""
        self._on_exit = on_exit
        if self._has_ended:
            self._loop.call_soon(on_exit, self._exitcode)

    def kill(self) -> None:
        """End the process with SIGKILL. A no-op if it has ended."""
        if not self._has_ended and self.pid:
            if self._process is not None and self._process.is_running():
                kill_group(self.pid)
                with contextlib.suppress(psutil.Error):
                    self._process.kill()
            self.expect_exit()

    def expect_exit(self) -> None:
        """Expect the process to end, and its zygote to report that within a few seconds: it may have been stopped."""
        if not self._has_ended:
            self._loop.call_later(_PATIENCE, self._check_exit)

    def record_exit(self, exitcode: int | None) -> None:
        """Record that the process has ended, and call the watcher. Idempotent."""
        if not self._has_ended:
            self._has_ended, self._exitcode = True, exitcode
            if self._on_exit is not None:
                self._on_exit(exitcode)

    def follow(self) -> None:
        """Look for the end of the process, which nobody reports any more."""
        if not self._has_ended:
            if self._is_alive():
                self._loop.call_later(_LOOK_EVERY, self.follow)
            else:
                self.record_exit(None)

    def _check_exit(self) -> None:
        if self._is_alive():
            self.expect_exit()
        elif not self._has_ended:
            self._on_silence()

    def _is_alive(self) -> bool:
        try:
            process = self._process
            return process is not None and process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Connection):  # pickle would take the number of its descriptor, which is another one there
            raise TypeError("only multiprocessing can hand a connection to a child")
        return NotImplemented


def _pickle(value: object) -> bytes:
    file = BytesIO()
    _Pickler(file).dump(value)
    return file.getvalue()


class ZygoteLauncher:
    """Starts workers through a zygote, which boots at once, and again if it dies. `initialize` must have a pickle.

    `spawns`: the zygote spawns them, each with imports of its own.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        preload: Sequence[str],
        initialize: Initialize | None,
        environment: WorkerEnvironment,
        on_apart: Callable[[str, str], None],
        *,
        spawns: bool = False,
    ) -> None:
        self._loop = loop
        self._spawns = spawns
        self._preload = list(preload)
        self._environment = environment
        self._apart: list[str] = []  # steps of the preload that each worker makes by itself
        self._on_apart = on_apart
        self._unread = b""  # the beginning of a report
        self._initialize = None if initialize is None else _pickle(initialize)
        self._requests: dict[int, Callable[[ZygoteHandle | BaseException], None]] = {}
        self._handles: dict[int, ZygoteHandle] = {}
        self._number = 0
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.lifeline = Lifeline()
        try:
            self._boot()
        except BaseException:
            self.lifeline.close()
            raise

    def __repr__(self) -> str:
        zygote = "no zygote" if self._process is None else f"zygote={self._process.pid}"
        return f"<ZygoteLauncher {zygote} requests={len(self._requests)} workers={len(self._handles)}>"

    def launch(
        self, connection: socket.socket, birth: Birth, done: Callable[[ZygoteHandle | BaseException], None]
    ) -> None:
        """Start a process, and close `connection` in this one. Never blocks: `done` gets the handle or the error."""
        self._number += 1
        try:
            with connection:
                if self._control is None:
                    self._boot()
                if self._control is not None:
                    socket.send_fds(self._control, [REQUEST.pack(self._number, *birth)], [connection.fileno()])
        except OSError as error:
            self._loop.call_soon(done, error)
            return
        self._requests[self._number] = done

    def reset(self) -> None:
        """End a zygote that does not respond. The next launch boots another."""
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """End the zygote. Idempotent."""
        self._end_zygote()
        self.lifeline.close()

    def _end_zygote(self) -> None:
        if self._control is not None:
            self._loop.remove_reader(self._control.fileno())
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _boot(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            with theirs, signals_blocked(), existing_directory():
                self._process = self._start(theirs)
        except BaseException:
            ours.close()
            raise
        ours.setblocking(False)
        self._control = ours
        self._loop.add_reader(ours.fileno(), self._on_report)

    def _start(self, control: socket.socket) -> subprocess.Popen[bytes]:
        preparation = spawn.get_preparation_data("zygote")
        preparation["authkey"] = bytes(preparation["authkey"])
        if not Path(preparation.get("init_main_from_path", __file__)).is_file():
            del preparation["init_main_from_path"]  # a pipe, or deleted: workers do without the main module
        # A relative entry means the folder in which the program's own finder has looked.
        finders = sys.path_importer_cache
        preparation["sys_path"] = [getattr(finders.get(entry), "path", entry) for entry in preparation["sys_path"]]
        with tempfile.TemporaryFile() as file:
            # The zygote has the program's path before it imports this package and its dependencies, and never that of
            # the working directory (-P). The standard library comes first: the program, too, imported it before it
            # changed the path. This package is there even if a hook of the program has found it.
            home = str(Path(__file__).parents[2])
            code = (
                "import sys, pickle, socket, threading, traceback, multiprocessing.popen_fork, multiprocessing.spawn\n"
                f"file = open({file.fileno()}, 'r+b'); sys.path[:] = pickle.load(file)\n"
                f"from {__package__}.zygote import main; main({control.fileno()}, file, {self.lifeline.fileno()})"
            )
            # The last three words say what to run; the others are the executable and the program's flags.
            command = [*(os.fsdecode(word) for word in spawn.get_command_line()[:-3]), "-P", "-c", code]
            path = [*preparation["sys_path"], home]
            about = (self._preload, self._initialize, self._environment, tuple(self._apart), self._spawns)
            Boot(command, path, preparation, *about).write(file)
            return subprocess.Popen(  # noqa: S603 - our own interpreter
                command,
                pass_fds=(control.fileno(), file.fileno(), self.lifeline.fileno()),
                stdin=subprocess.DEVNULL,
                process_group=0,
                env=os.environ | self._environment.defaults | self._environment.variables,
            )

    def _on_report(self) -> None:
        try:
            data = self._control.recv(REPORT.size * 256) if self._control is not None else b""
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._on_lost()
            return
        self._unread += data
        while len(self._unread) >= REPORT.size:
            number, kind, value = REPORT.unpack_from(self._unread)
            size = REPORT.size + (value if kind == APART else 0)
            if len(self._unread) < size:
                return
            text, self._unread = self._unread[REPORT.size : size], self._unread[size:]
            if kind == APART:
                step, _, reason = text.rstrip(b"\0").decode(errors="replace").partition("\n")
                self._apart.append(step)
                self._on_apart(step, reason)
            elif kind == BORN:
                self._handles[number] = handle = ZygoteHandle(value, self._loop, self.reset)
                self._requests.pop(number)(handle)
            else:
                self._handles.pop(number).record_exit(value)

    def _on_lost(self) -> None:
        """Handle the death of the zygote: its workers live on, but it no longer reports their deaths."""
        self._end_zygote()
        self._unread = b""
        requests, self._requests = self._requests, {}
        handles, self._handles = self._handles, {}
        for handle in handles.values():
            handle.follow()
        for done in requests.values():
            done(RuntimeError("the process that starts workers has died; its standard error says why"))
