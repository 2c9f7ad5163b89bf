"""The pool's side of the zygote: boots it in the background, requests workers, receives reports of their deaths."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
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
from event_collector_workers.launch.zygote import BORN, REPORT, REQUEST
from event_collector_workers.transport.lifeline import Lifeline

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from event_collector_workers.child.workplace import Initialize

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
            kill_group(self.pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
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
            if _is_alive(self.pid):
                self._loop.call_later(_LOOK_EVERY, self.follow)
            else:
                self.record_exit(None)

    def _check_exit(self) -> None:
        if _is_alive(self.pid):
            self.expect_exit()
        elif not self._has_ended:
            self._on_silence()


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
    """Starts workers through a zygote, which boots at once, and again if it dies. `initialize` must have a pickle."""

    def __init__(self, loop: asyncio.AbstractEventLoop, preload: Sequence[str], initialize: Initialize | None) -> None:
        self._loop = loop
        self._preload = list(preload)
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

    def launch(self, connection: socket.socket, done: Callable[[ZygoteHandle | BaseException], None]) -> None:
        """Start a process, and close `connection` in this one. Never blocks: `done` gets the handle or the error."""
        self._number += 1
        try:
            with connection:
                if self._control is None:
                    self._boot()
                if self._control is not None:
                    socket.send_fds(self._control, [REQUEST.pack(self._number)], [connection.fileno()])
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
        boot = {"preparation": preparation, "preload": self._preload, "initialize": self._initialize}
        with tempfile.TemporaryFile() as file:
            pickle.dump(boot, file)
            file.flush()
            file.seek(0)
            # The zygote has the program's path before it imports this package and its dependencies, and never that of
            # the working directory (-P). The standard library comes first: the program, too, imported it before it
            # changed the path. This package is there even if a hook of the program has found it.
            home = str(Path(__file__).parents[2])
            code = (
                "import sys, pickle, socket, threading, traceback, multiprocessing.popen_fork, multiprocessing.spawn\n"
                f"with open({file.fileno()}, 'rb') as file: boot = pickle.load(file)\n"
                f"sys.path[:] = [*boot['preparation']['sys_path'], {home!r}]\n"
                f"from {__package__}.zygote import main; main({control.fileno()}, boot, {self.lifeline.fileno()})"
            )
            fds = control.fileno(), file.fileno(), self.lifeline.fileno()
            # The last three words say what to run; the others are the executable and the program's flags.
            command = [os.fsdecode(word) for word in spawn.get_command_line()[:-3]]
            return subprocess.Popen(  # noqa: S603 - our own interpreter
                [*command, "-P", "-c", code], pass_fds=fds, stdin=subprocess.DEVNULL, process_group=0
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
        for number, kind, value in REPORT.iter_unpack(data):
            if kind == BORN:
                self._handles[number] = handle = ZygoteHandle(value, self._loop, self.reset)
                self._requests.pop(number)(handle)
            else:
                self._handles.pop(number).record_exit(value)

    def _on_lost(self) -> None:
        """Handle the death of the zygote: its workers live on, but it no longer reports their deaths."""
        self._end_zygote()
        requests, self._requests = self._requests, {}
        handles, self._handles = self._handles, {}
        for handle in handles.values():
            handle.follow()
        for done in requests.values():
            done(RuntimeError("the process that starts workers has died; its standard error says why"))


def _is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
