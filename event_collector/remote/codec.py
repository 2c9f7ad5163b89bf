"""What crosses the process boundary: payloads one way, results the other, as msgspec msgpack.

Nothing here executes what it reads; how exceptions travel is told in `remote_exceptions`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from event_collector.handlers.signature import type_name
from event_collector.remote.remote_exceptions import (
    ExceptionParts,
    presentable,
    put_together,
    take_apart,
    text_of,
)
from event_collector.remote.trace_context import CARRIER
from event_collector.values.errors import ConfigError, EncodeError, PayloadTypeError
from event_collector.values.payload import NO_HEADERS, Delivery, Payload
from event_collector.values.results import Error, Ok, Result

__all__ = [
    "BLOB",
    "PLAIN",
    "PayloadDecoder",
    "ReplyDecoder",
    "encode_payload",
    "encode_raised",
    "encode_result",
]

BLOB = 65_536
"""Bytes from which on a value that is bytes travels beside its frame, uncopied. Below, a frame of its own costs more
than the copy."""

T = TypeVar("T")

Buffer: TypeAlias = bytes | bytearray | memoryview
Parts: TypeAlias = tuple[bytes, Buffer | None]
"""An encoded value, and the large bytes that travel beside it."""

_BYTES = frozenset((bytes, bytearray, memoryview))
PLAIN = frozenset((dict, list, tuple, str, int, float, bool, type(None)))
"""What handlers return most; nothing of it is a Result, can be awaited, or travels beside its frame."""

_BROADCAST = Delivery.BROADCAST

_encode: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode


class _Address(msgspec.Struct, array_like=True):
    """What there is of a payload besides its value: where it was to go, and what was tried."""

    delivery: int = 0
    keys: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    priority: Any = None  # an int stays an int
    attempt: int = 1
    last_error: str | None = None
    event_id: int | None = None
    carrier: Mapping[str, str] | None = None
    """The trace that it belongs to; see `trace_context`."""
    message_id: str | None = None


class _Envelope(msgspec.Struct, Generic[T], array_like=True):
    """A payload on the wire. `value` is None when it travels beside. Most have no address: a first attempt for all."""

    value: T
    address: _Address | None = None
    number: int = 0
    """The id of the event, for log lines of the worker."""


class _Success(msgspec.Struct, Generic[T], array_like=True, tag=0):
    """What a handler returned; encoded as a tuple, which is made faster."""

    value: T


class _Value(msgspec.Struct, array_like=True, tag=1):
    value: Any


class _Failure(msgspec.Struct, array_like=True, tag=1):
    """An Error that the handler returned, or an exception that left it (`raised`)."""

    err: ExceptionParts | _Value
    details: Any
    raised: bool


def encode_payload(
    payload: Payload[Any], key: str, number: int = 0, *, inline: bool = False, traced: bool = True
) -> Parts:
    """Encode a payload for the collector `key`.

    Args:
        payload: what to encode.
        key: of the collector, for errors.
        number: the id of the event, for log lines.
        inline: keep large bytes within.
        traced: whether it belongs to the trace of the calling context, if there is one.

    Raises:
        EncodeError: msgspec cannot encode the value.

    """
    value = payload._value
    try:
        blob = _large(value) if type(value) in _BYTES and not inline else None
        carrier = CARRIER.get() if traced else None
        is_plain = payload._headers is NO_HEADERS and payload.delivery is _BROADCAST and carrier is None
        # A tuple is encoded like an _Envelope, and made faster.
        return _encode(
            (None if blob is not None else value, None if is_plain else _address(payload, carrier), number)
        ), blob
    except Exception as exc:
        raise _cannot_encode("payload", value, key, exc) from exc


def _address(payload: Payload[Any], carrier: Mapping[str, str] | None) -> _Address:
    headers = payload._headers
    return _Address(
        payload.delivery.value,
        headers.keys,
        headers.topics,
        headers.priority,
        headers.attempt,
        headers.last_error,
        headers.event_id,
        carrier,
        headers.message_id,
    )


class PayloadDecoder:
    """Rebuilds payloads in a worker, validated against the type that the handler asks for.

    Args:
        payload_type: that type; Any takes values as they come.
        key: of the collector, for errors.

    Raises:
        ConfigError: msgspec does not know such a type.

    """

    def __init__(self, payload_type: Any, key: str) -> None:
        self._type, self._key = payload_type, key
        self.envelope: _Envelope[Any] | None = None
        """What was decoded last, until whoever works on it clears it."""
        self.carrier: Mapping[str, str] | None = None
        """The trace that it belongs to, until that is taken."""
        self._decode: Callable[[Buffer], _Envelope[Any]] = _decoder("payload", _Envelope, payload_type, key)
        self._decode_beside = msgspec.msgpack.Decoder(_Envelope[Any]).decode

    def __call__(self, body: Buffer, blob: Buffer | None) -> Payload[Any]:
        """Return the payload.

        Raises:
            PayloadTypeError: its value does not fit the type; the message names the field.

        """
        try:
            if blob is None:
                envelope = self._decode(body)
                value = envelope.value
            else:
                envelope = self._decode_beside(body)
                value = msgspec.convert(blob, self._type)
            self.envelope, address = envelope, envelope.address
            if address is None:
                return Payload(value)
            payload, self.carrier = _addressed(value, address), address.carrier
            return payload
        except Exception as exc:  # also what a type's own checks raise
            raise PayloadTypeError(
                f"collector {self._key!r}: the payload does not fit {type_name(self._type)}: {text_of(exc)}"
            ) from exc

    def take_carrier(self) -> Mapping[str, str]:
        """Return the trace, once."""
        carrier, self.carrier = self.carrier, None
        return carrier or {}


def _addressed(value: Any, address: _Address) -> Payload[Any]:
    payload = Payload(value, Delivery(address.delivery), address.keys, address.topics, address.priority)
    payload._update_headers(
        attempt=address.attempt,
        last_error=address.last_error,
        event_id=address.event_id,
        message_id=address.message_id,
    )
    return payload


def encode_result(outcome: Any, key: str, *, inline: bool = False) -> Parts:
    """Encode what a handler returned: Ok, Error, or any other value; `inline` keeps large bytes within.

    Raises:
        EncodeError: msgspec cannot encode it.

    """
    if type(outcome) in PLAIN:
        value, blob = outcome, None
    elif isinstance(outcome, Error):
        return _encode_error(outcome, key), None
    else:
        value = outcome.value if isinstance(outcome, Ok) else outcome
        blob = None if inline else _large(value)
    try:
        return _encode((0, None if blob is not None else value)), blob
    except Exception as exc:
        raise _cannot_encode("result", value, key, exc) from exc


def encode_raised(exc: BaseException, trace: str) -> bytes:
    """Encode an exception that left a handler; `trace` is its traceback as text. Never fails."""
    return _encode(_Failure(take_apart(exc, trace), None, raised=True))


def _encode_error(error: Error[Any], key: str) -> bytes:
    err = take_apart(error.err) if isinstance(error.err, BaseException) else _Value(error.err)
    try:
        return _encode(_Failure(err, error.details, raised=False))
    except Exception as exc:
        raise _cannot_encode("Error", error.err, key, exc) from exc


class ReplyDecoder:
    """Turns the reply of a worker into the handler's outcome.

    Args:
        result_type: what a success is decoded into; Any takes values as they come.
        key: of the collector, for errors.

    Raises:
        ConfigError: msgspec does not know such a type.

    """

    def __init__(self, result_type: Any, key: str) -> None:
        self._type, self._key = result_type, key
        self._decode: Callable[[Buffer], _Success[Any] | _Failure] = _decoder(
            "result", _Success, result_type, key, _Failure
        )
        self._decode_beside = msgspec.msgpack.Decoder(_Success[Any]).decode

    def __call__(self, body: Buffer, blob: Buffer | None) -> Result[Any]:
        """Return the Ok or Error that the handler returned, as of that collector.

        Raises:
            EncodeError: the reply does not fit the result type, or is no reply at all.
            BaseException: the exception that left the handler, with the worker's traceback as its cause; as a
                RuntimeError if it is a StopIteration, like one that leaves a coroutine.

        """
        try:
            if blob is not None:
                self._decode_beside(body)
                return Ok(msgspec.convert(blob, self._type), key=self._key)
            reply = self._decode(body)
            if isinstance(reply, _Success):
                return Ok(reply.value, key=self._key)
            err = reply.err.value if isinstance(reply.err, _Value) else put_together(reply.err)
        except Exception as exc:
            raise EncodeError(
                f"collector {self._key!r}: the result does not fit {type_name(self._type)}: {text_of(exc)}. Return "
                f"what the handler's annotation says, or give the collector result_type= with what it returns"
            ) from exc
        if not reply.raised:
            return Error(err, reply.details, key=self._key)
        if isinstance(err, BaseException):
            raise presentable(err)
        raise EncodeError(f"collector {self._key!r}: its worker raised what is no exception")


def _decoder(what: str, frame: Any, value_type: Any, key: str, *others: Any) -> Callable[[Buffer], Any]:
    """Return what decodes a frame around a value of that type, or one of the other frames."""
    try:
        # Generic subscription with a run-time type is beyond static typing.
        frames: Any = frame if value_type is Any else frame[value_type]
        for other in others:
            frames |= other
        return msgspec.msgpack.Decoder(frames).decode
    except Exception as exc:
        raise ConfigError(
            f"collector {key!r}: {type_name(value_type)} cannot be the type of a {what} that crosses the process "
            f"boundary: {exc}. Annotate the handler otherwise, or give the collector {what}_type=Any"
        ) from exc


def _large(value: Any) -> Buffer | None:
    if type(value) in (bytes, bytearray):
        return value if len(value) >= BLOB else None
    if type(value) is memoryview and value.nbytes >= BLOB and value.c_contiguous:
        return value.cast("B")
    return None


def _cannot_encode(what: str, value: Any, key: str, exc: Exception) -> EncodeError:
    return EncodeError(
        f"collector {key!r}: the {what} of type {type(value).__name__} cannot cross the process boundary: "
        f"{text_of(exc)}. Use what msgspec encodes (dict, list, str, bytes, numbers, dataclass, msgspec.Struct, "
        f"attrs), or give the collector mode='coroutine' or mode='thread'"
    )
