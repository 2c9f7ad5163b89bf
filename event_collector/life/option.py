"""Option tables: one row documents an option and decides which values it accepts."""

import sys
from collections.abc import Callable
from dataclasses import MISSING, field, fields
from enum import Enum
from typing import Any, Final, NamedTuple

from event_collector.values.checks import LONGEST, is_number
from event_collector.values.errors import ConfigError

REQUIRED: Final = MISSING
"""Default of an option without one."""


class Range(Enum):
    """Ranges of numbers. A number outside raises ConfigError. Except for priorities, all are finite."""

    ANY = "finite"
    PRIORITY = "a number"
    RAISED = "at least {}; lower values are raised"
    LEAST = "at least {}"
    FLOORED = "at least {}; values below {} are raised to it"
    BETWEEN = "{} to {}"
    UNBOUNDED = "at least {}, of any size"
    POSITIVE = "more than 0"


class Number(NamedTuple):
    """Numbers that an option accepts."""

    range: Range = Range.ANY
    least: float = 0  # lower bound of RAISED, LEAST, FLOORED, BETWEEN and UNBOUNDED
    unit: str = ""  # "seconds" or "bytes"; empty for counts and ratios
    whole: bool = False
    floor: str = ""  # name of an earlier option whose value is another lower bound of LEAST and FLOORED
    most: float = 0  # upper bound of BETWEEN

    def __str__(self) -> str:
        if self.range in (Range.ANY, Range.PRIORITY):
            return ""
        least, floor = f"{self.least:g}", f"`{self.floor}`"
        if self.range is Range.FLOORED:
            text = self.range.value.format(least, floor)
        elif self.range is Range.BETWEEN:
            text = self.range.value.format(least, f"{self.most:g}")
        else:
            text = self.range.value.format(f"{least} and {floor}" if self.floor else least)
        return f"a whole number, {text}" if self.whole else text

    def contains(self, value: float, floor: float | None) -> bool:
        """Return whether the value is accepted, unchanged or raised."""
        if self.range is Range.PRIORITY:
            return True
        if self.range is Range.UNBOUNDED:
            return value >= self.least and value % 1 == 0
        if abs(value) > (LONGEST if self.unit == "seconds" else sys.maxsize):
            return False
        if self.whole and value != int(value):
            return False
        if self.range is Range.POSITIVE:
            return value > 0
        if self.range is Range.LEAST:
            return value >= (self.least if floor is None else max(self.least, floor))
        if self.range is Range.BETWEEN:
            return self.least <= value <= self.most
        return self.range is not Range.FLOORED or value >= self.least

    def convert(self, value: float, floor: float | None) -> float:
        """Return the number that replaces an accepted value."""
        if self.whole:
            value = int(value)
        least = self.least if self.range is Range.RAISED else floor if self.range is Range.FLOORED else None
        return value if least is None else max(least, value)


class Option(NamedTuple):
    """One row: an option, its meaning and the values that it accepts."""

    name: str
    type: Any
    default: Any
    meaning: str
    number: Number | None = None  # None if the option is not a number
    choices: tuple[str, ...] = ()  # accepted values; empty for an option without such a list
    example: str = ""  # source code of an accepted value; the option then accepts values of its type only
    methods: tuple[str, ...] = ()  # that an accepted value has
    check: Callable[[Any], object] | None = None  # raises ValueError, which says what the option takes

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
        is_optional = self.default is None
        if value is None and is_optional:
            return None
        if self.number is not None:
            if not is_number(value):
                raise ConfigError(f"{self.name} takes a number, not {value!r}")
            if not self.number.contains(value, floor):
                bound = f" ({self.number.floor}={floor})" if floor is not None else ""
                raise ConfigError(f"{self.name} must be {str(self.number) or 'finite'}{bound}, not {value!r}")
            value = self.number.convert(value, floor)
        if self.check is not None:
            try:
                self.check(value)
            except ValueError as exc:
                raise ConfigError(f"{self.name} {exc}") from exc
        if self.type is bool and not (isinstance(value, int) and value in (0, 1)):
            raise ConfigError(f"{self.name} is True or False, not {value!r}")
        missing = [name for name in self.methods if not callable(getattr(value, name, None))]
        if missing:
            raise ConfigError(f"{self.name} takes an object with the method {missing[0]}(), not {value!r}")
        if self.choices and value not in self.choices:
            none = " or None" if is_optional else ""
            raise ConfigError(f"{self.name} is one of {self.choices}{none}, not {value!r}")
        if self.example and not isinstance(value, self.type):
            kind = self.example.partition("(")[0].partition(".")[0]
            raise ConfigError(f"{self.name} takes a {kind} such as {self.example}, not {value!r}")
        return value


def option(
    default: Any,
    meaning: str,
    number: Number | None = None,
    *,
    choices: tuple[str, ...] = (),
    example: str = "",
    methods: tuple[str, ...] = (),
    check: Callable[[Any], object] | None = None,
) -> Any:
    """Return a dataclass field that is a row of the table. Name and type are those of the field."""
    return field(default=default, metadata={"row": (meaning, number, choices, example, methods, check)})


def options_of(kind: Any) -> tuple[Option, ...]:
    """Return the table of a dataclass whose fields were made with option(), in the order of the fields."""
    return tuple(Option(row.name, row.type, row.default, *row.metadata["row"]) for row in fields(kind))
