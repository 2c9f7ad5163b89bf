"""Standard output and error of a worker: what is printed is written in whole lines.

It goes to the descriptors that the worker has inherited. So a reader that does not read holds up
the worker that prints, and not the program.
"""

import contextlib
import io
import os
import select
import sys
from collections.abc import Callable
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing_extensions import Buffer

LONGEST: Final = 64 * 1024
"""Bytes of an unfinished line, at most. A longer one is sent in pieces."""


class LineFile(io.RawIOBase):
    """Passes what is written to `send` as whole lines. Each thread has a line of its own until its newline comes.

    Text that a carriage return would overwrite on a terminal is left out.
    """

    def __init__(self, fd: int, name: str, send: Callable[[bytes], None]) -> None:
        super().__init__()
        self.name, self.mode = name, "w"
        self._fd, self._send = fd, send
        self._begun: dict[int, bytes] = {}  # by thread
        self._is_ending = False
        os.register_at_fork(after_in_child=self._begun.clear)  # the parent sends them

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor of the stream, for the programs that a handler starts."""
        return self._fd

    def isatty(self) -> bool:
        """Return whether the descriptor is a terminal."""
        with contextlib.suppress(OSError):
            return os.isatty(self._fd)
        return False

    def write(self, data: "Buffer", /) -> int:
        """Send the lines that are complete now. Raises what `send` raises."""
        written, thread = bytes(data), get_ident()
        lines, newline, rest = (self._begun.pop(thread, b"") + written).rpartition(b"\n")
        if newline:
            self._send(lines + newline)
        if rest:
            rest = rest[rest.rfind(b"\r", 0, -1) + 1 :]
            if self._is_ending or len(rest) > LONGEST:
                self._send(rest)
            else:
                self._begun[thread] = rest
        return len(written)

    def end_lines(self) -> None:
        """Send the unfinished lines. From now on all is sent at once."""
        self._is_ending = True
        while self._begun:
            _, rest = self._begun.popitem()
            self._send(rest + b"\n")


def replace_streams() -> tuple[LineFile, LineFile]:
    """Have `sys.stdout` and `sys.stderr` write lines. Return the files to end when the process does."""
    out = LineFile(1, "<stdout>", partial(_write_all, 1))
    err = LineFile(2, "<stderr>", partial(_write_all, 2))
    sys.stdout, sys.stderr = _text_file(out), _text_file(err)
    return out, err


def _write_all(fd: int, data: bytes) -> None:
    """Write to a descriptor. The kernel does not mix lines of up to 4096 bytes with those of others."""
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:  # another process has made it non-blocking
            select.select([], [fd], [])


def _text_file(file: LineFile) -> io.TextIOWrapper:
    return io.TextIOWrapper(file, "utf-8", "backslashreplace", write_through=True)
