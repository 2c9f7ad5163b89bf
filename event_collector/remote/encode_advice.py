"""Advice for values that cannot be encoded: it names the part that cannot, and what to use instead."""

import os
from collections.abc import Iterable
from typing import Any

import msgspec

SUPPORTED = "dict, list, str, bytes, numbers, dataclass, msgspec.Struct, attrs"

_CONVERSIONS = (
    ("model_dump", ".model_dump()"),  # pydantic
    ("to_pydatetime", ".to_pydatetime()"),  # pandas
    ("to_dict", '.to_dict("list")'),
    ("_asdict", "._asdict()"),
)
"""Methods of classes that convert their objects into plain data, and how to call them."""


def advice(value: Any, error: Exception) -> str:
    """Return what to do about a value that msgspec cannot encode because of `error`. Never raises."""
    if isinstance(error, OverflowError):
        return "Use str() for integers of more than 64 bits"
    if isinstance(error, UnicodeEncodeError):
        return "Use .encode(errors='surrogateescape') for text that is not valid Unicode"
    try:
        part = _culprit(value)
        place = "" if part is value else f" for the {type(part).__name__} in it"
        return f"Use {_instead_of(part)}{place}"
    except Exception:  # the value is an object of the application, which may raise anything
        return f"Use what msgspec encodes ({SUPPORTED})"


def _culprit(value: Any) -> Any:
    """Return the object within the value that msgspec does not support; the value itself if there is no such part."""
    found: list[Any] = []

    def note(part: Any) -> Any:
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
    if isinstance(part, memoryview):
        return "bytes()"
    if isinstance(part, Iterable) and not isinstance(part, (str, dict, list, tuple)) and kind.__module__ == "builtins":
        return "list()"  # generators, ranges, views of dicts
    if isinstance(part, (os.PathLike, BaseException, complex)) or kind.__module__ in _TEXTUAL:
        return "str()"
    return f"what msgspec encodes ({SUPPORTED})"


_TEXTUAL = ("fractions", "ipaddress", "pathlib", "zoneinfo", "datetime", "re", "urllib.parse")
"""Modules of the standard library whose objects are best sent as text."""
