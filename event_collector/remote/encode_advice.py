"""Advice for values that cannot be encoded: it names the part that cannot, and what to use instead."""

import os
from collections.abc import Iterable
from typing import Any

import msgspec

from event_collector.encoding.tagged import CannotTravel, kinds

SUPPORTED = "dict, list, str, bytes, numbers, dataclass, msgspec.Struct, attrs"

_CONVERSIONS = (
    ("model_dump", ".model_dump()"),  # pydantic
    ("to_pydatetime", ".to_pydatetime()"),  # pandas
    ("to_dict", '.to_dict("list")'),
    ("_asdict", "._asdict()"),
)
"""Methods of classes that convert their objects into plain data, and how to call them."""


def advice(value: Any, error: Exception) -> str:
    """Return what to do about a value that cannot be encoded because of `error`; "" if that says it. Never raises."""
    if isinstance(error, CannotTravel):
        return ""
    if isinstance(error, UnicodeEncodeError):
        return "Use .encode(errors='surrogateescape') for text that is not valid Unicode"
    try:
        part = _culprit(value)
        place = "" if part is value else f" for the {type(part).__name__} in it"
        return f"Use {_instead_of(part)}{place}"
    except Exception:  # the value is an object of the application, which may raise anything
        return f"Use what msgspec encodes ({SUPPORTED})"


def _culprit(value: Any) -> Any:
    """Return the object within the value that cannot travel; the value itself if there is no such part."""
    found: list[Any] = []

    def note(part: Any) -> Any:
        if kinds.of(type(part)) is not None:
            return None
        found.append(part)
        raise TypeError

    try:
        msgspec.msgpack.encode(value, enc_hook=note)
    except Exception:
        return found[0] if found else value
    return value


def _instead_of(part: Any) -> str:
    kind = type(part)
    if callable(getattr(kind, "item", None)) and callable(getattr(kind, "tolist", None)):  # NumPy, pandas, PyTorch
        return ".tolist()" if getattr(part, "ndim", 0) else ".item()"
    for method, call in _CONVERSIONS:
        if callable(getattr(kind, method, None)):
            return call
    if kind.__module__ in _BUFFERS:
        return "bytes()"
    if isinstance(part, Iterable) and not isinstance(part, (str, dict, list, tuple)) and kind.__module__ == "builtins":
        return "list()"  # generators, ranges, views of dicts
    if isinstance(part, (os.PathLike, BaseException)) or kind.__module__ in _TEXTUAL:
        return "str()"
    return f"what msgspec encodes ({SUPPORTED}){_or_registration(kind)}"


def _or_registration(kind: type) -> str:
    if kind.__module__ == "builtins" or "<locals>" in kind.__qualname__:
        return ""
    return f" or register_type({kind.__qualname__}, encode=..., decode=...)"


def type_remedy(kind: type) -> str:
    """Return what to do about a class, in an annotation, none of whose objects can travel."""
    return f"annotate {kind.__qualname__} as what msgspec encodes ({SUPPORTED}){_or_registration(kind)}"


_BUFFERS = ("mmap", "ctypes")
"""Modules of the standard library whose objects have bytes."""

_TEXTUAL = ("ipaddress", "zoneinfo", "datetime", "re", "urllib.parse")
"""Modules of the standard library whose objects are best sent as text."""
