"""Exceptions on the wire: taken apart where they were raised, put together where they are needed.

They travel as data: the class by name, what the constructor takes, the attributes, notes, and the traceback as text.
An exception is put together as its own class only when this program has imported that class already, it is an
`Exception`, and it comes out with the text it had; otherwise it is a RemoteError that names it.
"""

import sys
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec

from event_collector.values.errors import RemoteError, RemoteTraceback

__all__ = ["ExceptionParts", "error_text", "presentable", "put_together", "take_apart", "text_of"]

_AS_THEY_ARE: Final = (type(None), bool, int, float, str, bytes)
_CONTAINERS: Final = (tuple, set, frozenset)
_SCALARS: Final = (bytearray, datetime, date, time, timedelta, Decimal, UUID)
_KINDS: Final = (*_CONTAINERS, *_SCALARS)
_EXCEPTION: Final = len(_KINDS)
"""The number that marks an exception; those below it mark what msgpack by itself would give another type."""

_NOT_EXCEPTIONS: Final = frozenset({("asyncio.exceptions", "CancelledError")})
"""Those that may be put together although they are no `Exception`: a queue handles them as results."""

_encode: Final[Callable[[Any], bytes]] = msgspec.msgpack.Encoder().encode


class ExceptionParts(msgspec.Struct, array_like=True, tag=0):
    """An exception as data."""

    module: str
    qualname: str
    text: str
    notes: tuple[str, ...]
    trace: str
    construction: bytes | None
    """Arguments of the constructor and attributes; None when they cannot be had exactly."""


def take_apart(exc: BaseException, trace: str = "") -> ExceptionParts:
    """Return the parts of an exception, whatever is odd about it; `trace` is its traceback as text."""
    notes = getattr(exc, "__notes__", None)
    return ExceptionParts(
        *_full_name(exc),
        text_of(exc),
        tuple(text_of(note) for note in notes) if isinstance(notes, (list, tuple)) else (),
        _encodable(trace),
        _construction(exc),
    )


def put_together(parts: ExceptionParts) -> BaseException:
    """Return the exception, or a RemoteError in its place; its cause is the traceback where there is one."""
    exc = _rebuilt(parts)
    if exc is None:
        exc = RemoteError(f"{parts.module}.{parts.qualname}: {parts.text}")
    for note in parts.notes:
        exc.add_note(note)
    if parts.trace:
        exc.__cause__ = RemoteTraceback(parts.trace)
    return exc


def presentable(exc: BaseException) -> BaseException:
    """Return what leaves a handler elsewhere as something that a coroutine may let out here.

    A StopIteration becomes a RuntimeError, as when it leaves a coroutine. What would end this program, such as
    SystemExit, becomes a RemoteError: it was meant for the thread or process that raised it.
    """
    if isinstance(exc, StopIteration):
        shown: Exception = RuntimeError(f"handler raised StopIteration: {text_of(exc)}")
    elif isinstance(exc, Exception) or _full_name(exc) in _NOT_EXCEPTIONS:
        return exc
    else:
        shown = RemoteError(f"{'.'.join(_full_name(exc))}: {text_of(exc)}")
    shown.__cause__ = exc
    return shown


def text_of(value: object) -> str:
    """Return the text of an exception or note, such that it can be encoded."""
    try:
        return _encodable(str(value))
    except Exception:  # a broken __str__ must not cost the event its error
        return "(its text could not be made)"


def error_text(error: object) -> str:
    """Return an error as text: for an exception the name of its class and what it says."""
    if not isinstance(error, BaseException):
        return text_of(error)
    said = text_of(error)
    return f"{type(error).__qualname__}: {said}" if said else type(error).__qualname__


def _full_name(exc: BaseException) -> tuple[str, str]:
    """Return module and qualified name of an exception's class."""
    cls = type(exc)
    # In a worker the program's main module has another name.
    module = "__main__" if cls.__module__ == "__mp_main__" else str(cls.__module__)
    return _encodable(module), _encodable(cls.__qualname__)


def _encodable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


def _construction(exc: BaseException) -> bytes | None:
    """Encode what `pickle` would call the constructor with, and the attributes that can be encoded."""
    try:
        made_by, args, *rest = _reduced(exc)
        if made_by is not type(exc):
            args = exc.args
        attributes = rest[0] if rest and isinstance(rest[0], dict) else {}
        kept = {
            name: value for name, value in attributes.items() if _is_plain_name(name) and _is_encodable(value)
        }
        return _encode(_exact([list(args), kept]))
    except Exception:
        return None


def _reduced(exc: BaseException) -> tuple[Any, ...]:
    reduced = exc.__reduce_ex__(2)
    return reduced if isinstance(reduced, tuple) else (None, ())


def _is_encodable(value: Any) -> bool:
    try:
        _encode(_exact(value))
    except Exception:
        return False
    return True


def _exact(value: Any) -> Any:
    """Return the value in a form that comes back as it was, type for type.

    Raises:
        TypeError: There is none.

    """
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return value
    if kind is list:
        return [_exact(item) for item in value]
    if kind is dict and all(type(name) in _AS_THEY_ARE for name in value):
        return {name: _exact(item) for name, item in value.items()}
    if kind in _CONTAINERS:
        return _extension(_KINDS.index(kind), [_exact(item) for item in value])
    if kind in _SCALARS:
        return _extension(_KINDS.index(kind), value)
    if isinstance(value, BaseException):
        return _extension(_EXCEPTION, take_apart(value))
    raise TypeError(f"{kind.__name__} would come back as something else")


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
    # The same letters are enough: sets come back in another order.
    return exc if type(exc) is cls and sorted(text_of(exc)) == sorted(parts.text) else None


def _known_class(parts: ExceptionParts) -> type[BaseException] | None:
    """Return the class, if this program has it and may make one of it.

    Nothing is imported and no attribute is computed: that would run code that a worker has named.
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
