"""The encoding of chunks: values that go to a worker in one list, and outcomes that come back in one.

A chunk is encoded as one msgpack array. Each outcome is encoded when its item has ended; the outcomes of a record,
one after the other, are the elements of an array whose head the receiver puts in front of them. So one call of msgspec
decodes either. A list in which one value does not fit is decoded again, value by value: only that one fails.
"""

from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

import msgspec

from event_collector.encoding.buffers import Buffer
from event_collector.encoding.classes import import_modules
from event_collector.encoding.coding import Coding
from event_collector.remote.codec import ReplyDecoder, encode_value
from event_collector.remote.fidelity import Fidelity
from event_collector.values.results import Ok, Result

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

SIMPLE: Final = frozenset((str, int, float, bool, type(None)))
"""The types of outcomes that arrive as what they are and are never large enough for a separate frame."""

LINES: Final = b"\xc1"
"""The first byte of a chunk of lines; see `line_items`. No value of msgpack begins with it."""

_SUCCESS: Final = b"\x92\x00"
"""The first bytes of the reply of a handler that succeeded; the value follows."""


class _Items(msgspec.Struct, Generic[T], array_like=True):
    """An encoded chunk."""

    values: list[T]
    first_id: int
    priority: int | float | None = None
    modules: tuple[str, ...] = ()
    """Modules with classes of the values, to be imported if they are not there."""
    has_unfit: bool = False
    """Whether some values could not be decoded. Set by the reader."""


class UnfitValue(NamedTuple):
    """A value that could not be decoded, still encoded."""

    value: msgspec.Raw


class ItemsEncoder:
    """Encodes the values of chunks for a collector in a worker."""

    def __init__(self, payload_type: Any, coding: Coding) -> None:
        payload_type = coding.type_of(payload_type)
        self._coding, self._is_untyped = coding, payload_type is Any
        self._fidelity = Fidelity(list if payload_type is Any else list[payload_type], coding)

    def __call__(self, values: list[Any], first_id: int, priority: float | None) -> bytes:
        """Encode values whose events would have the ids from `first_id` on. Raise if one cannot be encoded."""
        coding, fidelity = self._coding, self._fidelity
        try:
            if not (self._is_untyped and coding.has_special(values)):
                body = encode_value((values, first_id, priority))
                if fidelity.suspects(body) is not None and (kept := fidelity.faithful(values, body)) is not values:
                    body = encode_value((kept, first_id, priority))
                return body
        except Exception:  # noqa: S110 - some may have tags, or it fails again
            pass
        return coding.encode_all(
            values, lambda raw, modules: (raw, first_id, priority, modules), fidelity.faithful, as_sent=self._is_untyped
        )


class ItemsReader:
    """Decodes chunks in a worker."""

    def __init__(self, payload_type: Any, coding: Coding) -> None:
        payload_type = coding.type_of(payload_type)
        # Generic subscription with a run-time type is beyond static typing.
        frame: Any = _Items if payload_type is Any else _Items[payload_type]
        hooks: Any = {"ext_hook": coding.restorer(writable=False).extension, "dec_hook": coding.convert}
        self._decode: Callable[[Buffer], _Items[Any]] = msgspec.msgpack.Decoder(frame, **hooks).decode
        self._decode_raw = msgspec.msgpack.Decoder(_Items[msgspec.Raw]).decode
        self._decode_one = msgspec.msgpack.Decoder(payload_type, **hooks).decode

    def __call__(self, body: Buffer) -> _Items[Any]:
        """Return the chunk, with an `UnfitValue` in place of each value that does not have the type."""
        try:
            return self._decode(body)
        except Exception:  # the type may have a `__post_init__` that raises anything
            raw = self._decode_raw(body)
            import_modules(raw.modules)
            return _Items(
                [self._fit(value) for value in raw.values], raw.first_id, raw.priority, raw.modules, has_unfit=True
            )

    def _fit(self, value: msgspec.Raw) -> Any:
        try:
            return self._decode_one(value)
        except Exception:
            return UnfitValue(value)


def outcome_in(reply: Buffer) -> bytes | None:
    """Return the encoded value in the reply of a handler that succeeded; None for any other reply."""
    return bytes(reply[2:]) if reply[:2] == _SUCCESS else None


class OutcomesDecoder:
    """Decodes the outcomes of a chunk in the program."""

    def __init__(self, result_type: Any, key: str, decode_reply: ReplyDecoder, coding: Coding) -> None:
        self._key, self._decode_reply = key, decode_reply
        result_type = coding.type_of(result_type)
        kind: Any = list if result_type is Any else list[result_type]
        self._decode: Callable[[bytes], list[Any]] = msgspec.msgpack.Decoder(
            kind, ext_hook=coding.restorer(writable=True).extension, dec_hook=coding.convert
        ).decode
        self._decode_raw = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode

    def all(self, outcomes: bytes, count: int) -> list[Result[Any]] | None:
        """Return the results; None if a value does not have the type."""
        key = self._key
        try:
            return [Ok(value, key=key) for value in self._decode(_array(outcomes, count))]
        except Exception:
            return None

    def each(self, outcomes: bytes, count: int) -> list[Result[Any] | BaseException]:
        """Return the results, with an EncodeError in place of each value that does not have the type."""
        return [self._decode_one(value) for value in self._decode_raw(_array(outcomes, count))]

    def _decode_one(self, value: msgspec.Raw) -> Result[Any] | BaseException:
        try:
            return self._decode_reply(_SUCCESS + bytes(value), None)
        except Exception as exc:
            return exc


def _array(elements: bytes, count: int) -> bytes:
    return b"\xdd" + count.to_bytes(4) + elements
