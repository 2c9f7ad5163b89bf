"""What crosses the process boundary: payloads one way, results the other, as msgspec msgpack.

Nothing here executes what it reads: an exception comes back as its own class only when this program has
imported that class already, it is an Exception, and it takes its arguments back.
"""

import sys
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

import msgspec

from event_collector.data import Delivery, Error, Ok, Payload, Record, Result
from event_collector.exceptions import EncodeError, RemoteError, RemoteTraceback

__all__ = ["BLOB", "PayloadDecoder", "ReplyDecoder", "encode_payload", "encode_raised", "encode_result"]

BLOB = 65_536
"""Bytes from which on a value that is bytes travels beside its frame, uncopied. Below, a frame of its own costs more
than the copy."""

T = TypeVar("T")

Buffer: TypeAlias = bytes | bytearray | memoryview
Parts: TypeAlias = tuple[bytes, Buffer | None]
"""An encoded value, and the large bytes that travel beside it."""

_encode: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode


class _Envelope(msgspec.Struct, Generic[T], array_like=True):
    """A payload on the wire. `value` is None when it travels beside."""

    value: T
    delivery: int = 0
    keys: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    priority: float | None = None


class _Success(msgspec.Struct, Generic[T], array_like=True, tag=0):
    value: T


class _Exception(msgspec.Struct, array_like=True, tag=0):
    """An exception by its parts; `args` is None when they could not be encoded."""

    module: str
    qualname: str
    args: tuple[Any, ...] | None
    text: str
    notes: tuple[str, ...]
    trace: str


class _Value(msgspec.Struct, array_like=True, tag=1):
    value: Any


class _Failure(msgspec.Struct, array_like=True, tag=1):
    """An Error that the handler returned, or an exception that left it (`raised`)."""

    err: _Exception | _Value
    details: Record | None
    raised: bool


def encode_payload(payload: Payload[Any], key: str, *, inline: bool = False) -> Parts:
    """Encode a payload for the collector `key`; `inline` keeps large bytes within.

    Raises:
        EncodeError: msgspec cannot encode the value.

    """
    value = payload.value
    blob = None if inline else _large(value)
    envelope = _Envelope(
        None if blob is not None else value,
        payload.delivery.value,
        tuple(payload.keys),
        tuple(payload.topics),
        payload.priority,
    )
    try:
        return _encode(envelope), blob
    except Exception as exc:
        raise EncodeError(_cannot_encode("payload", value, key, exc)) from exc


class PayloadDecoder:
    """Rebuilds payloads in a worker, validated against the type that the handler asks for."""

    def __init__(self, payload_type: Any) -> None:
        # Generic subscription with a run-time type is beyond static typing.
        envelope: Any = _Envelope
        self._decode: Callable[[Buffer], _Envelope[Any]] = msgspec.msgpack.Decoder(
            _Envelope if payload_type is Any else envelope[payload_type]
        ).decode
        self._decode_beside = msgspec.msgpack.Decoder(_Envelope[Any]).decode

    def __call__(self, body: Buffer, blob: bytes | None) -> Payload[Any]:
        """Return the payload.

        Raises:
            msgspec.ValidationError: its value does not fit the type; the message names the field.

        """
        envelope = self._decode(body) if blob is None else self._decode_beside(body)
        value = envelope.value if blob is None else blob
        if not (envelope.delivery or envelope.keys or envelope.topics or envelope.priority is not None):
            return Payload(value)
        return Payload(value, Delivery(envelope.delivery), envelope.keys, envelope.topics, envelope.priority)


def encode_result(outcome: Any, key: str, *, inline: bool = False) -> Parts:
    """Encode what a handler returned: Ok, Error, or any other value; `inline` keeps large bytes within.

    Raises:
        EncodeError: msgspec cannot encode it.

    """
    if isinstance(outcome, Error):
        return _encode_error(outcome, key), None
    value = outcome.value if isinstance(outcome, Ok) else outcome
    blob = None if inline else _large(value)
    try:
        return _encode(_Success(None if blob is not None else value)), blob
    except Exception as exc:
        raise EncodeError(_cannot_encode("result", value, key, exc)) from exc


def encode_raised(exc: BaseException, trace: str) -> bytes:
    """Encode an exception that left a handler; `trace` is its traceback as text."""
    return _encode(_Failure(_parts_of(exc, trace), None, raised=True))


def _encode_error(error: Error[Any], key: str) -> bytes:
    err = _parts_of(error.err, "") if isinstance(error.err, BaseException) else _Value(error.err)
    try:
        return _encode(_Failure(err, error.details, raised=False))
    except Exception as exc:
        raise EncodeError(_cannot_encode("Error", (error.err, error.details), key, exc)) from exc


class ReplyDecoder:
    """Turns the reply of a worker into the handler's outcome."""

    def __init__(self, result_type: Any) -> None:
        success: Any = _Success
        self._decode: Callable[[Buffer], _Success[Any] | _Failure] = msgspec.msgpack.Decoder(
            (success if result_type is Any else success[result_type]) | _Failure
        ).decode

    def __call__(self, body: Buffer, blob: bytes | None) -> Result[Any, Any]:
        """Return the Ok or Error that the handler returned.

        Raises:
            Exception: the one that left the handler, with the worker's traceback as its cause.

        """
        reply = self._decode(body)
        if isinstance(reply, _Success):
            return Ok(reply.value if blob is None else blob)
        if isinstance(reply.err, _Value):
            return Error(reply.err.value, reply.details)
        exc = _rebuild(reply.err)
        if reply.raised:
            raise exc
        return Error(exc, reply.details)


def _large(value: Any) -> Buffer | None:
    return value if isinstance(value, (bytes, bytearray, memoryview)) and len(value) >= BLOB else None


def _parts_of(exc: BaseException, trace: str) -> _Exception:
    cls = type(exc)
    notes = tuple(str(note) for note in getattr(exc, "__notes__", ()))
    args: tuple[Any, ...] | None = exc.args
    try:
        _encode(args)
    except Exception:
        args = None
    return _Exception(cls.__module__, cls.__qualname__, args, _text(exc), notes, trace)


def _text(exc: BaseException) -> str:
    try:
        return str(exc)
    except Exception:  # a broken __str__ must not cost the event its error
        return "(its text could not be made)"


class _Rebuilt:
    """Which exceptions may be rebuilt here."""

    also: ClassVar = frozenset({("asyncio.exceptions", "CancelledError")})

    @classmethod
    def find(cls, parts: _Exception) -> type[BaseException] | None:
        found: Any = sys.modules.get(parts.module)  # never imported: that would run what a worker named
        for name in parts.qualname.split("."):
            found = getattr(found, name, None)
        if not isinstance(found, type) or not issubclass(found, BaseException):
            return None
        allowed = issubclass(found, Exception) or (parts.module, parts.qualname) in cls.also
        return found if allowed else None


def _rebuild(parts: _Exception) -> BaseException:
    cls = _Rebuilt.find(parts)
    exc: BaseException | None = None
    if cls is not None and parts.args is not None:
        try:
            exc = cls(*parts.args)
        except Exception:  # an odd constructor
            exc = None
        if exc is not None and _text(exc) != parts.text:
            exc = None
    if exc is None:
        exc = RemoteError(f"{parts.module}.{parts.qualname}: {parts.text}")
    for note in parts.notes:
        exc.add_note(note)
    if parts.trace:
        exc.__cause__ = RemoteTraceback(parts.trace)
    return exc


def _cannot_encode(what: str, value: Any, key: str, exc: Exception) -> str:
    return (
        f"collector {key!r}: the {what} of type {type(value).__name__} cannot cross the process boundary: {exc}. "
        f"Use what msgspec encodes (dict, list, str, bytes, numbers, dataclass, msgspec.Struct, attrs), or give "
        f"the collector mode='coroutine' or mode='thread'"
    )
