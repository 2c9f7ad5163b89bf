"""Kinds of tagged values for bytes, which travel beside the message if there are many.

They are loaded with the codec: a worker that can open no more files still answers with many bytes.
"""

from typing import Any

from event_collector.encoding.buffers import Buffer
from event_collector.encoding.tagged import Restorer, Tagger, ValueKind, kinds


def flat(data: Any) -> memoryview:
    """Return the bytes of a contiguous buffer, uncopied; those of another one are copied."""
    view = memoryview(data)
    if not view.c_contiguous:
        return memoryview(view.tobytes())
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")


def own_bytes(data: Buffer) -> bytes:
    """Return a buffer as bytes, uncopied if it is bytes."""
    return data if type(data) is bytes else bytes(data)


def _encode_view(view: memoryview, tagger: Tagger) -> Any:
    return view.format, view.shape, tagger.buffer(flat(view))


def _decode_view(content: Any, _: Restorer) -> memoryview:
    layout, shape, data = content
    view = memoryview(data).toreadonly()
    return view if layout == "B" and len(shape) == 1 else view.cast(layout, shape)


# msgspec knows bytes and bytearray, so these kinds are only asked for by name.
kinds.add(ValueKind("bytes", lambda value, tagger: tagger.buffer(value), lambda content, _: own_bytes(content)))
kinds.add(ValueKind("bytearray", lambda value, tagger: tagger.buffer(value), lambda content, _: bytearray(content)))
kinds.add(ValueKind("memoryview", _encode_view, _decode_view), memoryview)
