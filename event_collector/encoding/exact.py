"""Data within objects of libraries, such as the fields of a model: it comes back type for type.

Alone, a tuple would become a list and a date a text, as msgpack knows them.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from event_collector.encoding.classes import class_named
from event_collector.encoding.tagged import Restorer, Tagger, ValueKind, kinds


class Exact:
    """Wraps an object that msgspec would encode as something else."""

    def __init__(self, value: Any) -> None:
        self.value = value


def exact(value: Any) -> Any:
    """Return data with each part wrapped that would come back as something else."""
    kind = type(value)
    if kind is dict:
        return {exact(key): exact(one) for key, one in value.items()}
    if kind is list:
        return [exact(one) for one in value]
    return Exact(value) if kind in _TAKE_APART or isinstance(value, Enum) else value


def _zone_of(value: "datetime | time") -> Any:
    zone = value.tzinfo
    if zone is None or isinstance(zone, ZoneInfo):
        if zone is not None and zone.key is None:
            raise TypeError(f"the time zone of {value} has no key")
        return None if zone is None else zone.key
    offset = zone.utcoffset(None)
    if offset is None:
        raise TypeError(f"{value} would lose its time zone {zone}")
    return offset.total_seconds()


def _zone(content: Any) -> tzinfo | None:
    if content is None or content == 0:
        return None if content is None else UTC
    return ZoneInfo(content) if isinstance(content, str) else timezone(timedelta(seconds=content))


def _parts_of_time(value: Any) -> Any:
    return value.replace(tzinfo=None, fold=0).isoformat(), value.fold, _zone_of(value)


def _list_of(values: Any) -> list[Any]:
    return [exact(one) for one in values]


_TAKE_APART: Final[dict[type, Callable[[Any], Any]]] = {
    tuple: _list_of,
    set: _list_of,
    frozenset: _list_of,
    bytearray: bytes,
    datetime: _parts_of_time,
    time: _parts_of_time,
    date: date.isoformat,
    timedelta: lambda value: (value.days, value.seconds, value.microseconds),
    Decimal: str,
    UUID: lambda value: value.bytes,
}

_PUT_TOGETHER: Final[dict[str, Callable[[Any], Any]]] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "bytearray": bytearray,
    "datetime": lambda parts: datetime.fromisoformat(parts[0]).replace(fold=parts[1], tzinfo=_zone(parts[2])),
    "time": lambda parts: time.fromisoformat(parts[0]).replace(fold=parts[1], tzinfo=_zone(parts[2])),
    "date": date.fromisoformat,
    "timedelta": lambda parts: timedelta(*parts),
    "Decimal": Decimal,
    "UUID": lambda data: UUID(bytes=data),
}


def _encode(wrapped: Exact, tagger: Tagger) -> Any:
    value = wrapped.value
    if isinstance(value, Enum):
        return tagger.name(type(value)), exact(value.value)
    return type(value).__name__, _TAKE_APART[type(value)](value)


def _decode(content: Any, _: Restorer) -> Any:
    name, data = content
    if ":" not in name:
        return _PUT_TOGETHER[name](data)
    cls = class_named(name)
    if not issubclass(cls, Enum):
        raise TypeError(f"{name} is no Enum")
    return cls(data)


kinds.add(ValueKind("exact", _encode, _decode), Exact)
