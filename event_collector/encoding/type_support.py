"""Which types values can have that travel."""

from abc import ABCMeta
from collections.abc import Iterator
from typing import Any

from msgspec import inspect

from event_collector.encoding.coding import Coding
from event_collector.encoding.tagged import kinds


def stranger_in(value_type: Any, coding: Coding) -> type | None:
    """Return a class within a type whose objects cannot travel; None if there is none, or it is not known.

    An abstract class may have subclasses that can.
    """
    if coding.dec_hook is not None:
        return None
    for cls in _classes_unknown_to_msgspec(inspect.type_info(value_type)):
        if cls is not object and not isinstance(cls, ABCMeta) and not kinds.may_give(cls):
            return cls
    return None


def _classes_unknown_to_msgspec(info: inspect.Type) -> Iterator[type]:
    """Yield the classes in a type that msgspec leaves to its hooks."""
    seen: set[int] = set()
    rest: list[Any] = [info]
    while rest:
        part = rest.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, inspect.CustomType):
            yield part.cls
        elif isinstance(part, (list, tuple)):
            rest += part
        elif isinstance(part, (inspect.Type, inspect.Field)):
            rest += (getattr(part, name) for name in part.__struct_fields__)
