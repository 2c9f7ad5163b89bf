"""Kinds of tagged values from the standard library."""

import array
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path, PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any, Final

from event_collector.encoding.buffers import Buffer
from event_collector.encoding.tagged import BigInteger, Restorer, Tagger, ValueKind, kinds

_PATHS: Final[dict[str, type[PurePath]]] = {
    cls.__name__: cls for cls in (PosixPath, WindowsPath, PurePosixPath, PureWindowsPath)
}


def flat(data: Any) -> memoryview:
    """Return the bytes of a contiguous buffer, uncopied; those of another one are copied."""
    view = memoryview(data)
    if not view.c_contiguous:
        return memoryview(view.tobytes())
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")


def own_bytes(data: Buffer) -> bytes:
    """Return a buffer as bytes, uncopied if it is bytes."""
    return data if type(data) is bytes else bytes(data)


def _encode_integer(stand_in: BigInteger, _: Tagger) -> bytes:
    value = stand_in.value
    return value.to_bytes(value.bit_length() // 8 + 1, signed=True)


def _encode_path(path: PurePath, _: Tagger) -> Any:
    return type(path).__name__, str(path).encode("utf-8", "surrogateescape")


def _decode_path(content: Any, _: Restorer) -> PurePath:
    return _PATHS[content[0]](content[1].decode("utf-8", "surrogateescape"))


def _as_path(kind: Any, value: Any) -> Any:
    return kind(value) if isinstance(value, (str, os.PathLike)) else value


def _encode_view(view: memoryview, tagger: Tagger) -> Any:
    return view.format, view.shape, tagger.buffer(flat(view))


def _decode_view(content: Any, _: Restorer) -> memoryview:
    layout, shape, data = content
    view = memoryview(data).toreadonly()
    return view if layout == "B" and len(shape) == 1 else view.cast(layout, shape)


def _encode_array(values: "array.array[Any]", tagger: Tagger) -> Any:
    return values.typecode, values.itemsize, tagger.buffer(flat(values))


def _decode_array(content: Any, _: Restorer) -> "array.array[Any]":
    typecode, itemsize, data = content
    values: array.array[Any] = array.array(typecode)
    if values.itemsize != itemsize:
        raise ValueError(f"an array of type {typecode!r} has items of {itemsize} bytes where it comes from")
    values.frombytes(data)
    return values


def _simple(name: str, cls: type, encode: Callable[[Any], Any], convert: Callable[[Any, Any], Any] | None) -> None:
    """Add the kind of a class whose objects are made of a few arguments."""
    kinds.add(ValueKind(name, lambda value, _: encode(value), lambda content, _: cls(*content), convert), cls)


def _as_number(kind: Any, value: Any) -> Any:
    return kind(value) if type(value) in (int, float, str) else value


_simple("complex", complex, lambda value: (value.real, value.imag), _as_number)
_simple("fraction", Fraction, lambda value: (value.numerator, value.denominator), _as_number)
_simple("range", range, lambda value: (value.start, value.stop, value.step), None)
_simple("slice", slice, lambda value: (value.start, value.stop, value.step), None)

kinds.add(ValueKind("int", _encode_integer, lambda content, _: int.from_bytes(content, signed=True)), BigInteger)
# msgspec knows bytes and bytearray, so these kinds are only asked for by name.
kinds.add(ValueKind("bytes", lambda value, tagger: tagger.buffer(value), lambda content, _: own_bytes(content)))
kinds.add(ValueKind("bytearray", lambda value, tagger: tagger.buffer(value), lambda content, _: bytearray(content)))
kinds.add(ValueKind("memoryview", _encode_view, _decode_view), memoryview)
kinds.add(ValueKind("array", _encode_array, _decode_array), array.array)
kinds.add(ValueKind("path", _encode_path, _decode_path, _as_path), PurePath, Path, *_PATHS.values())
