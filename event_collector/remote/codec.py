"""The encoding of payloads and results that cross the process boundary: msgpack by msgspec.

Decoding executes no code from the data. `remote_exceptions` encodes exceptions.
"""

from collections.abc import Callable, Mapping
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import msgspec

from event_collector.handlers.signature import type_name
from event_collector.handlers.stack_frames import strip_frames
from event_collector.remote.encode_advice import advice
from event_collector.remote.fidelity import Fidelity
from event_collector.remote.remote_exceptions import ExceptionParts, bare_parts, presentable, put_together, take_apart
from event_collector.remote.trace_context import CARRIER
from event_collector.values.errors import ConfigError, EncodeError, PayloadTypeError
from event_collector.values.payload import NO_HEADERS, Delivery, Headers, Payload
from event_collector.values.results import Error, Ok, Result
from event_collector_workers.error_texts import exception_text, text_of

BLOB = 65_536
"""Minimum size in bytes of a bytes value that travels in a separate frame, uncopied. For smaller values the separate
frame costs more than the copy."""

T = TypeVar("T")

Buffer: TypeAlias = bytes | bytearray | memoryview
Parts: TypeAlias = tuple[bytes, Buffer | None]
"""An encoded value, and the large bytes of a separate frame."""
Form: TypeAlias = msgspec.Raw | Buffer
"""The value of a payload as it travels: encoded, or the large bytes of a separate frame."""

_BYTES = frozenset((bytes, bytearray, memoryview))
PLAIN = frozenset((dict, list, tuple, str, int, float, bool, type(None)))
"""The most frequent result types. None of them is a Result, is awaitable, or needs a separate frame."""

UNTYPED = Fidelity(Any)
_BROADCAST = Delivery.BROADCAST

encode_value: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode
_encode = encode_value


class Owner(Protocol):
    """A collector, or the setup of one."""

    @property
    def key(self) -> str:
        """Its key."""

    @property
    def asynchronous(self) -> bool:
        """Whether its handler is a coroutine function."""


class _Address(msgspec.Struct, array_like=True):
    """The attributes of a payload besides its value."""

    delivery: int = 0
    headers: Headers = NO_HEADERS
    carrier: Mapping[str, str] | None = None
    """The OpenTelemetry trace; see `trace_context`."""


class _Envelope(msgspec.Struct, Generic[T], array_like=True):
    """An encoded payload. `value` is None if it is in a separate frame. A broadcast without headers has no address."""

    value: T
    address: _Address | None = None
    number: int = 0
    """The id of the event, for the worker's log lines."""


class _Success(msgspec.Struct, Generic[T], array_like=True, tag=0):
    """The value that a handler returned. Encoded as a tuple, which is faster."""

    value: T


class _Value(msgspec.Struct, array_like=True, tag=1):
    value: Any


class _Failure(msgspec.Struct, array_like=True, tag=1):
    """An Error that the handler returned, or an exception that it raised."""

    err: ExceptionParts | _Value
    details: Any
    raised: bool


def encode_payload(
    payload: Payload[Any],
    owner: "Owner | str",
    number: int = 0,
    *,
    inline: bool = False,
    traced: bool = True,
    fidelity: Fidelity = UNTYPED,
) -> Parts:
    """Encode a payload for a collector, or its key. Raise EncodeError if the value cannot be encoded as what it is.

    `number` is the id of the event, for log lines. `inline` puts large bytes into the same frame. `traced` adds the
    carrier of the calling context, if there is one.
    """
    value = payload._value
    try:
        address = None
        if traced or payload._headers is not NO_HEADERS or payload._delivery is not _BROADCAST:
            address = _address_of(payload, traced=traced)
        # A tuple is encoded like an _Envelope, but is created faster.
        if type(value) in _BYTES and not inline and (blob := _large(value)) is not None:
            return _encode((None, address, number)), _unchanging(blob)
        body = _encode((value, address, number))
        if fidelity.suspects(body) is not None and (kept := fidelity.faithful(value, body)) is not value:
            body = _encode((kept, address, number))
        return body, None
    except Exception as exc:
        raise _cannot_encode("payload", value, owner, exc) from exc


def encode_form(value: Any, owner: "Owner | str", fidelity: Fidelity) -> Form:
    """Encode the value of a payload alone. Raise EncodeError as `encode_payload()` does."""
    try:
        if type(value) in _BYTES and (blob := _large(value)) is not None:
            return _unchanging(blob)
        body = _encode(value)
        if fidelity.suspects(body) is not None and (kept := fidelity.faithful(value, body)) is not value:
            body = _encode(kept)
        return msgspec.Raw(body)
    except Exception as exc:
        raise _cannot_encode("payload", value, owner, exc) from exc


def encode_around(
    form: Form, payload: Payload[Any], number: int, *, inline: bool = False, traced: bool = True
) -> Parts:
    """Do what `encode_payload()` does, with a value that is encoded already."""
    address = _address_of(payload, traced=traced)
    if inline or isinstance(form, msgspec.Raw):
        return _encode((form, address, number)), None
    return _encode((None, address, number)), form


def form_in(parts: Parts) -> Form:
    """Return the form of the value in an encoded payload."""
    body, blob = parts
    return _decode_form(body).value if blob is None else blob


def _address_of(payload: Payload[Any], *, traced: bool) -> _Address | None:
    carrier = CARRIER.get() if traced else None
    if payload._headers is NO_HEADERS and payload._delivery is _BROADCAST and carrier is None:
        return None
    return _Address(payload._delivery.value, payload._headers, carrier)


_decode_form = msgspec.msgpack.Decoder(_Envelope[msgspec.Raw]).decode


class PayloadDecoder:
    """Decodes payloads of the collector `key` in a worker, and validates their values unless `payload_type` is Any.

    Raises ConfigError if msgspec does not support the type.
    """

    def __init__(self, payload_type: Any, key: str) -> None:
        self._type, self._key = payload_type, key
        self.envelope: _Envelope[Any] | None = None
        """The last decoded envelope; `Host` resets it to None when the event has ended."""
        self.carrier: Mapping[str, str] | None = None
        """The carrier of the last payload, until `take_carrier()`."""
        self._decode: Callable[[Buffer], _Envelope[Any]] = _decoder("payload", _Envelope, payload_type, key)
        self._decode_beside = msgspec.msgpack.Decoder(_Envelope[Any]).decode

    def __call__(self, body: Buffer, blob: Buffer | None) -> Payload[Any]:
        """Return the payload, or raise PayloadTypeError with the field that does not have the type."""
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
            payload, self.carrier = Payload(value), address.carrier
            payload._delivery = Delivery(address.delivery)  # Payload.set_delivery()
            payload._headers = address.headers  # Payload._update_headers()
            return payload
        except Exception as exc:  # the type may have a `__post_init__` that raises anything
            raise PayloadTypeError(
                f"collector {self._key!r}: the payload does not fit {type_name(self._type)}: {text_of(exc)}"
            ) from exc

    def enter(self, envelope: "_Envelope[Any] | None") -> None:
        """Note which payload is processed now, where others may have been since it was decoded; None: none."""
        self.envelope = envelope

    def take_carrier(self) -> Mapping[str, str]:
        """Return the carrier of the last payload and remove it."""
        carrier, self.carrier = self.carrier, None
        return carrier or {}


def encode_result(outcome: Any, owner: "Owner | str", *, inline: bool = False, fidelity: Fidelity = UNTYPED) -> Parts:
    """Encode the outcome of a handler: Ok, Error, or any other value; large bytes in the same frame if `inline`.

    Raise EncodeError if the value cannot be encoded, or not as what it is.
    """
    if type(outcome) not in PLAIN:
        if isinstance(outcome, Error):
            return _encode_error(outcome, owner), None
        outcome = outcome.value if isinstance(outcome, Ok) else outcome
        if not inline and (blob := _large(outcome)) is not None:
            return _encode((0, None)), blob
    try:
        body = _encode((0, outcome))
        if fidelity.suspects(body) is not None and (kept := fidelity.faithful(outcome, body)) is not outcome:
            body = _encode((0, kept))
        return body, None
    except Exception as exc:
        raise _cannot_encode("result", outcome, owner, exc) from exc


def encode_answers(answers: list[bytes]) -> bytes:
    """Encode the encoded results and exceptions of a batch, as the result of one call of its handler."""
    return _encode((0, answers))


encode_bodies: Callable[[list[bytes]], bytes] = _encode
"""Encodes the encoded payloads of a batch."""

decode_bodies: Callable[[Buffer], list[bytes]] = msgspec.msgpack.Decoder(list[bytes]).decode


def encode_raised(exc: BaseException, trace: str | None = None) -> bytes:
    """Encode an exception of a handler, with `trace` or its own traceback from the handler on. Never raises."""
    try:
        if trace is None:
            strip_frames(exc)
            trace = exception_text(exc)
        parts = take_apart(exc, trace)
    except BaseException:  # its parts raise what they like when they are read
        parts = bare_parts(exc)
    return _encode(_Failure(parts, None, raised=True))


def _encode_error(error: Error[Any], owner: "Owner | str") -> bytes:
    err = take_apart(error.err) if isinstance(error.err, BaseException) else _Value(error.err)
    try:
        body = _encode(_Failure(err, error.details, raised=False))
        if UNTYPED.suspects(body) is not None:
            UNTYPED.faithful([err, error.details], body)
        return body
    except Exception as exc:
        raise _cannot_encode("Error", error.err, owner, exc) from exc


class ReplyDecoder:
    """Decodes replies of workers for the collector `key`, and validates their values unless `result_type` is Any.

    Raises ConfigError if msgspec does not support the type.
    """

    def __init__(self, result_type: Any, key: str) -> None:
        self._type, self._key = result_type, key
        self._decode: Callable[[Buffer], _Success[Any] | _Failure] = _decoder(
            "result", _Success, result_type, key, _Failure
        )
        self._decode_beside = msgspec.msgpack.Decoder(_Success[Any]).decode

    def __call__(self, body: Buffer, blob: Buffer | None) -> Result[Any]:
        """Return the Ok or Error of the handler, with the collector's key.

        Raises:
            EncodeError: the value does not have the result type, or the reply is invalid.
            BaseException: the handler's exception, with the worker's traceback as its cause; see `presentable()`.
        """
        try:
            if blob is not None:
                self._decode_beside(body)
                return Ok(msgspec.convert(blob, self._type), key=self._key)
            reply = self._decode(body)
            if isinstance(reply, _Success):
                return Ok(reply.value, key=self._key)
            err = reply.err.value if isinstance(reply.err, _Value) else put_together(reply.err)
        except BaseException as exc:  # it calls constructors of the application, which may even exit
            raise EncodeError(
                f"collector {self._key!r}: the result does not fit {type_name(self._type)}: {text_of(exc)}. Return "
                f"what the handler's annotation says, or give the collector result_type= with what it returns"
            ) from exc
        if not reply.raised:
            return Error(err, reply.details, key=self._key)
        if isinstance(err, BaseException):
            raise presentable(err)
        raise EncodeError(f"collector {self._key!r}: its worker sent an exception that is none")


def _decoder(what: str, frame: Any, value_type: Any, key: str, *others: Any) -> Callable[[Buffer], Any]:
    """Return the decoder of a frame with a value of that type, or of one of the other frames."""
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


def _unchanging(blob: Buffer) -> Buffer:
    """Return these bytes, or a copy if they can change while they wait for a worker."""
    if type(blob) is bytes or (type(blob) is memoryview and type(blob.obj) is bytes):
        return blob
    return bytes(blob)


def _large(value: Any) -> Buffer | None:
    if type(value) in (bytes, bytearray):
        return value if len(value) >= BLOB else None
    if type(value) is memoryview and value.nbytes >= BLOB and value.c_contiguous:
        return value.cast("B")
    return None


def _cannot_encode(what: str, value: Any, owner: "Owner | str", exc: Exception) -> EncodeError:
    key, mode = (owner, "thread") if isinstance(owner, str) else (owner.key, _mode_here(owner))
    return EncodeError(
        f"collector {key!r}: the {what} of type {type(value).__name__} cannot cross the process boundary: "
        f"{text_of(exc)}. {advice(value, exc)}, or give the collector mode={mode!r}"
    )


def _mode_here(owner: "Owner") -> str:
    """Return the mode in which a handler runs in the program itself."""
    return "coroutine" if owner.asynchronous else "thread"
