"""Plain data of a value: dicts, lists and what msgpack has, with the objects that msgspec does not know in place."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import msgspec

_KEPT: Final = (bytes, bytearray, memoryview, datetime)


def to_plain(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return the plain data of a value. `change` returns what takes the place of each part that is no container.

    Structs, dataclasses and the like become what msgspec encodes them as. Objects that it does not know stay.
    """
    unknown: dict[int, tuple[bytearray, Any]] = {}

    def stand_in(part: Any) -> bytearray:
        placeholder = bytearray()  # is passed through as the same object
        unknown[id(placeholder)] = placeholder, part
        return placeholder

    def changed(part: Any) -> Any:
        if type(part) is dict:
            return {changed(key): changed(one) for key, one in part.items()}
        if type(part) is list:
            return [changed(one) for one in part]
        if type(part) is tuple:
            return tuple(changed(one) for one in part)
        if type(part) is bytearray and (found := unknown.get(id(part))) is not None:
            return found[1]
        return change(part)

    return changed(msgspec.to_builtins(value, builtin_types=_KEPT, enc_hook=stand_in))
