"""Workers that `multiprocessing` starts: spawn, fork, or a context of the program."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import weakref
from functools import partial
from operator import getitem
from time import monotonic
from typing import TYPE_CHECKING, Final

import psutil

from event_collector_workers.child.signals import kill_group, signals_blocked
from event_collector_workers.child.workplace import main
from event_collector_workers.launch.preload import enter_spawned
from event_collector_workers.launch.working_directory import existing_directory
from event_collector_workers.transport.lifeline import Lifeline

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable, Sequence
    from multiprocessing.context import BaseContext
    from multiprocessing.process import BaseProcess

    from event_collector_workers.child.birth import Birth
    from event_collector_workers.child.workplace import Initialize
    from event_collector_workers.environment import WorkerEnvironment

_alive: weakref.WeakSet[MultiprocessingHandle] = weakref.WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_alive.clear)  # they are not the workers of a process that the program forks


@atexit.register
def _kill_at_exit() -> None:
    # multiprocessing joins its children at exit, and these end only when this process does. Exit functions run in
    # reverse order: this one runs first, because multiprocessing.util, which registers the join, is imported above.
    for handle in list(_alive):
        handle.kill()


_PATIENCE: Final = 0.5
"""Seconds after which the exit code of a process that is gone counts as taken by the program."""
_LOOK_EVERY: Final = 0.005
"""Seconds between two looks for an exit code."""


class MultiprocessingHandle:
    """A `multiprocessing` process."""

    def __init__(self, process: BaseProcess, loop: asyncio.AbstractEventLoop) -> None:
        self.pid = process.pid or 0
        self._process = process
        self._identity: psutil.Process | None = None  # told from a later process that has the same id
        with contextlib.suppress(psutil.Error):
            self._identity = psutil.Process(self.pid)
        self._loop = loop
        _alive.add(self)

    def __repr__(self) -> str:
        return f"<MultiprocessingHandle pid={self.pid}>"

    def watch(self, on_exit: Callable[[int | None], None]) -> None:
        """Call `on_exit` once after the process has ended, with its exit code; None if the program has taken it."""
        fd = self._open_pidfd()

        def ended() -> None:
            self._loop.remove_reader(fd)
            if fd != self._process.sentinel:
                os.close(fd)
            self._settle(on_exit, monotonic() + _PATIENCE)

        self._loop.add_reader(fd, ended)

    def _settle(self, on_exit: Callable[[int | None], None], until: float) -> None:
        """Report the exit code as soon as it is there.

        The descriptor may be ahead of it. The thread that starts another worker may have taken it, and is about to
        store it.
        """
        code = self._process.exitcode
        is_there = self._identity is not None and self._identity.is_running()
        if code is None and (is_there or monotonic() < until):
            self._loop.call_later(_LOOK_EVERY, self._settle, on_exit, until)
            return
        _alive.discard(self)
        if code != 0:
            kill_group(self.pid)
        with contextlib.suppress(ValueError):  # its end is unknown: SIGCHLD is ignored, or os.wait() was called
            self._process.join()
            self._process.close()
        on_exit(code)

    def kill(self) -> None:
        """End the process with SIGKILL. A no-op if it has ended."""
        with contextlib.suppress(ValueError, OSError):
            # Its end may have been taken by the program, and then its id is free.
            if self._process.exitcode is None and self._identity is not None and self._identity.is_running():
                kill_group(self.pid)
                self._process.kill()

    def expect_exit(self) -> None:
        """Do nothing: the end of this process is seen without a helper."""

    def _open_pidfd(self) -> int:
        # A sentinel that is a pipe stays open as long as any descendant of the worker holds it; a pidfd does not.
        # This process cannot wait for the fork server's children: their sentinel is a pipe from the server, which
        # carries the exit code.
        if sys.platform == "linux" and type(self._process).__name__ != "ForkServerProcess":
            with contextlib.suppress(AttributeError, OSError):
                return os.pidfd_open(self.pid)
        return self._process.sentinel


class _EarlyName(str):
    """The name of a process. It sets environment variables in the process that receives it, when it comes first.

    A new process is told its name before it imports the main module of the program, which may change them, and once
    more with the rest of the process object.
    """

    __slots__ = ("_variables",)
    _variables: dict[str, str]

    @classmethod
    def of(cls, name: str, variables: dict[str, str]) -> _EarlyName:
        """Return a name that brings these variables."""
        self = cls(name)
        self._variables = variables
        return self

    def __reduce__(self) -> tuple[object, ...]:
        variables, self._variables = self._variables, {}
        # Only builtins: the path by which the new process imports others is not set yet.
        return getitem, ((str(self), _Statement(f"import os; os.environ.update({variables!r})")), 0)


class _Statement(str):
    """A statement that is executed where it is unpickled."""

    __slots__ = ()

    def __reduce__(self) -> tuple[object, ...]:
        return exec, (str(self),)


class MultiprocessingLauncher:
    """Starts workers with a `multiprocessing` context, each in a short-lived thread."""

    def __init__(
        self,
        context: BaseContext,
        loop: asyncio.AbstractEventLoop,
        modules: Sequence[str],
        initialize: Initialize | None,
        environment: WorkerEnvironment,
    ) -> None:
        self._context = context
        self._loop = loop
        self._enter = partial(enter_spawned, list(modules), initialize, environment)
        self._environment = environment
        self._blocked = (signal.SIGINT,) if context.get_start_method() == "forkserver" else ()
        self.lifeline = Lifeline()

    def __repr__(self) -> str:
        return f"<MultiprocessingLauncher {self._context.get_start_method()}>"

    def launch(
        self, connection: socket.socket, birth: Birth, done: Callable[[MultiprocessingHandle | BaseException], None]
    ) -> None:
        """Start a process, and close `connection` in this one. Never blocks: `done` gets the handle or the error."""

        def start() -> None:
            """Start the process, and hand over its handle or the error, in any thread."""
            outcome: MultiprocessingHandle | BaseException
            try:
                with connection, signals_blocked(*self._blocked), existing_directory():
                    process = self._context.Process(  # type: ignore[attr-defined]
                        target=main,
                        name=_EarlyName.of(f"worker-{birth.number}", self._environment.variables_of(birth.number)),
                        args=(connection, partial(self._enter, birth)),
                        daemon=False,
                    )
                    process.start()
                outcome = MultiprocessingHandle(process, self._loop)
            except BaseException as error:
                outcome = error
            with contextlib.suppress(RuntimeError):  # the loop was closed: the worker ends by itself
                self._loop.call_soon_threadsafe(done, outcome)

        try:
            threading.Thread(target=start, name="worker-launch", daemon=True).start()
        except RuntimeError:  # the interpreter is shutting down and starts no more threads
            start()

    def reset(self) -> None:
        """Do nothing: workers start without a helper."""

    def close(self) -> None:
        """End what has been left of the workers."""
        self.lifeline.close()
