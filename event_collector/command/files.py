"""The files a command reads and writes, without blocking the event loop."""

import asyncio
import os
import stat
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from event_collector.command.usage import UsageError

__all__ = ["Sink", "Source", "take_standard_streams"]

CHUNK = 256 * 1024
"""Bytes asked for at once: a thread is woken for each, which costs some 100 microseconds."""

T = TypeVar("T")


class Lane:
    """A thread for the blocking calls on one file, one after the other.

    A thread of our own, since one of an executor that is stuck in a call would hold up the end of the program.
    """

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        """Return what the call returns. Cancelled, the call goes on, unheard."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def work() -> None:
            try:
                value = call(*args)
            except Exception as exc:
                _tell(loop, done, done.set_exception, exc)
            else:
                _tell(loop, done, done.set_result, value)

        self._calls.put(work)
        return await done

    def _work(self) -> None:
        while True:
            self._calls.get()()


def _tell(loop: asyncio.AbstractEventLoop, done: "asyncio.Future[Any]", tell: Any, outcome: Any) -> None:
    def settle() -> None:
        if not done.done():
            tell(outcome)

    try:
        loop.call_soon_threadsafe(settle)
    except RuntimeError:  # the loop is closed: nobody waits any more
        return


class Source:
    """A file or stream to read.

    Args:
        fd: its descriptor.

    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lane = Lane("input")
        status = os.fstat(fd)
        regular = stat.S_ISREG(status.st_mode)
        self.total = max(0, status.st_size - os.lseek(fd, 0, os.SEEK_CUR)) if regular else None
        """How many bytes there are to read; None for a stream."""

    @classmethod
    def open(cls, path: str, stdin: int | None) -> "Source":
        """Open a path; "-" is standard input, at the descriptor `stdin`, None if it is closed.

        Raises:
            UsageError: it cannot be opened, or is a directory.

        """
        if path == "-" and stdin is None:
            raise UsageError("standard input is closed")
        try:
            fd = stdin if path == "-" and stdin is not None else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                raise UsageError(f"{path} is a directory")
            return cls(fd)
        except OSError as exc:
            raise UsageError(
                f"cannot read {'standard input' if path == '-' else path}: {exc.strerror}"
            ) from None

    async def read(self) -> bytes:
        """Return the bytes that come next, at least one; none at the end.

        Raises:
            OSError: reading failed.

        """
        return await self._lane.run(os.read, self._fd, CHUNK)


class Sink:
    """A file or stream to write.

    Args:
        fd: its descriptor.

    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lane = Lane("output")
        self.is_terminal = os.isatty(fd)

    async def write(self, data: bytes) -> None:
        """Write all of it. Cancelled, the write goes on, unheard.

        Raises:
            BrokenPipeError: nobody reads any more.
            OSError: writing failed.

        """
        await self._lane.run(_write_all, self._fd, data)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def take_standard_streams() -> tuple[int | None, int]:
    """Return descriptors of standard input (None if it is closed) and output that handlers do not have.

    What handlers print goes to standard error from now on, where it cannot garble the output, and they find
    nothing to read; both holds in worker processes too.

    Raises:
        UsageError: standard output is closed.

    """
    if sys.stdout is None:
        raise UsageError("standard output is closed")
    sys.stdout.flush()
    stdin, stdout = None if sys.stdin is None else os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    if stdin is not None:
        os.dup2(null, 0)
    if sys.stderr is None:
        os.dup2(null, 2)
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - for the rest of the program
    os.dup2(2, 1)
    os.close(null)
    sys.stdout = sys.stderr
    return stdin, stdout
