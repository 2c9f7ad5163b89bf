"""What a journal holds of an event, and the way of a payload there and back.

A payload is stored with the name of its value's class. What that is decoded into, the collectors say: nothing is
imported, and nothing is called but what they name.
"""

import types
import typing
import zlib
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec

from event_collector.handlers.attempt import Attempt
from event_collector.remote.remote_exceptions import text_of
from event_collector.values.errors import ConfigError, EncodeError, PayloadTypeError
from event_collector.values.payload import Delivery, Payload

__all__ = [
    "Letter",
    "Progress",
    "Record",
    "RecordCodec",
    "decode_progress",
    "decode_untyped",
    "encode_progress",
    "make_record",
]

PLAIN: Final = (
    type(None), bool, int, float, str, bytes, bytearray, list, tuple, dict, set, frozenset,
    datetime, date, time, timedelta, Decimal, UUID,
)  # fmt: skip
"""Classes that are what they are in every program."""

_encode: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode


class Record(NamedTuple):
    """An event as it stands in the journal. Times are those of time.time(), in seconds."""

    id: int
    schema: str
    """The class of the payload's value, `module.qualname`."""
    body: bytes
    """The payload as msgpack."""
    checksum: int
    """Of what does not change; see `make_record()`. SQLite has none for its pages."""
    accepted: float
    expires: float | None = None
    """When it need not be started any more."""
    progress: bytes | None = None
    """What was tried; see `encode_progress()`. None: nothing, or all of it is to be tried again."""
    crashes: int = 0
    """How many programs died while a handler had it."""

    @property
    def is_sound(self) -> bool:
        """Whether it is as it was written."""
        return type(self.body) is bytes and self.checksum == _checksum(self)


def make_record(
    number: int,
    schema: str,
    body: bytes,
    accepted: float,
    expires: float | None = None,
    progress: bytes | None = None,
) -> Record:
    """Return the record of an event that was never tried, with its checksum."""
    record = Record(number, schema, body, 0, accepted, expires, progress)
    return record._replace(checksum=_checksum(record))


def _checksum(record: Record) -> int:
    fixed = f"{record.id} {record.schema} {record.accepted} {record.expires}"
    return zlib.crc32(record.body, zlib.crc32(fixed.encode(errors="replace")))


class Letter(NamedTuple):
    """A dead letter as it stands in the journal."""

    record: Record
    """Of its event: what was sent."""
    collector: str
    """The key of the collector that failed; empty where the event did not get to any."""
    attempts: int
    reason: str
    error: str
    trace: str
    time: float
    """When it died, as time.time()."""


class Progress(NamedTuple):
    """How far an event has come."""

    attempts: dict[str, Attempt]
    """By key, the collectors that have not finished it, and what they have tried."""
    due: float | None = None
    """When the next attempt may begin."""


def encode_progress(attempts: Mapping[str, Attempt], due: float | None = None) -> bytes:
    """Return what was tried as bytes, with a checksum of their own at the end."""
    body = _encode((attempts, due))
    return body + zlib.crc32(body).to_bytes(4, "big")


def decode_progress(data: bytes) -> Progress:
    """Return what was tried.

    Raises:
        ValueError: it is damaged.

    """
    if type(data) is not bytes or zlib.crc32(data[:-4]).to_bytes(4, "big") != data[-4:]:
        raise ValueError("what was tried of this event is damaged: its checksum is wrong")
    return _decode_progress(data[:-4])


_decode_progress: Final[Callable[[bytes], Progress]] = msgspec.msgpack.Decoder(Progress).decode


class _Body(msgspec.Struct, array_like=True):
    """A payload in the journal. Other versions may have fewer or more of these."""

    value: msgspec.Raw
    delivery: int = 0
    keys: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    priority: int | float | None = None
    origin: int | None = None


_decode_body: Final[Callable[[bytes], _Body]] = msgspec.msgpack.Decoder(_Body).decode


def decode_untyped(record: Record) -> Payload[Any]:
    """Return the payload of a record with its value as msgpack knows it.

    Raises:
        Exception: it is none.

    """
    return _payload(_decode_body(record.body), msgspec.msgpack.decode)


def _payload(body: _Body, decode: Callable[[Any], Any]) -> Payload[Any]:
    payload = Payload(decode(body.value), Delivery(body.delivery), body.keys, body.topics, body.priority)
    if body.origin is not None:
        payload._update_headers(origin=body.origin)
    return payload


class RecordCodec:
    """Makes bytes of payloads, and payloads of bytes.

    Args:
        types: what values are, besides plain data: the payload types of the collectors, and others.
        max_bytes: how long a payload may be, encoded.

    Raises:
        ConfigError: msgspec cannot decode into one of the types.

    """

    def __init__(self, types: Iterable[Any], max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._decoders: dict[str, list[Callable[[Any], Any]]] = {}
        self._names: dict[type, str] = {}
        for wanted in types:
            for member in _members(wanted):
                self._register(member)
        for plain in PLAIN:
            if plain not in self._names:
                self._add(plain, plain)

    def _register(self, wanted: Any) -> None:
        value_class = _class_of(wanted)
        if value_class is not None:
            self._add(value_class, wanted)

    def _add(self, value_class: type, wanted: Any) -> None:
        name = f"{value_class.__module__}.{value_class.__qualname__}"
        try:
            decode = msgspec.msgpack.Decoder(wanted).decode
        except Exception as exc:
            raise ConfigError(f"the journal cannot store payloads of type {wanted!r}: {exc}") from exc
        self._names[value_class] = name
        self._decoders.setdefault(name, []).append(decode)

    def encode(self, payload: Payload[Any]) -> tuple[str, bytes]:
        """Return the schema and the bytes of a payload.

        Raises:
            EncodeError: its value cannot be stored, could not be had back, or is too long.

        """
        value = payload.value
        schema = self._names.get(type(value))
        if schema is None:
            raise EncodeError(
                f"the journal could not give back a payload of type {type(value).__qualname__}: no collector names "
                f"that type. Annotate a handler with it (payload: Payload[{type(value).__name__}]), or list it in "
                f"Journal(types=[...])"
            )
        try:
            body = _encode(
                _Body(
                    msgspec.Raw(_encode(value)),
                    payload.delivery.value,
                    tuple(payload.keys),
                    tuple(payload.topics),
                    payload.priority,
                    payload._headers.origin,
                )
            )
        except Exception as exc:
            raise EncodeError(
                f"the journal cannot store the payload of type {type(value).__qualname__}: {text_of(exc)}. Send what "
                f"msgspec encodes (dict, list, str, bytes, numbers, dataclass, msgspec.Struct, attrs)"
            ) from exc
        if len(body) > self._max_bytes:
            raise EncodeError(
                f"the payload takes {len(body):,} bytes, and the journal stores no more than {self._max_bytes:,} of "
                f"one: Journal(max_payload_bytes=...)"
            )
        return schema, body

    def decode(self, record: Record) -> Payload[Any]:
        """Return the payload of a record.

        Raises:
            PayloadTypeError: there is none any more; the message says why.

        """
        if not record.is_sound:
            raise PayloadTypeError(f"event {record.id} is damaged in the journal: its checksum is wrong")
        decoders = self._decoders.get(record.schema)
        if decoders is None:
            raise PayloadTypeError(
                f"event {record.id} is a {record.schema}, which no collector names any more: it cannot be decoded"
            )
        try:
            return _payload(_decode_body(record.body), partial(_first_of, decoders))
        except Exception as exc:  # also what a type's own checks raise
            raise PayloadTypeError(
                f"event {record.id} does not decode as {record.schema} any more: {text_of(exc)}"
            ) from exc


def _first_of(decoders: list[Callable[[Any], Any]], raw: msgspec.Raw) -> Any:
    """Return what the first of several types makes of it, of which it fits at least one."""
    for decode in decoders[:-1]:
        try:
            return decode(raw)
        except Exception:  # noqa: S112 - the last one's reason is told
            continue
    return decoders[-1](raw)


def _members(wanted: Any) -> Iterable[Any]:
    """Yield the types that a union is made of; any other type is its own only member."""
    if typing.get_origin(wanted) in (typing.Union, types.UnionType):
        for member in typing.get_args(wanted):
            yield from _members(member)
    elif wanted is not Any:
        yield wanted


def _class_of(wanted: Any) -> type | None:
    """Return the class of the values of a type; None if it has none of its own."""
    while True:
        if typing.get_origin(wanted) is typing.Annotated:
            wanted = typing.get_args(wanted)[0]
        elif hasattr(wanted, "__supertype__"):
            wanted = wanted.__supertype__
        elif typing.is_typeddict(wanted):
            return dict
        elif typing.get_origin(wanted) is not None:
            wanted = typing.get_origin(wanted)
        else:
            return wanted if isinstance(wanted, type) else None
