"""The interface of a launcher, and of the handle of a process that it started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable


class Handle(Protocol):
    """A process that a launcher started."""

    @property
    def pid(self) -> int:
        """The process id."""

    def watch(self, loop: asyncio.AbstractEventLoop, on_exit: Callable[[int | None], None]) -> None:
        """Call `on_exit` once after the process has ended, with its exit code (negative: signal; None: unknown)."""

    def kill(self) -> None:
        """End the process with SIGKILL. A no-op if it has ended."""


class Launcher(Protocol):
    """Starts processes that serve the pool at the other end of a socket."""

    def launch(self, connection: socket.socket, done: Callable[[Handle | BaseException], None]) -> None:
        """Start a process without blocking, and close `connection` in this process.

        `done` is called in the loop's thread with the handle, or with the error that prevented the start.
        """

    def close(self) -> None:
        """Release the launcher's resources, after its last worker has ended. Idempotent."""
