"""Exceptions on the wire: taken apart in the worker, put together in the program.

They travel as data: the names of the class and its bases, the arguments of the constructor, attributes, notes, and the
traceback as text. An exception is rebuilt as its own class only if this program has already imported the class, the
class is an `Exception`, and the text is the same; otherwise it is replaced by a RemoteError with its class and text.

Exceptions may refer to each other in any way, and be of any size. What is sent of them is bounded.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final
from uuid import UUID

import msgspec

from event_collector.encoding.classes import find_imported
from event_collector.values.errors import RemoteError, RemoteTraceback
from event_collector_workers.error_texts import LONGEST_TEXT, class_names, encodable, full_name, text_of

MOST_BYTES: Final = 1024 * 1024
"""Maximum size of the arguments and attributes of an exception, with the exceptions in them. Attributes that exceed it
are left out."""

_DEEPEST: Final = 20  # levels of containers and exceptions within an exception
_EXCEPTION_SIZE: Final = (
    1000  # bytes that an exception counts as, besides its content: for names, and for the time it takes
)
_ITEM: Final = 8  # bytes that an item of a container counts as, besides the length of a text
_PLAIN: Final = (type(None), bool, int, float, str, bytes)
_CONTAINERS: Final = (tuple, set, frozenset)
_SCALARS: Final = (bytearray, datetime, date, time, timedelta, Decimal, UUID)
_SIZED: Final = (str, bytes, bytearray)
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
    classes: tuple[str, ...] = ()
    """Names of the class and of its bases, with their modules."""


def take_apart(exc: BaseException, trace: str = "") -> ExceptionParts:
    """Return the parts of any exception; `trace` is its traceback as text."""
    return _Writer().take_apart(exc, trace)


def bare_parts(exc: BaseException) -> ExceptionParts:
    """Return what is left of an exception whose parts cannot be read: the name of its class."""
    return ExceptionParts(*full_name(type(exc)), "its text and attributes cannot be read", (), "", None)


def put_together(parts: ExceptionParts) -> BaseException:
    """Return the exception, or a RemoteError in its place. Its cause is the traceback, if there is one."""
    exc = _rebuilt(parts)
    if exc is None:
        exc = RemoteError(f"{parts.module}.{parts.qualname}: {parts.text}")
        exc.classes = parts.classes
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
    kind = type(exc)  # not isinstance(): __class__ may be a property that raises
    if issubclass(kind, StopIteration):
        replacement: Exception = RuntimeError(f"handler raised StopIteration: {text_of(exc)}")
    elif issubclass(kind, Exception) or full_name(kind) in _NOT_EXCEPTIONS:
        return exc
    else:
        replacement = RemoteError(f"{'.'.join(full_name(kind))}: {text_of(exc)}")
        replacement.classes = class_names(kind)
    replacement.__cause__ = exc
    return replacement


class _Writer:
    """Encodes an exception and the exceptions in it, within bounds. TypeError and the like refuse a value."""

    def __init__(self) -> None:
        self._left = MOST_BYTES
        self._texts: dict[int, tuple[BaseException, str, tuple[str, ...]]] = {}  # by id: texts and notes
        self._path: list[int] = []  # ids of the containers and exceptions that the value in hand is in

    def take_apart(self, exc: BaseException, trace: str = "") -> ExceptionParts:
        self._claim(_EXCEPTION_SIZE)
        if id(exc) not in self._texts:
            self._texts[id(exc)] = exc, text_of(exc), _notes_of(exc)
        _, text, notes = self._texts[id(exc)]
        self._claim(len(text) + sum(map(len, notes)))
        self._path.append(id(exc))
        construction = self._construction(exc)
        self._path.pop()
        kind = type(exc)
        return ExceptionParts(*full_name(kind), text, notes, encodable(trace), construction, class_names(kind))

    def _construction(self, exc: BaseException) -> bytes | None:
        """Encode the arguments that `pickle` would pass to the constructor, and the attributes that can be encoded."""
        try:
            reduced = exc.__reduce_ex__(2)
            maker, args, *rest = reduced if isinstance(reduced, tuple) else (None, ())
            if maker is not type(exc):
                args, rest = exc.args, [vars(exc)]
            kept: dict[str, msgspec.Raw] = {}
            arguments = self._exact(list(args))
            for name, value in (rest[0] or {}).items() if rest else ():
                if _is_plain_name(name):
                    with suppress(Exception):
                        kept[name] = msgspec.Raw(_encode(self._exact(value)))
            return _encode([arguments, kept])
        except Exception:
            return None

    def _exact(self, value: Any) -> Any:
        """Return the value in a form that is decoded to the same value with the same types; TypeError if there is none.

        What leads back to an exception or container around it is refused.
        """
        kind = type(value)
        if kind in _PLAIN or kind in _SCALARS:
            self._claim(len(value) if kind in _SIZED else 0)
            if kind is datetime and value.tzinfo is not None:  # msgpack would have it in UTC
                value = value.isoformat()
            return value if kind in _PLAIN else _extension(_KINDS.index(kind), value)
        if len(self._path) >= _DEEPEST or id(value) in self._path:
            raise TypeError("it refers to itself, or is nested too deeply")
        if isinstance(value, BaseException):
            return _extension(_EXCEPTION, self.take_apart(value))
        if kind is not list and kind not in _CONTAINERS and not (kind is dict and all(map(_is_plain, value))):
            raise TypeError(f"{kind.__name__} would be decoded as another type")
        self._claim(_ITEM * (1 + len(value)))
        self._path.append(id(value))
        try:
            if kind is dict:
                return {name: self._exact(item) for name, item in value.items()}
            items = [self._exact(item) for item in value]
        finally:
            self._path.pop()
        return items if kind is list else _extension(_KINDS.index(kind), items)

    def _claim(self, size: int) -> None:
        if size > self._left:
            raise TypeError("it is too large")
        self._left -= size


def _notes_of(exc: BaseException) -> tuple[str, ...]:
    """Return the notes of an exception, as many as fit a text."""
    try:
        notes = getattr(exc, "__notes__", None)
    except Exception:  # a property of its class
        notes = None
    texts: list[str] = []
    left = LONGEST_TEXT
    for note in notes if isinstance(notes, (list, tuple)) else ():
        texts.append(text_of(note))
        left -= _ITEM + len(texts[-1])
        if left < 0:
            break
    return tuple(texts)


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
        args, attributes = _decode(parts.construction)  # once: it puts other exceptions together
    except Exception:  # of an odd worker
        return None
    kept = {name: value for name, value in attributes.items() if _is_plain_name(name)}
    for make in (cls, partial(cls.__new__, cls)):  # a constructor may take other arguments than the exception has
        exc = _made(make, args, kept)
        if type(exc) is cls and _is_same(text_of(exc), parts.text):
            return exc
    return None


def _made(make: Callable[..., BaseException], args: list[Any], attributes: dict[str, Any]) -> BaseException | None:
    try:
        exc = make(*args)
        vars(exc).update(attributes)
    except Exception:  # an odd constructor
        return None
    return exc


def _is_same(text: str, before: str) -> bool:
    """Return whether texts have the same letters: sets are decoded in another order."""
    return text == before or (len(text) == len(before) and sorted(text) == sorted(before))


def _known_class(parts: ExceptionParts) -> type[BaseException] | None:
    """Return the exception class, if this program has imported it and may instantiate it."""
    found = find_imported(parts.module, parts.qualname)
    if not isinstance(found, type) or not issubclass(found, BaseException):
        return None
    allowed = issubclass(found, Exception) or (parts.module, parts.qualname) in _NOT_EXCEPTIONS
    return found if allowed else None


def _is_plain(value: object) -> bool:
    return type(value) in _PLAIN


def _is_plain_name(name: object) -> bool:
    return isinstance(name, str) and not name.startswith("__")
