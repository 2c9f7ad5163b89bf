"""The outlet of a worker: a pipe through which its log records and printed lines leave the process at once.

    logging, print, warnings --> Outlet.send() --> pipe, one for each worker --> OutletReader.receive() --> the program

A record is in the pipe when `send()` returns, so it arrives whatever happens to the process next. It travels in parts
that the kernel writes whole, so threads, and processes that a handler forks, need no lock.
"""

import contextlib
import os
import select
import struct
from collections.abc import Callable
from enum import IntEnum
from itertools import count
from time import monotonic
from typing import Final

PATIENCE: Final = 1.0
"""Seconds that a worker waits for a program that does not read. After that it drops records until the program reads."""

LARGEST: Final = 256 * 1024
"""Bytes of a record, at most; the rest is cut off."""

_PART: Final = struct.Struct("<IIBxH")  # process id, number of the record, kind (and _LAST), bytes that follow
_LAST: Final = 0x80
_MOST: Final = select.PIPE_BUF - _PART.size
_CHUNK: Final = 64 * 1024  # bytes of one read
_TURN: Final = 256 * 1024  # bytes that are read before control returns to the loop; more than a pipe holds
_UNFINISHED: Final = 64  # records that may be incomplete at once; those of forks that died in between stay so


class Output(IntEnum):
    """The kinds of records."""

    LOG = 1  # a LogLine
    WARNING = 2  # a WarningLine
    DROPPED = 3  # the number of records that were dropped before this one, in decimal
    STRUCTURED = 4  # for the owner of the pool


_KINDS: Final = frozenset(Output)


class Outlet:
    """The worker's side. `note_sent` is called with a new number after each record.

    Any thread may call `send()`. The counters tolerate races: a drop may be reported with the next one.
    """

    def __init__(self, fd: int, note_sent: Callable[[int], None]) -> None:
        os.set_blocking(fd, False)
        os.set_inheritable(fd, False)
        self._fd = fd
        self._note_sent = note_sent
        self._identity = _identity(fd)
        self._numbers = count(1)
        self._dropped = 0
        self._is_stalled = False

    def __repr__(self) -> str:
        return f"<Outlet fd={self._fd} dropped={self._dropped} stalled={self._is_stalled}>"

    def send(self, kind: Output, body: bytes) -> None:
        """Write a record, or drop it if the program does not read. Raises nothing."""
        if self._is_stalled:
            self._is_stalled = not _wait(self._fd, 0.0)
            if self._is_stalled:
                self._dropped += 1
                return
        if self._dropped:
            self.report_dropped()
        number = next(self._numbers) & 0xFFFFFFFF
        if self._send_parts(number, kind, memoryview(body)[:LARGEST]):
            self._note_sent(number)
        else:
            self._dropped += 1

    def report_dropped(self) -> None:
        """Send the number of records that were dropped since the last report, if there are any."""
        dropped, number = self._dropped, next(self._numbers) & 0xFFFFFFFF
        if dropped and self._send_parts(number, Output.DROPPED, memoryview(str(dropped).encode())):
            self._dropped -= dropped
            self._note_sent(number)

    def _send_parts(self, number: int, kind: Output, body: memoryview) -> bool:
        pid, size = os.getpid(), len(body)
        for start in range(0, size or 1, _MOST):
            part = body[start : start + _MOST]
            last = _LAST if start + _MOST >= size else 0
            if not self._write(_PART.pack(pid, number, kind | last, len(part)) + part):
                return False
        return True

    def _write(self, part: bytes) -> bool:
        deadline = None
        while True:
            try:
                if _identity(self._fd) != self._identity:  # a handler has closed all descriptors; this is another file
                    return False
                os.write(self._fd, part)
            except BlockingIOError:
                if self._is_stalled:
                    return False
                deadline = deadline or monotonic() + PATIENCE
                self._is_stalled = not _wait(self._fd, max(0.0, deadline - monotonic()))
            except OSError:  # the program is gone
                return False
            else:
                return True


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def _wait(fd: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(seconds * 1000))


class OutletReader:
    """The program's side: a pipe, of which `take_writer()` returns the end for the worker.

    `on_record` gets process id, kind and body of each record, in the order in which each thread of the worker made
    them. Raises OSError if descriptors have run out.
    """

    def __init__(self, on_record: Callable[[int, int, bytes], None]) -> None:
        self._on_record = on_record
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        self._rest = b""
        self._unfinished: dict[tuple[int, int], list[bytes]] = {}
        self.is_closed = False
        """Whether nothing more can come."""

    def __repr__(self) -> str:
        return f"<OutletReader {'closed' if self.is_closed else 'open'} unfinished={len(self._unfinished)}>"

    def fileno(self) -> int:
        """Return the descriptor that is readable when there are records."""
        return self._reader

    @property
    def writer(self) -> int:
        """The descriptor that the worker receives."""
        return self._writer

    def close_writer(self) -> None:
        """Close the worker's end in this process."""
        os.close(self._writer)
        self._writer = -1

    def receive(self) -> None:
        """Read and report what has arrived, up to one turn's limit."""
        budget = _TURN
        while budget > 0 and not self.is_closed:
            try:
                data = os.read(self._reader, _CHUNK)
            except BlockingIOError:
                return
            if not data or not self._parse(self._rest + data):
                self.is_closed = True
            budget -= len(data)

    def close(self) -> None:
        """Release the descriptors. Idempotent."""
        self.is_closed = True
        for fd in (self._reader, self._writer):
            with contextlib.suppress(OSError):
                if fd >= 0:
                    os.close(fd)
        self._reader = self._writer = -1

    def _parse(self, data: bytes) -> bool:
        """Report the records that are complete. Return False if this is not what an outlet writes."""
        at = 0
        while len(data) - at >= _PART.size:
            pid, number, kind, size = _PART.unpack_from(data, at)
            if size > _MOST or kind & ~_LAST not in _KINDS:
                return False
            end = at + _PART.size + size
            if end > len(data):
                break
            self._add(pid, number, kind, data[end - size : end])
            at = end
        self._rest = data[at:]
        return True

    def _add(self, pid: int, number: int, kind: int, part: bytes) -> None:
        if kind & _LAST:
            earlier = self._unfinished.pop((pid, number), None)
            self._on_record(pid, kind & ~_LAST, part if earlier is None else b"".join((*earlier, part)))
            return
        self._unfinished.setdefault((pid, number), []).append(part)
        if len(self._unfinished) > _UNFINISHED:
            del self._unfinished[next(iter(self._unfinished))]
