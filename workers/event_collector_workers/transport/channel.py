"""The parent's end of the socket to one worker: non-blocking, reads whole messages, writes as much as fits."""

import asyncio
import mmap
import socket
from collections import deque
from collections.abc import Callable, Generator, Sequence
from io import BytesIO
from itertools import islice
from time import monotonic
from typing import Any, Final, TypeVar

from msgspec import DecodeError

from event_collector_workers.job import Blob, Buffer
from event_collector_workers.transport.filling import Filling
from event_collector_workers.transport.frames import BLOB_FROM, HEADER, NO_BLOB, PLACE, VIEW, Kind, message, parts_of

_SCRATCH: Final = 128 * 1024  # bytes; a value of 100 KB arrives in one piece
_TURN: Final = 2 * 1024 * 1024  # bytes moved for one worker in each direction before control returns to the loop
_COPIED: Final = 2  # bytes of shared memory that are copied in the time of one through a socket
_SOCKET_BUFFER: Final = 1024 * 1024  # requested bytes; the kernel grants at most net.core.wmem_max
_HEAD_LIMIT: Final = 1 << 30
_BLOB_LIMIT: Final = 1 << 40
_KINDS: Final = frozenset(Kind)
_LOOK: Final = message(Kind.LOOK)


class ProtocolError(Exception):
    """The other side sent no valid message: other code in that process wrote to its socket."""


class Reader:
    """Turns chunks of a stream into messages. Large parts are received straight into their final memory.

    While `target` is not None, receive the next bytes of the stream into it and call `filled`. Otherwise receive into
    any buffer and call `feed`. `on_announced` gets the kind and the head of a message with a blob before any of the
    blob is received, and may raise ProtocolError. `open_segment` gets slot, lease and size of a blob in a segment.

    A large value is copied out of its segment in several turns. `on_copying` is called when that begins. Then call
    `go_on`, and nothing else, until it returns False.
    """

    def __init__(
        self,
        on_message: Callable[[int, bytes, Buffer | None], None],
        on_announced: Callable[[int, bytes], None] = lambda _kind, _head: None,
        open_segment: Callable[[int, int, int], memoryview] = lambda _slot, _lease, _size: memoryview(b""),
        on_copying: Callable[[], None] = lambda: None,
    ) -> None:
        self.target: memoryview | None = None
        self._open_segment, self._on_copying = open_segment, on_copying
        self._is_copying = False
        self._on_message = on_message
        self._on_announced = on_announced
        self._chunk = memoryview(b"")
        self._is_between = False  # whether the next byte is the first of a message
        self._parser = self._parse()
        next(self._parser)

    def feed(self, chunk: memoryview) -> None:
        """Process the next bytes of the stream. Raises ProtocolError if they are no valid message."""
        if self._is_between and chunk == _LOOK:  # most chunks are this message
            self._on_message(Kind.LOOK, b"", None)
            return
        self._chunk = chunk
        next(self._parser)

    def filled(self, count: int) -> None:
        """Process the first `count` bytes of `target`, which have been received."""
        if self.target is not None:
            self.target = self.target[count:] or None
        if self.target is None:
            next(self._parser)

    def go_on(self, _: None = None) -> bool:
        """Copy some more of a value. Return whether there is still more to copy."""
        next(self._parser)
        return self._is_copying

    def close(self) -> None:
        """Drop a partly received value."""
        self._is_copying = False
        self.target = None
        self._parser.close()

    def _parse(self) -> Generator[None, None, None]:
        while True:
            while not self._chunk:
                self._is_between = True
                yield
                self._is_between = False
            header = self._cut(HEADER.size) or (yield from self._gather(HEADER.size))
            kind, size, blob_size = HEADER.unpack(header)
            if kind not in _KINDS or size > _HEAD_LIMIT:
                raise ProtocolError(f"not a message: {kind:#x}, {size} and {blob_size} bytes")
            head = self._cut(size) or (yield from self._gather(size))
            if blob_size == NO_BLOB:
                self._on_message(kind, head, None)
            elif blob_size < NO_BLOB:
                yield from self._take_out(kind, head, NO_BLOB - 1 - blob_size)
            else:
                yield from self._take_in(kind, head, blob_size & ~VIEW, is_view=bool(blob_size & VIEW))

    # These forget the value when it is delivered: a segment is in use for as long as anything refers to it.

    def _take_in(self, kind: int, head: bytes, size: int, *, is_view: bool) -> Generator[None, None, None]:
        """Receive the value of a message."""
        if size > _BLOB_LIMIT:
            raise ProtocolError(f"not a message: a value of {size} bytes")
        self._on_announced(kind, head)
        if is_view:
            view = _new(_pages, size)
            yield from self._fill(view)
            self._on_message(kind, head, view)
            return
        self._on_message(kind, head, self._cut(size) or (yield from self._gather(size)))

    def _take_out(self, kind: int, head: bytes, slot: int) -> Generator[None, None, None]:
        """Take the value of a message out of a segment."""
        if len(head) < PLACE.size:
            raise ProtocolError(f"not a message: a head of {len(head)} bytes for a value in a segment")
        lease, size, is_bytes = PLACE.unpack_from(head)
        head = head[PLACE.size :]
        self._on_announced(kind, head)
        try:
            view = self._open_segment(slot, lease, size)
        except ValueError as error:
            raise ProtocolError(str(error)) from error
        self._on_message(kind, head, (yield from self._copy(view)) if is_bytes else view)

    def _copy(self, view: memoryview) -> Generator[None, None, bytes]:
        """Return a value as bytes. New memory costs more than the copy."""
        value = BytesIO(_new(bytes, len(view)))
        with value.getbuffer() as target:
            for at in range(0, len(view), _TURN):
                if at:
                    if not self._is_copying:
                        self._is_copying = True
                        self._on_copying()
                    yield
                target[at : at + _TURN] = view[at : at + _TURN]
        self._is_copying = False
        return value.getvalue()

    def _cut(self, size: int) -> bytes:
        """Return the next `size` bytes, or none unless the chunk holds all of them."""
        if size > len(self._chunk):
            return b""
        taken, self._chunk = self._chunk[:size], self._chunk[size:]
        return bytes(taken)

    def _gather(self, size: int) -> Generator[None, None, bytes]:
        value = BytesIO(_new(bytes, size))
        with value.getbuffer() as view:
            yield from self._fill(view)
        return value.getvalue()

    def _fill(self, view: memoryview) -> Generator[None, None, None]:
        size, have = len(view), 0
        while True:
            part, self._chunk = self._chunk[: size - have], self._chunk[size - have :]
            view[have : have + len(part)] = part
            have += len(part)
            if have == size:
                return
            if size - have >= BLOB_FROM:
                self.target = view[have:]
                have = size
            yield


_T = TypeVar("_T")


def _new(make: Callable[[int], _T], size: int) -> _T:
    """Return new memory: bytes for a BytesIO, whose getvalue() returns the same memory without a copy, or pages.

    It is touched only as it is filled, so no single turn of the loop pays for all of it.
    """
    try:
        return make(size)
    except (MemoryError, OSError) as error:
        raise ProtocolError(f"no memory for {size} bytes") from error


def _pages(size: int) -> memoryview:
    return memoryview(mmap.mmap(-1, max(1, size), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))[:size]


def decoded(decode: Callable[[bytes], Any], head: bytes) -> Any:
    """Decode the head of a result or a part. Raises ProtocolError."""
    try:
        return decode(head)
    except DecodeError as error:
        raise ProtocolError(f"not a result: {error}") from error


class Channel:
    """One connected socket in an event loop.

    `on_message` is called with kind, head and blob of each message, `on_announced` and `open_segment` before a blob is
    received (see Reader), `on_lost` when nothing more can be received. After a ProtocolError the channel still sends,
    and discards its input, so that the other side does not block.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        on_message: Callable[[int, bytes, Buffer | None], None],
        on_announced: Callable[[int, bytes], None],
        open_segment: Callable[[int, int, int], memoryview],
        on_lost: Callable[[Exception | None], None],
    ) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
        self._loop = loop
        self._socket = sock
        self._fd = sock.fileno()
        self._on_lost = on_lost
        self._outgoing: deque[memoryview | Filling] = deque()
        # Separate pages return to the system with the worker. On the heap, thousands of workers would leave holes.
        self._scratch = memoryview(mmap.mmap(-1, _SCRATCH))
        self._reader = Reader(on_message, on_announced, open_segment, self._pause)
        self._received = 0
        self._is_garbled = False
        self._is_lost = False
        self._is_deaf = False  # nothing is received: the channel is lost, or a value is being copied
        self._is_mute = False  # nothing can be sent; what the other side has sent before is still received
        self.progress = 0.0
        """Monotonic seconds of the last partial write of queued output."""
        loop.add_reader(self._fd, self.receive)

    def __repr__(self) -> str:
        state = "lost" if self._is_lost else "garbled" if self._is_garbled else "open"
        unsent = sum(map(len, self._outgoing))
        return f"<Channel {state} fd={self._fd} received={self._received} unsent={unsent}>"

    def send(self, head: bytes, blob: Blob | None = None) -> None:
        """Send as much as the socket accepts now, and the rest later."""
        if self._is_lost or self._is_mute:
            return
        is_first = not self._outgoing
        if blob is None and is_first:  # in most cases the socket accepts all of it
            try:
                head = head[self._socket.send(head) :]
            except BlockingIOError:
                pass
            except OSError:
                self._is_mute = True
                return
            if not head:
                return
        self._outgoing.append(memoryview(head))
        if blob is not None:
            self._outgoing.extend(parts_of(blob))
        if is_first:
            self._begin()

    def send_filled(self, filling: Filling) -> None:
        """Copy a value into its segment, then send the message. The next messages wait for it."""
        if self._is_lost or self._is_mute:
            return
        self._outgoing.append(filling)
        if len(self._outgoing) == 1:
            self._begin()

    def _begin(self) -> None:
        self._write()
        if self._outgoing:
            self._loop.add_writer(self._fd, self._flush)

    def send_with_descriptors(self, head: bytes, fds: Sequence[int]) -> None:
        """Send the first message, which carries descriptors. Raises OSError if the socket does not accept it."""
        size = socket.send_fds(self._socket, [head[: HEADER.size]], fds)
        self.send(head[size:])

    @property
    def has_unsent(self) -> bool:
        """True if output is waiting for the socket to accept it."""
        return bool(self._outgoing)

    def receive(self) -> None:
        """Read the available bytes, up to one turn's limit, and dispatch the messages in them."""
        budget = _TURN
        while budget > 0 and not self._is_deaf:
            direct = self._reader.target
            # One call reads for as long as the worker keeps writing; only the size limits its duration.
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
                # A view that exists when the value is complete would make BytesIO copy it.
                target.release()
                del direct
                self._advance(self._reader.filled, count)
            else:
                self._advance(self._reader.feed, target[:count])
            if count < size:
                return

    def receive_all(self) -> None:
        """Read everything that is available, after the process has ended."""
        while not self._is_lost:
            before = self._received
            self.receive()
            if self._is_deaf and not self._is_lost:
                self._go_on_copying()
            elif self._received == before:
                return

    def _pause(self) -> None:
        """Receive nothing while a value is being copied."""
        self._is_deaf = True
        self._loop.remove_reader(self._fd)
        self._loop.call_soon(self._go_on_copying)

    def _go_on_copying(self) -> None:
        if self._is_lost or not self._is_deaf:
            return
        if self._advance(self._reader.go_on, None):
            self._loop.call_soon(self._go_on_copying)
            return
        self._is_deaf = False
        self._loop.add_reader(self._fd, self.receive)
        self.receive()

    def close(self) -> None:
        """Close the socket. No callback is called afterwards. Idempotent."""
        self._detach()
        self._outgoing.clear()
        self._reader.close()
        self._socket.close()

    def _advance(self, step: Callable[[Any], Any], argument: int | memoryview | None) -> Any:
        if self._is_garbled:
            return None
        try:
            return step(argument)
        except ProtocolError as error:
            self._is_garbled = True
            self._reader.close()
            self._on_lost(error)
            return None

    def _flush(self) -> None:
        self._write()
        if not self._outgoing and not self._is_lost:
            self._loop.remove_writer(self._fd)

    def _write(self) -> None:
        """Send what the socket accepts, up to one turn's limit, two parts in each call."""
        outgoing, budget = self._outgoing, _TURN
        while outgoing and budget > 0:
            # At most the budget in one call, for the same reason as in receive.
            parts = [part[:budget] for part in islice(outgoing, 2) if not isinstance(part, Filling)]
            if isinstance(outgoing[0], Filling):
                budget -= self._fill(outgoing[0], budget * _COPIED) // _COPIED
                continue
            try:
                sent = self._socket.sendmsg(parts)
            except BlockingIOError:
                return
            except OSError:
                self._is_mute = True
                outgoing.clear()
                return
            budget -= sent
            self.progress = monotonic()
            while outgoing and sent >= len(outgoing[0]):
                sent -= len(outgoing.popleft())
            if sent:
                outgoing[0] = outgoing[0][sent:]

    def _fill(self, filling: Filling, budget: int) -> int:
        """Copy some of a value into its segment. Once it is there, its message takes its place."""
        try:
            count = filling.go_on(budget)
        except OSError:
            self._outgoing.popleft()
            self._outgoing.extendleft(reversed(filling.give_up()))
            return 0
        self.progress = monotonic()
        if filling.is_over:
            self._outgoing[0] = memoryview(filling.message)
        return count

    def _lose(self, error: Exception | None) -> None:
        self._detach()
        self._outgoing.clear()
        self._on_lost(error)

    def _detach(self) -> None:
        if not self._is_lost:
            self._is_lost = self._is_deaf = True
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
