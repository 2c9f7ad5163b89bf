"""The input of one worker: a stream that becomes messages. Large values are received into their final memory."""

import mmap
from collections.abc import Callable, Generator
from io import BytesIO
from typing import Any, Final, TypeVar

from msgspec import DecodeError

from event_collector_workers.job import Buffer
from event_collector_workers.transport.frames import BLOB_FROM, HEADER, NO_BLOB, PLACE, VIEW, Kind, message

TURN: Final = 2 * 1024 * 1024
"""Bytes moved for one worker in each direction before control returns to the loop."""
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
            for at in range(0, len(view), TURN):
                if at:
                    if not self._is_copying:
                        self._is_copying = True
                        self._on_copying()
                    yield
                target[at : at + TURN] = view[at : at + TURN]
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
