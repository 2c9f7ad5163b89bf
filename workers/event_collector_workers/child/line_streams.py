"""Standard output and error of a worker: what is printed goes to the program in whole lines."""

import contextlib
import io
import os
import sys
from threading import get_ident
from typing import TYPE_CHECKING, Final

from event_collector_workers.transport.outlet import Outlet, Output

if TYPE_CHECKING:
    from collections.abc import Buffer

LONGEST: Final = 64 * 1024
"""Bytes of an unfinished line, at most. A longer one is sent in pieces."""


class LineFile(io.RawIOBase):
    """Sends what is written as whole lines. Each thread has a line of its own until its newline comes.

    Text that a carriage return would overwrite on a terminal is left out.
    """

    def __init__(self, outlet: Outlet, kind: Output, fd: int, name: str) -> None:
        super().__init__()
        self.name, self.mode = name, "w"
        self._outlet, self._kind, self._fd = outlet, kind, fd
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
        """Send the lines that are complete now. Raises nothing."""
        written, thread = bytes(data), get_ident()
        lines, newline, rest = (self._begun.pop(thread, b"") + written).rpartition(b"\n")
        if newline:
            self._outlet.send(self._kind, lines + newline)
        if rest:
            rest = rest[rest.rfind(b"\r", 0, -1) + 1 :]
            if self._is_ending or len(rest) > LONGEST:
                self._outlet.send(self._kind, rest)
            else:
                self._begun[thread] = rest
        return len(written)

    def end_lines(self) -> None:
        """Send the unfinished lines. From now on all is sent at once."""
        self._is_ending = True
        while self._begun:
            _, rest = self._begun.popitem()
            self._outlet.send(self._kind, rest + b"\n")


def replace_streams(outlet: Outlet) -> tuple[LineFile, LineFile]:
    """Have `sys.stdout` and `sys.stderr` send lines. Return the files to end when the process does."""
    out = LineFile(outlet, Output.STDOUT, 1, "<stdout>")
    err = LineFile(outlet, Output.STDERR, 2, "<stderr>")
    sys.stdout, sys.stderr = _text_file(out), _text_file(err)
    return out, err


def _text_file(file: LineFile) -> io.TextIOWrapper:
    return io.TextIOWrapper(file, "utf-8", "backslashreplace", write_through=True)
