"""Option tables: one row documents an option and decides which values it accepts."""

import math
from dataclasses import MISSING, field, fields
from enum import Enum
from typing import Any, Final, NamedTuple, get_args

from event_collector.values.errors import ConfigError

REQUIRED: Final = MISSING
"""Default of an option without one."""


class Range(Enum):
    """Ranges of numbers. A number outside raises ConfigError."""

    ANY = ""
    RAISED = "at least {}; lower values are raised"
    LEAST = "at least {}"
    POSITIVE = "more than 0, and finite"
    COUNT = "a whole number, at least 1"


class Number(NamedTuple):
    """Numbers that an option accepts."""

    range: Range = Range.ANY
    least: float | None = None  # lower bound of RAISED and LEAST
    unit: str = ""  # "seconds" or "bytes"; empty for counts and ratios
    whole: bool = False  # fractions are cut off
    floor: str = ""  # name of an earlier option whose value is a lower bound of RAISED, too

    def __str__(self) -> str:
        bounds = [f"{self.least:g}"] if self.least is not None else []
        if self.floor:
            bounds.append(f"`{self.floor}`")
        return self.range.value.format(" and ".join(bounds))

    def contains(self, value: float) -> bool:
        """Return whether the value is accepted, unchanged or raised."""
        if self.range is Range.LEAST and self.least is not None:
            return value >= self.least
        if self.range is Range.POSITIVE:
            return 0 < value < math.inf
        if self.range is Range.COUNT:
            return math.isfinite(value) and value == int(value) >= 1
        return True

    def convert(self, value: float, floor: float | None) -> float:
        """Return the number that replaces an accepted value."""
        if self.whole:
            value = int(value)
        if self.range is Range.RAISED:
            return max(*(bound for bound in (self.least, floor) if bound is not None), value)
        return value


class Option(NamedTuple):
    """One row: an option, its meaning and the values that it accepts."""

    name: str
    type: Any
    default: Any
    meaning: str
    number: Number | None = None  # None if the option is not a number
    choices: tuple[str, ...] = ()  # accepted values; empty for an option without such a list
    example: str = ""  # source code of an accepted value; the option then accepts values of its type only

    @property
    def values(self) -> str:
        """The accepted values and their unit, such as "in seconds, at least 1"; empty for all values of the type."""
        if self.choices:
            return "one of " + ", ".join(f'"{choice}"' for choice in self.choices)
        if self.number is None:
            return ""
        return ", ".join(filter(None, (self.number.unit and f"in {self.number.unit}", str(self.number))))

    def checked(self, value: Any, floor: float | None = None) -> Any:
        """Return the value that replaces `value`. `floor`: the checked value of the option `number.floor`.

        Raises ConfigError, which names the option, if the value is not accepted.
        """
        is_optional = type(None) in get_args(self.type)
        if value is None and is_optional:
            return None
        if self.number is not None:
            if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
                raise ConfigError(f"{self.name} takes a number, not {value!r}")
            if not self.number.contains(value):
                raise ConfigError(f"{self.name} must be {self.number}, not {value!r}")
            return self.number.convert(value, floor)
        if self.choices and value not in self.choices:
            none = " or None" if is_optional else ""
            raise ConfigError(f"{self.name} is one of {self.choices}{none}, not {value!r}")
        if self.example and not isinstance(value, self.type):
            kind = self.example.partition("(")[0].partition(".")[0]
            raise ConfigError(f"{self.name} takes a {kind} such as {self.example}, not {value!r}")
        return value


def option(
    default: Any, meaning: str, number: Number | None = None, *, choices: tuple[str, ...] = (), example: str = ""
) -> Any:
    """Return a dataclass field that is a row of the table. Name and type are those of the field."""
    return field(default=default, metadata={"row": (meaning, number, choices, example)})


def options_of(kind: Any) -> tuple[Option, ...]:
    """Return the table of a dataclass whose fields were made with option(), in the order of the fields."""
    return tuple(Option(row.name, row.type, row.default, *row.metadata["row"]) for row in fields(kind))
