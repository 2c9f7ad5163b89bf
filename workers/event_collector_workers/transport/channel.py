"""The parent's end of the socket to one worker: never blocks, reads whole messages, writes what fits."""

from __future__ import annotations

import array
import mmap
import socket
from collections import deque
from io import BytesIO
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from event_collector_workers.transport.frames import BLOB_FROM, HEADER, NO_BLOB, Kind, message

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Generator

    from event_collector_workers.job import Buffer

__all__ = ["Channel", "ProtocolError", "Reader"]

_SCRATCH: Final = 128 * 1024  # so that a value of 100 KB arrives in one piece
_TURN: Final = 2 * 1024 * 1024  # bytes moved for one worker, each way, before the loop gets its turn
_SOCKET_BUFFER: Final = 1024 * 1024  # asked for; the kernel grants what net.core.wmem_max allows
_HEAD_LIMIT: Final = 1 << 30
_BLOB_LIMIT: Final = 1 << 40
_KINDS: Final = frozenset(Kind)
_LOOK: Final = message(Kind.LOOK)


class ProtocolError(Exception):
    """The other side sent what no worker sends: something else in that process wrote to its socket."""


class Reader:
    """Turns chunks of a stream into messages; a large part is received straight into its place.

    While `target` is not None, the next bytes of the stream belong there: receive into it and call `filled`;
    otherwise receive anywhere and call `feed`. `on_announced` sees the kind and the head of a message with a blob
    before any of the blob is received, and may raise ProtocolError.
    """

    def __init__(
        self,
        on_message: Callable[[int, bytes, bytes | None], None],
        on_announced: Callable[[int, bytes], None] = lambda _kind, _head: None,
    ) -> None:
        self.target: memoryview | None = None
        self._on_message = on_message
        self._on_announced = on_announced
        self._chunk = memoryview(b"")
        self._between = False  # whether the next byte is the first of a message
        self._parser = self._parse()
        next(self._parser)

    def feed(self, chunk: memoryview) -> None:
        """Take the next bytes of the stream.

        Raises:
            ProtocolError: They are not what a worker sends.

        """
        if self._between and chunk == _LOOK:  # most chunks are
            self._on_message(Kind.LOOK, b"", None)
            return
        self._chunk = chunk
        next(self._parser)

    def filled(self, count: int) -> None:
        """Take note that the first `count` bytes of `target` have been received."""
        if self.target is not None:
            self.target = self.target[count:] or None
        if self.target is None:
            next(self._parser)

    def close(self) -> None:
        """Let go of a value that is half received."""
        self.target = None
        self._parser.close()

    def _parse(self) -> Generator[None, None, None]:
        while True:
            while not self._chunk:
                self._between = True
                yield
                self._between = False
            header = self._cut(HEADER.size) or (yield from self._gather(HEADER.size))
            kind, size, blob_size = HEADER.unpack(header)
            if kind not in _KINDS or size > _HEAD_LIMIT or not NO_BLOB <= blob_size <= _BLOB_LIMIT:
                raise ProtocolError(f"not a message: {kind:#x}, {size} and {blob_size} bytes")
            head = self._cut(size) or (yield from self._gather(size))
            blob = None
            if blob_size != NO_BLOB:
                self._on_announced(kind, head)
                blob = self._cut(blob_size) or (yield from self._gather(blob_size))
            self._on_message(kind, head, blob)

    def _cut(self, size: int) -> bytes:
        """Return the next bytes, if all of them are in the chunk; else none."""
        if size > len(self._chunk):
            return b""
        taken, self._chunk = self._chunk[:size], self._chunk[size:]
        return bytes(taken)

    def _gather(self, size: int) -> Generator[None, None, bytes]:
        try:
            # A BytesIO over fresh zeroed memory hands that very memory out again: nothing is copied twice,
            # and the memory is only touched as it is filled, so no single turn of the loop pays for all of
            # it.
            value = BytesIO(bytes(size))
        except MemoryError as error:
            raise ProtocolError(f"no memory for {size} bytes") from error
        with value.getbuffer() as view:
            have = 0
            while True:
                part, self._chunk = self._chunk[: size - have], self._chunk[size - have :]
                view[have : have + len(part)] = part
                have += len(part)
                if have == size:
                    break
                if size - have >= BLOB_FROM:
                    self.target = view[have:]
                    have = size
                yield
        return value.getvalue()


class Channel:
    """One connected socket in an event loop.

    `on_message` is called with kind, head and blob for each message, `on_announced` before a blob is received (see
    Reader), `on_lost` when nothing more can come. After a ProtocolError it can still send, and what comes is thrown
    away, so that the other side does not block.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        on_message: Callable[[int, bytes, bytes | None], None],
        on_announced: Callable[[int, bytes], None],
        on_lost: Callable[[Exception | None], None],
    ) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
        self._loop = loop
        self._socket = sock
        self._fd = sock.fileno()
        self._on_lost = on_lost
        self._outgoing: deque[memoryview] = deque()
        # Pages of its own, which go back to the system with the worker: on the heap, workers that come and go by the
        # thousand leave holes.
        self._scratch = memoryview(mmap.mmap(-1, _SCRATCH))
        self._reader = Reader(on_message, on_announced)
        self._received = 0
        self._garbled = False
        self._lost = False
        self.progress = 0.0
        """When some of what does not fit into the socket at once was sent last: monotonic seconds."""
        loop.add_reader(self._fd, self.receive)

    def send(self, head: bytes, blob: Buffer | None = None) -> None:
        """Send now as much as the socket takes, the rest when it takes more."""
        if self._lost:
            return
        if blob is None and not self._outgoing:
            try:
                sent = self._socket.send(head)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                self._lose(error)
                return
            if sent == len(head):
                return
            self._outgoing.append(memoryview(head)[sent:])
            self._loop.add_writer(self._fd, self._flush)
            return
        is_first = not self._outgoing
        self._outgoing.append(memoryview(head))
        if blob is not None:
            self._outgoing.append(memoryview(blob).cast("B"))
        if is_first:
            self._write()
            if self._outgoing:
                self._loop.add_writer(self._fd, self._flush)

    def send_with_descriptor(self, head: bytes, fd: int) -> None:
        """Send the first message, which carries a descriptor.

        Raises:
            OSError: The socket does not take it.

        """
        attached = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))
        size = self._socket.sendmsg([head[: HEADER.size]], [attached])
        self.send(head[size:])

    @property
    def unsent(self) -> bool:
        """Whether something still waits for the socket to take it."""
        return bool(self._outgoing)

    def receive(self) -> None:
        """Read what is there, up to a turn's worth, and hand over the messages in it."""
        budget = _TURN
        while budget > 0 and not self._lost:
            direct = self._reader.target
            # One call reads for as long as the worker keeps writing: only the size bounds its time.
            target = self._scratch if direct is None else direct[:budget]
            size = len(target)
            try:
                count = self._socket.recv_into(target)
            except BlockingIOError:
                return
            except OSError as error:
                self._lose(error)
                return
            if not count:
                self._lose(None)
                return
            budget -= count
            self._received += count
            if direct is not None:
                # A view that is still there when the value is complete would make BytesIO copy it.
                target.release()
                del direct
                self._advance(self._reader.filled, count)
            else:
                self._advance(self._reader.feed, target[:count])
            if count < size:
                return

    def receive_all(self) -> None:
        """Read to the end, or until nothing more is there: for a process that has ended."""
        while not self._lost:
            before = self._received
            self.receive()
            if self._received == before:
                return

    def close(self) -> None:
        """Close the socket; nothing is called afterwards. Idempotent."""
        self._detach()
        self._outgoing.clear()
        self._reader.close()
        self._socket.close()

    def _advance(self, step: Callable[[Any], None], what: int | memoryview) -> None:
        if self._garbled:
            return
        try:
            step(what)
        except ProtocolError as error:
            self._garbled = True
            self._reader.close()
            self._on_lost(error)

    def _flush(self) -> None:
        self._write()
        if not self._outgoing and not self._lost:
            self._loop.remove_writer(self._fd)

    def _write(self) -> None:
        """Send what the socket takes, up to a turn's worth; a small part together with what follows it."""
        outgoing, budget = self._outgoing, _TURN
        while outgoing and budget > 0:
            # No more than the budget in one call, for the same reason as in receive.
            parts = [part[:budget] for part in islice(outgoing, 2)]
            try:
                sent = self._socket.sendmsg(parts)
            except BlockingIOError:
                return
            except OSError as error:
                self._lose(error)
                return
            budget -= sent
            self.progress = monotonic()
            while outgoing and sent >= len(outgoing[0]):
                sent -= len(outgoing.popleft())
            if sent:
                outgoing[0] = outgoing[0][sent:]

    def _lose(self, error: Exception | None) -> None:
        self._detach()
        self._outgoing.clear()
        self._on_lost(error)

    def _detach(self) -> None:
        if not self._lost:
            self._lost = True
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
