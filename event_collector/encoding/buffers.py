"""Large buffers of a message: they travel beside the encoded bytes, uncopied where there is one.

    encoder -> (body, [buffer, ...]) -> join() -> body, blob -> transport -> body, blob -> split() -> decoder

The transport delivers equal bytes. It may deliver another kind of buffer, such as a view of shared memory.
"""

from collections.abc import Sequence
from struct import Struct
from typing import Final

from event_collector_workers.job import Blob, Buffer, Copy

__all__ = ["COPIED_UP_TO", "LARGE", "Blob", "Buffer", "join", "split", "unchanging"]

LARGE: Final = 65_536
"""Minimum size in bytes of a buffer that travels beside its message. For smaller ones the separate frame costs more
than the copy."""

COPIED_UP_TO: Final = 64 << 20
"""Maximum size in bytes of what is copied when it is sent. A copy of more would hold up the event loop for too long."""

_SEVERAL: Final = b"\xc1"
"""The first byte of the body of a message with several buffers. No value of msgpack begins with it."""

_COUNT: Final = Struct("<cI")
_ALIGNMENT: Final = 64
"""Bytes. Arrays over addresses that are not aligned are slow."""


def join(body: bytes, buffers: Sequence[Buffer]) -> tuple[bytes, Blob | None]:
    """Return body and blob of a message with these buffers, each of which is contiguous, with items of one byte."""
    if len(buffers) < 2:
        return body, buffers[0] if buffers else None
    sizes = Struct(f"<{len(buffers)}Q").pack(*map(len, buffers))
    parts: list[Buffer] = []
    for buffer in buffers:
        parts += (buffer, bytes(-len(buffer) % _ALIGNMENT))
    return _COUNT.pack(_SEVERAL, len(buffers)) + sizes + body, parts


def split(body: Buffer, blob: Blob | None) -> tuple[Buffer, Sequence[Buffer]]:
    """Return the encoded bytes and the buffers of a message. Raises ValueError or struct.error if it is damaged."""
    if blob is None:
        return body, ()
    if body[:1] != _SEVERAL:
        return body, (b"".join(blob) if isinstance(blob, list) else blob,)
    _, count = _COUNT.unpack_from(body)
    sizes = Struct(f"<{count}Q")
    if isinstance(blob, list):  # as join() has made it
        return body[_COUNT.size + sizes.size :], blob[::2]
    buffers, start, view = [], 0, memoryview(blob)
    for size in sizes.unpack_from(body, _COUNT.size):
        buffers.append(view[start : start + size])
        start += size + -size % _ALIGNMENT
    if start != view.nbytes:
        raise ValueError(f"{view.nbytes} bytes came beside the message, and it needs {start}")
    return body[_COUNT.size + sizes.size :], buffers


def unchanging(blob: Blob, copy: Copy | None = None) -> Blob:
    """Return a blob that cannot change while it waits for a worker: a copy, unless it is of bytes or very large.

    `copy` makes the copy; None: it is in memory of this process alone.
    """
    parts: Sequence[Buffer] = blob if isinstance(blob, list) else [blob]
    if all(type(getattr(part, "obj", part)) is bytes for part in parts) or sum(map(len, parts)) > COPIED_UP_TO:
        return blob
    if copy is None:
        from event_collector_workers.segments.private_copies import private_copy  # workers seldom need it

        return private_copy(parts)
    return copy(parts)
