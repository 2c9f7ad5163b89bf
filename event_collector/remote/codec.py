"""The encoding of payloads and results that cross the process boundary: msgpack by msgspec.

What msgspec does not know goes on to `encoding`. Decoding executes no code from the data, unless a collector asks for
pickle. `remote_exceptions` encodes exceptions.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

import msgspec

from event_collector.encoding.buffers import Blob, Buffer, join, split, unchanging
from event_collector.encoding.classes import import_modules
from event_collector.encoding.coding import PLAIN_CODING, Coding, NothingTagged
from event_collector.encoding.tagged import with_buffers
from event_collector.encoding.type_support import stranger_in
from event_collector.handlers.signature import type_name
from event_collector.handlers.stack_frames import strip_frames
from event_collector.remote.encode_advice import advice, type_remedy
from event_collector.remote.fidelity import UNTYPED, Fidelity
from event_collector.remote.remote_exceptions import ExceptionParts, bare_parts, presentable, put_together, take_apart
from event_collector.remote.trace_context import CARRIER
from event_collector.values.errors import ConfigError, EncodeError, PayloadTypeError
from event_collector.values.payload import NO_HEADERS, Delivery, Headers, Payload
from event_collector.values.results import Error, Ok, Result
from event_collector_workers.error_texts import exception_text, text_of

T = TypeVar("T")

Parts: TypeAlias = tuple[bytes, Blob | None]
"""An encoded value, and its large buffers, which `buffers.join()` has put together."""


class Form(NamedTuple):
    """The value of a payload as it travels."""

    value: bytes
    modules: Sequence[str]
    buffers: Sequence[Buffer]


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
    """An encoded payload. A broadcast without headers has no address."""

    value: T
    address: _Address | None = None
    number: int = 0
    """The id of the event, for the worker's log lines."""
    modules: tuple[str, ...] = ()
    """Modules with classes of the value, to be imported if they are not there."""


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
    address = None
    if traced or payload._headers is not NO_HEADERS or payload._delivery is not _BROADCAST:
        address = _address_of(payload, traced=traced)
    try:
        if type(value) not in fidelity.special or fidelity.is_fast(value, inline=inline):
            # A tuple is encoded like an _Envelope, but is created faster.
            body = _encode((value, address, number))
            if fidelity.suspects(body) is not None and (kept := fidelity.faithful(value, body)) is not value:
                body = _encode((kept, address, number))
            return body, None
    except Exception:  # noqa: S110 - it may have tags, or it fails again
        pass
    try:
        body, blob = fidelity.encode(value, lambda raw, modules: (raw, address, number, modules), inline=inline)
        return body, None if blob is None else unchanging(blob, fidelity.copy)
    except Exception as exc:
        raise _cannot_encode("payload", value, owner, exc) from exc


def encode_form(value: Any, owner: "Owner | str", fidelity: Fidelity) -> Form:
    """Encode the value of a payload alone. Raise EncodeError as `encode_payload()` does."""
    return form_in(encode_payload(Payload(value), owner, traced=False, fidelity=fidelity))


def encode_around(
    form: Form, payload: Payload[Any], number: int, *, inline: bool = False, traced: bool = True
) -> Parts:
    """Do what `encode_payload()` does, with a value that is encoded already."""
    value, modules, buffers = form
    if inline and buffers:
        value, buffers = with_buffers(value, buffers), ()
    return join(_encode((msgspec.Raw(value), _address_of(payload, traced=traced), number, modules)), buffers)


def form_in(parts: Parts) -> Form:
    """Return the form of the value in an encoded payload."""
    body, buffers = split(*parts)
    envelope = _decode_form(body)
    return Form(bytes(envelope.value), envelope.modules, buffers)


def _address_of(payload: Payload[Any], *, traced: bool) -> _Address | None:
    carrier = CARRIER.get() if traced else None
    if payload._headers is NO_HEADERS and payload._delivery is _BROADCAST and carrier is None:
        return None
    return _Address(payload._delivery.value, payload._headers, carrier)


_decode_form = msgspec.msgpack.Decoder(_Envelope[msgspec.Raw]).decode


class PayloadDecoder:
    """Decodes payloads of the collector `key` in a worker, and validates their values unless `payload_type` is Any.

    Raises ConfigError if values of the type cannot travel.
    """

    def __init__(self, payload_type: Any, key: str, coding: Coding = PLAIN_CODING) -> None:
        payload_type = coding.type_of(payload_type)
        self._type, self._key, self._coding = payload_type, key, coding
        self.envelope: _Envelope[Any] | None = None
        """The last decoded envelope; `Host` resets it to None when the event has ended."""
        self.carrier: Mapping[str, str] | None = None
        """The carrier of the last payload, until `take_carrier()`."""
        self._decode: Callable[[Buffer], _Envelope[Any]] = _decoder(
            "payload", _Envelope, payload_type, key, coding, writable=False
        )

    def __call__(self, body: Buffer, blob: Blob | None) -> Payload[Any]:
        """Return the payload, or raise PayloadTypeError with the field that does not have the type."""
        try:
            envelope = self._decode(body) if blob is None else self._decode_tagged(body, blob)
        except Exception as exc:  # the type may have a `__post_init__` that raises anything
            envelope = self._decode_again(body, blob, exc)
        self.envelope, address = envelope, envelope.address
        if address is None:
            return Payload(envelope.value)
        payload, self.carrier = Payload(envelope.value), address.carrier
        payload._delivery = Delivery(address.delivery)  # Payload.set_delivery()
        payload._headers = address.headers  # Payload._update_headers()
        return payload

    def _decode_tagged(self, body: Buffer, blob: Blob | None) -> _Envelope[Any]:
        found: _Envelope[Any] = self._coding.decode(body, blob, _Envelope[Any], self._type, writable=False)
        return found

    def _decode_again(self, body: Buffer, blob: Blob | None, error: Exception) -> _Envelope[Any]:
        """Return the envelope if it only has parts that the decoder of the type does not support."""
        try:
            import_modules(_decode_form(split(body, blob)[0]).modules)
            return self._decode_tagged(body, blob)
        except NothingTagged:
            pass
        except Exception as exc:
            error = exc
        raise PayloadTypeError(
            f"collector {self._key!r}: the payload does not fit {type_name(self._type)}: {text_of(error)}"
        ) from error

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
    if type(outcome) not in fidelity.plain:
        if isinstance(outcome, Error):
            return _encode_error(outcome, owner, fidelity), None
        outcome = outcome.value if isinstance(outcome, Ok) else outcome
        if type(outcome) in fidelity.special and not fidelity.is_fast(outcome, inline=inline):
            return _encode_tagged_result(outcome, owner, fidelity, inline=inline)
    try:
        body = _encode((0, outcome))
        if fidelity.suspects(body) is not None and (kept := fidelity.faithful(outcome, body)) is not outcome:
            body = _encode((0, kept))
        return body, None
    except Exception:  # it may have tags, or it fails again
        return _encode_tagged_result(outcome, owner, fidelity, inline=inline)


def _encode_tagged_result(outcome: Any, owner: "Owner | str", fidelity: Fidelity, *, inline: bool) -> Parts:
    try:
        return fidelity.encode(outcome, lambda raw, _: (0, raw), inline=inline)
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


def _encode_error(error: Error[Any], owner: "Owner | str", fidelity: Fidelity) -> bytes:
    is_value = not isinstance(error.err, BaseException)
    err = _Value(error.err) if is_value else take_apart(error.err)
    try:
        try:
            body = _encode(_Failure(err, error.details, raised=False))
            if UNTYPED.suspects(body) is not None:
                UNTYPED.faithful([err, error.details], body)
            return body
        except Exception:
            if is_value:
                err = _Value(fidelity.encode_part(error.err))
            return _encode(_Failure(err, fidelity.encode_part(error.details), raised=False))
    except Exception as exc:
        raise _cannot_encode("Error", error.err, owner, exc) from exc


class ReplyDecoder:
    """Decodes replies of workers for the collector `key`, and validates their values unless `result_type` is Any.

    Raises ConfigError if msgspec does not support the type.
    """

    def __init__(self, result_type: Any, key: str, coding: Coding = PLAIN_CODING) -> None:
        result_type = coding.type_of(result_type)
        self._type, self._key, self._coding = result_type, key, coding
        self._decode: Callable[[Buffer], _Success[Any] | _Failure] = _decoder(
            "result", _Success, result_type, key, coding, _Failure, writable=True
        )

    def __call__(self, body: Buffer, blob: Blob | None) -> Result[Any]:
        """Return the Ok or Error of the handler, with the collector's key.

        Raises:
            EncodeError: the value does not have the result type, or the reply is invalid.
            BaseException: the handler's exception, with the worker's traceback as its cause; see `presentable()`.
        """
        try:
            reply = self._decode(body) if blob is None else self._decode_tagged(body, blob)
            if isinstance(reply, _Success):
                return Ok(reply.value, key=self._key)
            err = reply.err.value if isinstance(reply.err, _Value) else put_together(reply.err)
        except BaseException as exc:  # it calls constructors of the application, which may even exit
            return self._decode_again(body, blob, exc)
        if not reply.raised:
            return Error(err, reply.details, key=self._key)
        if isinstance(err, BaseException):
            raise presentable(err)
        raise EncodeError(f"collector {self._key!r}: its worker sent an exception that is none")

    def _decode_tagged(self, body: Buffer, blob: Blob | None) -> _Success[Any]:
        found: _Success[Any] = self._coding.decode(body, blob, _Success[Any], self._type, writable=True)
        return found

    def _decode_again(self, body: Buffer, blob: Blob | None, error: BaseException) -> Result[Any]:
        """Return the result if it only has parts that the decoder of the type does not support."""
        try:
            return Ok(self._decode_tagged(body, blob).value, key=self._key)
        except NothingTagged:
            pass
        except BaseException as exc:
            error = exc
        raise EncodeError(
            f"collector {self._key!r}: the result does not fit {type_name(self._type)}: {text_of(error)}. Return "
            f"what the handler's annotation says, or give the collector result_type= with what it returns"
        ) from error


def _decoder(
    what: str, frame: Any, value_type: Any, key: str, coding: Coding, *others: Any, writable: bool
) -> Callable[[Buffer], Any]:
    """Return the decoder of a frame with a value of that type, or of one of the other frames."""
    try:
        # Generic subscription with a run-time type is beyond static typing.
        frames: Any = frame if value_type is Any else frame[value_type]
        for other in others:
            frames |= other
        extension = coding.restorer(writable=writable).extension
        decode = msgspec.msgpack.Decoder(frames, ext_hook=extension, dec_hook=coding.convert).decode
        stranger = None if value_type is Any else stranger_in(value_type, coding)
    except Exception as exc:
        raise ConfigError(
            f"collector {key!r}: {type_name(value_type)} cannot be the type of a {what} that crosses the process "
            f"boundary: {exc}. Annotate the handler otherwise, or give the collector {what}_type=Any"
        ) from exc
    if stranger is not None:
        raise ConfigError(
            f"collector {key!r}: {type_name(value_type)} cannot be the type of a {what} that crosses the process "
            f"boundary: {type_remedy(stranger)}, or codec='pickle', or mode='thread'"
        )
    return decode


def _cannot_encode(what: str, value: Any, owner: "Owner | str", exc: Exception) -> EncodeError:
    key, mode = (owner, "thread") if isinstance(owner, str) else (owner.key, _mode_here(owner))
    remedy = advice(value, exc)
    return EncodeError(
        f"collector {key!r}: the {what} of type {type(value).__name__} cannot cross the process boundary: "
        f"{text_of(exc)}{remedy and '. '}{remedy}, or give the collector mode={mode!r}"
    )


def _mode_here(owner: "Owner") -> str:
    """Return the mode in which a handler runs in the program itself."""
    return "coroutine" if owner.asynchronous else "thread"
