"""The codec of a journal: payloads as msgpack, with the name of the value's class.

The collectors decide which types values are decoded into. A name in the file never leads to an import or a call.
"""

import types
import typing
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final
from uuid import UUID

import msgspec

from event_collector.encoding.coding import PLAIN_CODING, BareValue, NothingTagged
from event_collector.encoding.tagged import kinds
from event_collector.encoding.type_support import stranger_in
from event_collector.journal.stored_event import StoredEvent
from event_collector.remote.encode_advice import advice, type_remedy
from event_collector.remote.fidelity import Fidelity
from event_collector.values.errors import ConfigError, EncodeError, PayloadTypeError
from event_collector.values.payload import Delivery, Payload
from event_collector_workers.error_texts import text_of

PLAIN: Final = (
    type(None), bool, int, float, str, bytes, bytearray, list, tuple, dict, set, frozenset,
    datetime, date, time, timedelta, Decimal, UUID,
)  # fmt: skip
"""Classes that every program has."""

_encode: Final[Callable[[Any], bytes]] = msgspec.msgpack.Encoder().encode


class _Body(msgspec.Struct, array_like=True):
    """A payload. Other versions may write fewer or more fields."""

    value: msgspec.Raw
    delivery: int = 0
    keys: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    priority: int | float | None = None
    origin: int | None = None


_decode_body: Final[Callable[[bytes], _Body]] = msgspec.msgpack.Decoder(_Body).decode


def decode_untyped(event: StoredEvent) -> Payload[Any]:
    """Return the payload of an event with its value as plain msgpack data. Raises an Exception if it is damaged."""
    return _payload_of(event.body, msgspec.msgpack.decode)


def origin_of(event: StoredEvent) -> int | None:
    """Return the number of the line that an event was; None for other events, and for a damaged one."""
    try:
        return _decode_body(event.body).origin if event.is_sound else None
    except msgspec.MsgspecError:
        return None


def _payload_of(data: bytes, decode: Callable[[Any], Any]) -> Payload[Any]:
    body = _decode_body(data)
    payload = Payload(decode(body.value))
    payload._delivery = Delivery(body.delivery)
    payload._update_headers(keys=body.keys, topics=body.topics, priority=body.priority, origin=body.origin)
    return payload


class JournalCodec:
    """Encodes and decodes payloads of plain data and of `types`, of at most `max_bytes` each.

    Raises ConfigError if msgspec cannot decode one of the types.
    """

    def __init__(self, types: Iterable[Any], max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._decoders: dict[str, list[Callable[[Any], Any]]] = {}
        self._schemas: dict[type, str] = {}
        self._fidelities: dict[type, list[Fidelity]] = {}
        for kind in types:
            for member in _members_of(kind):
                self._register(member)
        for plain in PLAIN:
            if plain not in self._schemas:
                self._register(plain)

    def _register(self, kind: Any) -> None:
        value_class = _class_of(kind)
        if value_class is None:
            return
        try:
            decode = ValueDecoder(kind)
            stranger = stranger_in(kind, PLAIN_CODING)
        except Exception as exc:
            raise ConfigError(f"the journal cannot store payloads of type {kind!r}: {exc}") from exc
        if stranger is not None:
            raise ConfigError(f"the journal cannot store payloads of type {kind!r}: {type_remedy(stranger)}")
        schema = self._schemas[value_class] = f"{value_class.__module__}.{value_class.__qualname__}"
        self._decoders.setdefault(schema, []).append(decode)
        self._fidelities.setdefault(value_class, []).append(Fidelity(kind))

    def encode(self, payload: Payload[Any]) -> tuple[str, bytes]:
        """Return the schema and the bytes of a payload.

        Raises EncodeError if the value cannot be encoded, could not be decoded again, or is too long.
        """
        value = payload.value
        known = self._class_of(value)
        if known is None:
            raise EncodeError(
                f"the journal could not give back a payload of type {type(value).__qualname__}: no collector names "
                f"that type. Annotate a handler with it (payload: Payload[{type(value).__name__}]), or list it in "
                f"Journal(types=[...])"
            )
        try:
            raw, origin = msgspec.Raw(self._encode_value(value, self._fidelities[known])), payload._headers.origin
            keys, topics = tuple(payload.keys), tuple(payload.topics)
            body = _encode(_Body(raw, payload._delivery.value, keys, topics, payload.priority, origin))
        except Exception as exc:
            raise EncodeError(
                f"the journal cannot store the payload of type {type(value).__qualname__}: {text_of(exc)}. "
                f"{advice(value, exc)}"
            ) from exc
        if len(body) > self._max_bytes:
            raise EncodeError(
                f"the payload takes {len(body):,} bytes, and the limit of the journal is {self._max_bytes:,}: "
                f"Journal(max_payload_bytes=...)"
            )
        return self._schemas[known], body

    def _class_of(self, value: Any) -> type | None:
        """Return the class that has a schema for a value; None if there is none."""
        cls = type(value)
        if cls in self._schemas or kinds.of(cls) is None:
            return cls if cls in self._schemas else None
        # What has a tag comes back as its own class where a base is annotated, such as Path.
        return next((base for base in cls.__mro__ if base in self._schemas), None)

    def _encode_value(self, value: Any, fidelities: list[Fidelity]) -> bytes:
        """Encode a value so that it comes back as what it is. Raise TypeError if none of its types can do that."""
        error = TypeError("it has no type")
        try:
            encoded = _encode(value)
        except Exception:  # it may have tags, or it fails again
            return _first_encoding(fidelities, value)
        for fidelity in fidelities:
            if fidelity.suspects(encoded) is None:
                return encoded
            try:
                kept = fidelity.faithful(value, encoded)
            except TypeError as exc:
                error = exc
            else:
                return encoded if kept is value else _encode(kept)
        raise error

    def decode(self, event: StoredEvent) -> Payload[Any]:
        """Return the payload of an event. Raises PayloadTypeError if it is damaged, or no type fits it any more."""
        if not event.is_sound:
            raise PayloadTypeError(f"event {event.id} is damaged in the journal: its checksum is wrong")
        decoders = self._decoders.get(event.schema)
        if decoders is None:
            text = f"event {event.id} is a {event.schema}, which no collector names any more: it cannot be decoded"
            raise PayloadTypeError(text)
        try:
            return _payload_of(event.body, partial(_decode_first, decoders))
        except Exception as exc:  # validation code of the type may raise anything
            text = f"event {event.id} does not decode as {event.schema} any more: {text_of(exc)}"
            raise PayloadTypeError(text) from exc


def _first_encoding(fidelities: list[Fidelity], value: Any) -> bytes:
    """Return the encoding of a value with tags, by the first of its types that keeps it as what it is."""
    for fidelity in fidelities[:-1]:
        with suppress(TypeError):
            return bytes(fidelity.encode_part(value))
    return bytes(fidelities[-1].encode_part(value))


class ValueDecoder:
    """Decodes values of one type."""

    def __init__(self, kind: Any) -> None:
        self._type = kind
        extension = PLAIN_CODING.restorer(writable=True).extension
        self._decode = msgspec.msgpack.Decoder(kind, ext_hook=extension, dec_hook=PLAIN_CODING.convert).decode

    def __call__(self, raw: msgspec.Raw) -> Any:
        """Return the value, or raise what is wrong with it."""
        try:
            return self._decode(raw)
        except Exception as exc:
            try:
                return PLAIN_CODING.decode(b"\x91" + bytes(raw), None, BareValue, self._type, writable=True).value
            except NothingTagged:
                raise exc from None


def _decode_first(decoders: list[Callable[[Any], Any]], raw: msgspec.Raw) -> Any:
    """Return the value of the first decoder that fits; raise the error of the last one if none does."""
    for decode in decoders[:-1]:
        try:
            return decode(raw)
        except Exception:  # noqa: S112 - the next decoder may fit
            continue
    return decoders[-1](raw)


def _members_of(kind: Any) -> Iterable[Any]:
    """Yield the members of a union, or the type itself; nothing for Any."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        for member in typing.get_args(kind):
            yield from _members_of(member)
    elif kind is not Any:
        yield kind


def _class_of(kind: Any) -> type | None:
    """Return the class of the values of a type; None if they have no class in common."""
    while True:
        if typing.get_origin(kind) is typing.Annotated:
            kind = typing.get_args(kind)[0]
        elif hasattr(kind, "__supertype__"):
            kind = kind.__supertype__
        elif typing.is_typeddict(kind):
            return dict
        elif typing.get_origin(kind) is not None:
            kind = typing.get_origin(kind)
        else:
            return kind if isinstance(kind, type) else None
