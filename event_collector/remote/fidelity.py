"""Fidelity: a value arrives in another process as what it was, or cannot be encoded.

Encoded as its base, an object of a subclass would lose fields without a word, and an aware datetime its offset.
"""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec
from msgspec import inspect

from event_collector.encoding.buffers import Blob
from event_collector.encoding.coding import PLAIN_CODING, BareValue, Coding, Frame
from event_collector.encoding.plain import to_plain
from event_collector.encoding.tagged import kinds
from event_collector_workers.job import Copy

_COLLECTIONS: Final[dict[type[inspect.Type], type]] = {
    inspect.ListType: list,
    inspect.VarTupleType: tuple,
    inspect.SetType: set,
    inspect.FrozenSetType: frozenset,
}
_ATOMS: Final = frozenset((str, int, float, bool, bytes, type(None)))
"""Types whose values arrive as what they are."""

PLAIN: Final = frozenset((dict, list, tuple, str, int, float, bool, type(None)))
"""The most frequent result types. None of them is a Result, is awaitable, or needs a separate frame."""

_may_hold_datetimes: Final = re.compile(rb"\xff(?:(?<=[\xd6\xd7].)|(?<=\xc7\x0c.))", re.DOTALL).search
"""Searches msgpack for timestamps, which are always in UTC. What it finds may be something else.

It begins with one byte that text never has.
"""


_BEFORE: Final = (b"\xd6", b"\xd7")
_LONG_BEFORE: Final = b"\xc7\x0c"
"""What stands before that byte in timestamps of 4, 8 and 12 bytes."""
_FEW: Final = 8
"""Such bytes that are looked at one by one."""


class _Part(NamedTuple):
    """What a part of a type accepts: the class itself but no subclass, and what `inside` does not raise for."""

    base: type | None = None
    inside: Callable[[Any], None] | None = None

    def check(self, value: Any) -> None:
        if self.base is not None and type(value) is not self.base:
            if isinstance(value, self.base) and kinds.of(type(value)) is None:
                name, base = type(value).__name__, self.base.__name__
                raise TypeError(f"{name} would arrive as {base}, as annotated: convert it, or annotate {name}")
            if self.base is float and type(value) is int and float(value) != value:
                raise TypeError(f"{value} would arrive as {float(value):.0f}, as annotated: annotate int | float")
        elif self.inside is not None:
            self.inside(value)


def _check_datetime(value: datetime) -> None:
    zone = value.tzinfo
    if value.fold or (zone is not None and zone.utcoffset(None) != value.utcoffset()):
        raise TypeError(
            f"the datetime {value} would lose its time zone {zone} or its fold: send it in UTC, "
            f"value.astimezone(timezone.utc)"
        )


def _check_time(value: time) -> None:
    if value.fold or (value.tzinfo is not None and value.utcoffset() is None):
        raise TypeError(f"the time {value} would lose its time zone {value.tzinfo} or its fold")


_SIMPLE: Final[dict[type[inspect.Type], _Part]] = {
    inspect.BoolType: _Part(bool),
    inspect.IntType: _Part(int),
    inspect.FloatType: _Part(float),
    inspect.StrType: _Part(str),
    inspect.BytesType: _Part(bytes),
    inspect.DateType: _Part(date),
    inspect.TimeType: _Part(time, _check_time),
    inspect.DateTimeType: _Part(datetime, _check_datetime),
    inspect.TimeDeltaType: _Part(timedelta),
    inspect.UUIDType: _Part(UUID),
    inspect.DecimalType: _Part(Decimal),
    inspect.NoneType: _Part(type(None)),
}


class Fidelity:
    """Checks the values of one type, which are annotated with it, or of any type, and encodes those that need tags.

    Attributes:
        suspects: takes an encoded value, and returns None if it arrives as what it is. Otherwise `faithful()` decides.
        special: classes of values that are not encoded as plain msgpack, unless `is_fast()`.
        plain: classes of results that are neither special nor a Result.
        copy: makes the copies of large buffers that can change; None for memory of this process alone.
    """

    def __init__(self, value_type: Any, coding: Coding = PLAIN_CODING, copy: Copy | None = None) -> None:
        self._coding, self.copy = coding, copy
        value_type = self._type = coding.type_of(value_type)
        self._by_class: dict[type, _Part] = {}
        try:
            part = _Part() if value_type is Any else self._part(inspect.type_info(value_type))
        except TypeError:  # the decoder of the type says what is wrong with it
            part = _Part()
        self._part_of_all = part
        self.suspects: Callable[[bytes], object] = _may_hold_datetimes if part == _Part() else bool
        self.special = coding.special
        self.plain = PLAIN if coding.wrap is None else frozenset[type]()

    def is_same(self, other: "Fidelity") -> bool:
        """Return whether values are encoded to the same."""
        return self is other or (self._type == other._type and self._coding == other._coding)

    def is_fast(self, value: Any, *, inline: bool) -> bool:
        """Return whether a value of a special class can be encoded as plain msgpack."""
        return self._coding.is_fast(value, inline=inline, as_sent=self._type is Any)

    def encode(self, value: Any, frame: Frame, *, inline: bool) -> tuple[bytes, Blob | None]:
        """Return body and blob of a value, with tags, in its frame. Raise if it cannot travel as what it is."""
        return self._coding.encode(value, frame, self.faithful, inline=inline, as_sent=self._type is Any)

    def encode_part(self, value: Any) -> msgspec.Raw:
        """Return a part of a message, with tags and its buffers in it. Raise if it cannot travel as what it is."""
        body, _ = self._coding.encode(value, lambda raw, _: raw, self.faithful, inline=True, as_sent=self._type is Any)
        return msgspec.Raw(body)

    def faithful(self, value: Any, encoded: bytes) -> Any:
        """Return a value that was encoded, or a form of it that keeps the offsets of datetimes, which are not in UTC.

        Raise TypeError if the value would arrive as something else. Decoded without a type it would have text in the
        place of these datetimes.
        """
        if type(value) in _ATOMS:
            return value
        self._part_of_all.check(value)
        if not _holds_timestamps(encoded):
            return value
        plain, offsets = _with_text(value)
        if not offsets:
            return value
        if self._type is not Any and sorted(_with_text(self._round_trip(plain))[1]) == sorted(offsets):
            return plain
        raise TypeError(
            f"the datetime {offsets[0]} would lose its offset: annotate it as datetime, or send it in UTC, "
            f"value.astimezone(timezone.utc)"
        )

    def _round_trip(self, plain: Any) -> Any:
        """Return what plain data becomes on its way into the type."""
        try:
            return msgspec.msgpack.decode(msgspec.msgpack.encode(plain), type=self._type)
        except Exception:
            body, blob = self._coding.encode(
                plain, lambda raw, _: (raw,), lambda value, _: value, inline=False, as_sent=False
            )
            return self._coding.decode(body, blob, BareValue, self._type, writable=False).value

    def _part(self, info: inspect.Type) -> _Part:
        if isinstance(info, inspect.Metadata):
            return self._part(info.type)
        if type(info) in _SIMPLE:
            return _SIMPLE[type(info)]
        if isinstance(info, inspect.UnionType):
            return self._union([self._part(one) for one in info.types])
        if isinstance(info, (inspect.StructType, inspect.DataclassType, inspect.NamedTupleType)):
            return self._object(info)
        if isinstance(info, inspect.TypedDictType):
            keys = {field.name: self._part(field.type) for field in info.fields}
            return _Part(dict, lambda value: _check_each((keys.get(key, _Part()), one) for key, one in value.items()))
        if isinstance(info, inspect.DictType):
            key, one = self._part(info.key_type), self._part(info.value_type)

            def check_items(value: dict[Any, Any]) -> None:
                _check_all(key, value)
                _check_all(one, value.values())

            return _Part(dict, check_items)
        if isinstance(info, inspect.TupleType):
            parts = [self._part(one) for one in info.item_types]
            return _Part(tuple, lambda value: _check_each(zip(parts, value, strict=False)))
        if isinstance(info, (inspect.ListType, inspect.VarTupleType, inspect.SetType, inspect.FrozenSetType)):
            item = self._part(info.item_type)
            return _Part(_COLLECTIONS[type(info)], lambda value: _check_all(item, value))
        return _Part()

    def _object(self, info: Any) -> _Part:
        found = self._by_class.get(info.cls)
        if found is None:
            fields: list[tuple[str, _Part]] = []
            found = self._by_class[info.cls] = _Part(  # before its fields, which may refer to it
                info.cls, lambda value: _check_each((part, getattr(value, name)) for name, part in fields)
            )
            fields += [(field.name, self._part(field.type)) for field in info.fields]
        return found

    def _union(self, parts: list[_Part]) -> _Part:
        by_base = {part.base: part for part in parts}
        if None in by_base:
            return _Part()

        def check(value: Any) -> None:
            exact = by_base.get(type(value))
            for part in parts if exact is None else (exact,):
                part.check(value)

        return _Part(None, check)


def _holds_timestamps(encoded: bytes) -> bool:
    """Return whether `_may_hold_datetimes()` finds something; sooner in a large value.

    It looks at each byte. Most values have the first byte of a timestamp nowhere, or in the length of an array alone.
    """
    at = -1
    for _ in range(_FEW):
        at = encoded.find(b"\xff", at + 1)
        if at < 0:
            return False
        if encoded[at - 1 : at] in _BEFORE or encoded[max(at - 2, 0) : at] == _LONG_BEFORE:
            return True
    return _may_hold_datetimes(encoded, at + 1) is not None


def _check_all(part: _Part, values: Iterable[Any]) -> None:
    if part.base is not None and part.inside is None and set(map(type, values)) <= {part.base}:
        return
    if part != _Part():
        for value in values:
            part.check(value)


def _check_each(parts: Iterable[tuple[_Part, Any]]) -> None:
    for part, value in parts:
        part.check(value)


def _with_text(value: Any) -> tuple[Any, list[str]]:
    """Return plain data of a value, with datetimes of other offsets than UTC as text, and these texts."""
    texts: list[str] = []

    def change(part: Any) -> Any:
        if type(part) is datetime and part.tzinfo is not None and not _is_utc(part):
            texts.append(part.isoformat())
            return texts[-1]
        return part

    return to_plain(value, change), texts


def _is_utc(value: datetime) -> bool:
    zone = value.tzinfo
    return zone is UTC or (zone is not None and zone.utcoffset(None) == timedelta(0))


UNTYPED: Final = Fidelity(Any)
