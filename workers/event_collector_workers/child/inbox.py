"""The input of a worker: messages from the socket, read into one buffer."""

from __future__ import annotations

import os
import socket
from io import BytesIO
from time import monotonic_ns
from typing import TYPE_CHECKING, Final, NoReturn

from event_collector_workers.child.signals import kill_group
from event_collector_workers.transport.frames import HEADER, WorkerSetup, decode_setup

if TYPE_CHECKING:
    from collections.abc import Callable

ORPHANED: Final = 113
"""Exit code of a worker whose parent is gone."""

_POLLING: Final = 100_000  # nanoseconds that an otherwise idle parent takes from a result to the next job
_BRISK: Final = 150_000  # nanoseconds: the same, and the wake-up of the processor

_yield: Final[Callable[[], None]] = getattr(os, "sched_yield", lambda: None)  # Windows has none


class Inbox:
    """Reads messages from the socket: blocking, into one buffer that is reused."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = memoryview(bytearray(256 * 1024))
        self._start = 0
        self._end = 0
        self._is_brisk = False  # whether the last wait was so short that polling would have ended it

    def __repr__(self) -> str:
        return f"<Inbox unread={self._end - self._start} brisk={self._is_brisk}>"

    def receive_setup(self) -> tuple[WorkerSetup, list[int]]:
        """Receive the first message, and the descriptors that come with it: page, lifeline, outlet, data, inlet."""
        data, fds, _, _ = socket.recv_fds(self._socket, HEADER.size, 5)
        while len(data) < HEADER.size:
            data += self._socket.recv(HEADER.size - len(data)) or bytes(exit_orphaned())
        _, size, _ = HEADER.unpack(data)
        return decode_setup(self.read(size)), fds

    def next(self, on_idle: Callable[[], None]) -> tuple[int, bytes, int]:
        """Return kind, head and blob size of the next message. Call `on_idle` before waiting for it."""
        if self._end - self._start < HEADER.size:
            self._fill(HEADER.size, on_idle)
        kind, size, blob_size = HEADER.unpack_from(self._buffer, self._start)
        self._start += HEADER.size
        return kind, self.read(size), blob_size

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes."""
        have = self._end - self._start
        if size <= have:
            start = self._start
            self._start = start + size
            return bytes(self._buffer[start : start + size])
        # getvalue() of a BytesIO over fresh memory returns that memory: a large value is copied only once.
        value = BytesIO(bytes(size))
        with value.getbuffer() as view:
            view[:have] = self._buffer[self._start : self._end]
            self._start = self._end = 0
            while have < size:
                have += self._socket.recv_into(view[have:]) or exit_orphaned()
        return value.getvalue()

    def _fill(self, least: int, on_idle: Callable[[], None]) -> None:
        have = self._end - self._start
        self._buffer[:have] = self._buffer[self._start : self._end]
        self._start, self._end = 0, have
        if not self._poll():
            on_idle()
            self._wait()
        while self._end < least:
            self._receive()

    def _receive(self, flags: int = 0) -> None:
        self._end += self._socket.recv_into(self._buffer[self._end :], 0, flags) or exit_orphaned()

    def _poll(self) -> bool:
        """Receive without waiting. Return whether there was anything."""
        try:
            self._receive(socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        return True

    def _wait(self) -> None:
        """Wait for bytes and receive them. If the last wait was short, poll for a while before blocking."""
        begun = monotonic_ns()
        if self._is_brisk:
            while monotonic_ns() - begun < _POLLING:
                if self._poll():
                    return
                _yield()  # the parent may be waiting for this very processor
        self._receive()
        self._is_brisk = monotonic_ns() - begun < _BRISK


def exit_orphaned() -> NoReturn:
    """End this process, and what its handlers have started: the program is gone."""
    kill_group(os.getpid())
    os._exit(ORPHANED)
