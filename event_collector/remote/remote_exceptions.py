"""Exceptions on the wire: taken apart in the worker, put together in the program.

They travel as data: the name of the class, the arguments of the constructor, attributes, notes, and the traceback as
text. An exception is rebuilt as its own class only if this program has already imported the class, the class is an
`Exception`, and the text is the same; otherwise it is replaced by a RemoteError with its class and text.
"""

import sys
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec

from event_collector.values.errors import RemoteError, RemoteTraceback

_PLAIN: Final = (type(None), bool, int, float, str, bytes)
_CONTAINERS: Final = (tuple, set, frozenset)
_SCALARS: Final = (bytearray, datetime, date, time, timedelta, Decimal, UUID)
_KINDS: Final = (*_CONTAINERS, *_SCALARS)
_EXCEPTION: Final = len(_KINDS)
"""The extension code of an exception. Lower codes are indices of `_KINDS`, whose types msgpack does not preserve."""

_NOT_EXCEPTIONS: Final = frozenset({("asyncio.exceptions", "CancelledError")})
"""Classes that are rebuilt although they are no `Exception`: a queue handles them as results."""

_encode: Final[Callable[[Any], bytes]] = msgspec.msgpack.Encoder().encode


class ExceptionParts(msgspec.Struct, array_like=True, tag=0):
    """An exception as data."""

    module: str
    qualname: str
    text: str
    notes: tuple[str, ...]
    trace: str
    construction: bytes | None
    """Arguments of the constructor, and attributes; None if they cannot be encoded exactly."""


def take_apart(exc: BaseException, trace: str = "") -> ExceptionParts:
    """Return the parts of any exception; `trace` is its traceback as text."""
    try:
        notes = getattr(exc, "__notes__", None)
    except Exception:  # a property of its class
        notes = None
    return ExceptionParts(
        *_full_name(exc),
        text_of(exc),
        tuple(text_of(note) for note in notes) if isinstance(notes, (list, tuple)) else (),
        _encodable(trace),
        _construction(exc),
    )


def bare_parts(exc: BaseException) -> ExceptionParts:
    """Return what is left of an exception whose parts cannot be read: the name of its class."""
    return ExceptionParts(*_full_name(exc), "its text and attributes cannot be read", (), "", None)


def put_together(parts: ExceptionParts) -> BaseException:
    """Return the exception, or a RemoteError in its place. Its cause is the traceback, if there is one."""
    exc = _rebuilt(parts)
    if exc is None:
        exc = RemoteError(f"{parts.module}.{parts.qualname}: {parts.text}")
    # Not by assignment, which a frozen dataclass refuses.
    if parts.notes:
        BaseException.__setattr__(exc, "__notes__", list(parts.notes))
    if parts.trace:
        BaseException.__setattr__(exc, "__cause__", RemoteTraceback(parts.trace))
    return exc


def presentable(exc: BaseException) -> BaseException:
    """Return an exception of a handler in another thread or process in a form that a coroutine here can raise.

    StopIteration becomes a RuntimeError, as it does when it leaves a coroutine. An exception that would end this
    program, such as SystemExit, becomes a RemoteError: it concerns only the thread or process that raised it.
    """
    if issubclass(type(exc), StopIteration):  # not isinstance(): __class__ may be a property that raises
        replacement: Exception = RuntimeError(f"handler raised StopIteration: {text_of(exc)}")
    elif isinstance(exc, Exception) or _full_name(exc) in _NOT_EXCEPTIONS:
        return exc
    else:
        replacement = RemoteError(f"{'.'.join(_full_name(exc))}: {text_of(exc)}")
    replacement.__cause__ = exc
    return replacement


def text_of(value: object) -> str:
    """Return the text of an exception or note in a form that can be encoded."""
    try:
        return _encodable(str(value))
    except Exception:  # its __str__ is broken
        return "(its text could not be made)"


def error_text(error: object) -> str:
    """Return the text of an error, for an exception preceded by the name of its class."""
    text = text_of(error)
    if not isinstance(error, BaseException):
        return text
    return f"{type(error).__qualname__}: {text}" if text else type(error).__qualname__


def _full_name(exc: BaseException) -> tuple[str, str]:
    cls = type(exc)
    # multiprocessing imports the main module of the program under this name.
    module = "__main__" if cls.__module__ == "__mp_main__" else str(cls.__module__)
    return _encodable(module), _encodable(cls.__qualname__)


def _encodable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


def _construction(exc: BaseException) -> bytes | None:
    """Encode the arguments that `pickle` would pass to the constructor, and the attributes that can be encoded."""
    try:
        reduced = exc.__reduce_ex__(2)
        maker, args, *rest = reduced if isinstance(reduced, tuple) else (None, ())
        if maker is not type(exc):
            args = exc.args
        attributes = rest[0] if rest and isinstance(rest[0], dict) else {}
        kept = {name: value for name, value in attributes.items() if _is_plain_name(name) and _is_encodable(value)}
        return _encode(_exact([list(args), kept]))
    except Exception:
        return None


def _is_encodable(value: Any) -> bool:
    try:
        _encode(_exact(value))
    except Exception:
        return False
    return True


def _exact(value: Any) -> Any:
    """Return the value in a form that is decoded to the same value with the same types; TypeError if there is none."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is list:
        return [_exact(item) for item in value]
    if kind is dict and all(type(name) in _PLAIN for name in value):
        return {name: _exact(item) for name, item in value.items()}
    if kind in _CONTAINERS:
        return _extension(_KINDS.index(kind), [_exact(item) for item in value])
    if kind is datetime and value.tzinfo is not None:  # msgpack would have it in UTC
        value = value.isoformat()
    if kind in _SCALARS:
        return _extension(_KINDS.index(kind), value)
    if isinstance(value, BaseException):
        return _extension(_EXCEPTION, take_apart(value))
    raise TypeError(f"{kind.__name__} would be decoded as another type")


def _extension(kind: int, value: Any) -> msgspec.msgpack.Ext:
    return msgspec.msgpack.Ext(kind, _encode(value))


def _from_extension(kind: int, data: memoryview) -> Any:
    if kind == _EXCEPTION:
        return put_together(msgspec.msgpack.decode(data, type=ExceptionParts))
    if not 0 <= kind < _EXCEPTION:
        raise ValueError(f"there is no extension {kind}")
    return msgspec.msgpack.decode(data, type=_KINDS[kind], ext_hook=_from_extension)


_decode: Final = msgspec.msgpack.Decoder(tuple[list[Any], dict[str, Any]], ext_hook=_from_extension).decode


def _rebuilt(parts: ExceptionParts) -> BaseException | None:
    cls = _known_class(parts)
    if cls is None or parts.construction is None:
        return None
    try:
        args, attributes = _decode(parts.construction)
        exc = cls(*args)
        vars(exc).update((name, value) for name, value in attributes.items() if _is_plain_name(name))
    except Exception:  # an odd constructor
        return None
    # Compares sorted letters, because sets are decoded in another order.
    return exc if type(exc) is cls and sorted(text_of(exc)) == sorted(parts.text) else None


def _known_class(parts: ExceptionParts) -> type[BaseException] | None:
    """Return the exception class, if this program has imported it and may instantiate it.

    Imports nothing and computes no attribute: that would run code by a name that comes from a worker.
    """
    found: Any = sys.modules.get(parts.module)
    for name in parts.qualname.split("."):
        found = getattr(found, "__dict__", {}).get(name)
    if not isinstance(found, type) or not issubclass(found, BaseException):
        return None
    allowed = issubclass(found, Exception) or (parts.module, parts.qualname) in _NOT_EXCEPTIONS
    return found if allowed else None


def _is_plain_name(name: object) -> bool:
    return isinstance(name, str) and not name.startswith("__")
