"""Kinds of tagged values from the standard library."""

import array
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path, PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any, Final

from event_collector.encoding.byte_kinds import flat
from event_collector.encoding.tagged import BigInteger, Restorer, Tagger, ValueKind, kinds

_PATHS: Final[dict[str, type[PurePath]]] = {
    cls.__name__: cls for cls in (PosixPath, WindowsPath, PurePosixPath, PureWindowsPath)
}


def _encode_integer(stand_in: BigInteger, _: Tagger) -> bytes:
    value = stand_in.value
    return value.to_bytes(value.bit_length() // 8 + 1, signed=True)


def _encode_path(path: PurePath, _: Tagger) -> Any:
    return type(path).__name__, str(path).encode("utf-8", "surrogateescape")


def _decode_path(content: Any, _: Restorer) -> PurePath:
    return _PATHS[content[0]](content[1].decode("utf-8", "surrogateescape"))


def _as_path(kind: Any, value: Any) -> Any:
    return kind(value) if isinstance(value, (str, os.PathLike)) else value


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
kinds.add(ValueKind("array", _encode_array, _decode_array), array.array)
kinds.add(ValueKind("path", _encode_path, _decode_path, _as_path), PurePath, Path, *_PATHS.values())
