"""How a worker process comes to be: the ways to start one, behind one interface."""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import multiprocessing.util
import os
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Protocol

from event_collector_workers.child import workplace as child
from event_collector_workers.child.signals import interrupts_held_back
from event_collector_workers.launch.zygote_launcher import ZygoteLauncher

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable, Sequence
    from multiprocessing.context import BaseContext
    from multiprocessing.process import BaseProcess

__all__ = [
    "Handle",
    "Launcher",
    "MultiprocessingLauncher",
    "check_start_method",
    "is_importing_main",
    "make_launcher",
]


class Handle(Protocol):
    """A process that was started."""

    @property
    def pid(self) -> int:
        """Its process id."""

    def watch(self, loop: asyncio.AbstractEventLoop, on_exit: Callable[[int | None], None]) -> None:
        """Call `on_exit` once the process has ended, with its exit code (negative: signal; None: unknown)."""

    def kill(self) -> None:
        """End the process with SIGKILL, or do nothing when it has ended."""


class Launcher(Protocol):
    """Starts processes that serve the pool at the other end of a socket."""

    def launch(self, connection: socket.socket, done: Callable[[Handle | BaseException], None]) -> None:
        """Start a process without blocking, and close `connection` here.

        `done` is called in the loop's thread with the handle, or with the reason why there is none.
        """

    def close(self) -> None:
        """Release what launching needed, when no worker is left. Idempotent."""


_alive: weakref.WeakSet[MultiprocessingHandle] = weakref.WeakSet()


@atexit.register
def _kill_at_exit() -> None:
    # multiprocessing joins its children at exit, and these end only when this process does. This runs before
    # that: it was registered later, because multiprocessing.util, which does so, is imported above.
    for handle in list(_alive):
        handle.kill()


class MultiprocessingHandle:
    """A `multiprocessing` process."""

    def __init__(self, process: BaseProcess) -> None:
        self._process = process
        self._pid = process.pid or 0
        self._watched = -1
        _alive.add(self)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._pid

    def watch(self, loop: asyncio.AbstractEventLoop, on_exit: Callable[[int | None], None]) -> None:
        """Call `on_exit` once, with the exit code, after the process has ended."""
        fd = self._open_pidfd()

        def ended() -> None:
            code = self._process.exitcode
            if code is None:  # the descriptor is ahead of the exit code
                return
            loop.remove_reader(fd)
            if fd != self._process.sentinel:
                os.close(fd)
            self._forget()
            on_exit(code)

        loop.add_reader(fd, ended)

    def kill(self) -> None:
        """End the process with SIGKILL, or do nothing when it has ended."""
        with contextlib.suppress(ValueError, OSError):
            self._process.kill()

    def _open_pidfd(self) -> int:
        # A sentinel that is a pipe stays open as long as any descendant of the worker holds it; a pidfd does
        # not. The fork server's children are not ours to wait for: there the sentinel is the server's word,
        # and carries the code.
        if sys.platform == "linux" and type(self._process).__name__ != "ForkServerProcess":
            with contextlib.suppress(OSError):
                return os.pidfd_open(self._pid)
        return self._process.sentinel

    def _forget(self) -> None:
        _alive.discard(self)
        self._process.join()
        self._process.close()


class MultiprocessingLauncher:
    """Starts workers with a `multiprocessing` context; each start happens in a short-lived thread."""

    def __init__(
        self, context: BaseContext, loop: asyncio.AbstractEventLoop, initialize: child.Initialize | None
    ) -> None:
        self._context = context
        self._loop = loop
        self._initialize = initialize

    def launch(self, connection: socket.socket, done: Callable[[Handle | BaseException], None]) -> None:
        """Start a process without blocking the loop, and close `connection` here."""

        def start() -> None:
            outcome: Handle | BaseException
            try:
                with connection, interrupts_held_back():
                    process = self._context.Process(  # type: ignore[attr-defined]
                        target=child.main, args=(connection, self._initialize), daemon=False
                    )
                    process.start()
                outcome = MultiprocessingHandle(process)
            except BaseException as error:
                outcome = error
            with contextlib.suppress(RuntimeError):  # the loop was closed: the worker ends by itself
                self._loop.call_soon_threadsafe(done, outcome)

        try:
            threading.Thread(target=start, name="worker-launch", daemon=True).start()
        except RuntimeError:  # the interpreter is shutting down, and starts no more threads
            start()

    def close(self) -> None:
        """Nothing to release."""


def make_launcher(
    loop: asyncio.AbstractEventLoop,
    start_method: str | None,
    context: BaseContext | None,
    preload: Sequence[str],
    initialize: child.Initialize | None,
) -> Launcher:
    """Return the launcher for a start method, or for a context of the program's own.

    "forkserver", the default where there is one, is a zygote; multiprocessing's own is used when an argument of
    the initializer, such as a lock, can only be handed to a child by multiprocessing.
    """
    methods = multiprocessing.get_all_start_methods()
    if context is None and start_method is None:
        start_method = "forkserver" if "forkserver" in methods else "spawn"
    if context is None and start_method == "forkserver" and not getattr(sys, "frozen", False):
        try:
            return ZygoteLauncher(loop, preload, initialize)
        except Exception:
            if initialize is None:
                raise
    return MultiprocessingLauncher(context or multiprocessing.get_context(start_method), loop, initialize)


def check_start_method(start_method: str | None) -> None:
    """Refuse a start method that this platform does not have.

    Raises:
        ValueError: It does not.

    """
    methods = multiprocessing.get_all_start_methods()
    if start_method is not None and start_method not in methods:
        raise ValueError(f"start_method must be one of {', '.join(methods)}, not {start_method!r}")


def is_importing_main() -> bool:
    """Whether this process is a worker-to-be that is importing the program's main module."""
    return getattr(multiprocessing.current_process(), "_inheriting", False)
