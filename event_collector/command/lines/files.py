"""The files a command reads and writes, without blocking the event loop."""

import asyncio
import os
import stat
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

from event_collector.command.options import UsageError
from event_collector.command.standard_streams import read_some, write_all

CHUNK = 256 * 1024  # bytes of one read. Each read wakes a thread, which costs about 100 microseconds

T = TypeVar("T")


class _FileThread:
    """A thread for the blocking calls on one file, in order.

    It is a daemon: a thread of an executor that is stuck in a call would hold up the end of the program.
    """

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = SimpleQueue()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        """Return the result of the call. Cancellation does not stop the call; its outcome is dropped."""
        done: Future[T] = Future()
        done.set_running_or_notify_cancel()  # else cancellation would reach it
        self._calls.put((done, call, args))
        return await asyncio.wrap_future(done)

    def _work(self) -> None:
        while True:
            done, call, args = self._calls.get()
            try:
                done.set_result(call(*args))
            except Exception as exc:
                done.set_exception(exc)


class InputFile:
    """A file or stream to read, by its descriptor."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._thread = _FileThread("input")
        status = os.fstat(fd)
        is_regular = stat.S_ISREG(status.st_mode)
        self._start = os.lseek(fd, 0, os.SEEK_CUR) if is_regular else 0
        self.total = max(0, status.st_size - self._start) if is_regular else None
        """Bytes left to read; None for a stream."""
        self.inode = status.st_ino if is_regular else 0
        """Inode of a file; 0 for a stream."""

    @classmethod
    def open(cls, path: str, stdin: int | None) -> "InputFile":
        """Open a path; "-" is standard input, at the descriptor `stdin`, None if it is closed."""
        if path == "-" and stdin is None:
            raise UsageError("standard input is closed")
        try:
            fd = stdin if path == "-" and stdin is not None else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                raise UsageError(f"{path} is a directory")
            return cls(fd)
        except OSError as exc:
            name = "standard input" if path == "-" else path
            raise UsageError(f"cannot read {name}: {exc.strerror}") from None

    async def read(self) -> bytes:
        """Return the next bytes, at least one; none at the end. Raises OSError."""
        return await self._thread.run(read_some, self._fd, CHUNK)

    def rewind(self) -> None:
        """Go back to where a file was when it was opened."""
        os.lseek(self._fd, self._start, os.SEEK_SET)


class OutputFile:
    """A file or stream to write, by its descriptor."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._thread = _FileThread("output")
        self.is_terminal = os.isatty(fd)

    async def write(self, data: bytes) -> None:
        """Write all of the data; raises OSError, or BrokenPipeError if the reader has closed the pipe.

        Cancellation does not stop the write.
        """
        await self._thread.run(write_all, self._fd, data)
