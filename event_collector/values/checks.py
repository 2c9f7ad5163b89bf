"""Checks of arguments that several rooms take."""

from typing import Any, Final

from event_collector.values.errors import ConfigError

LONGEST: Final = 100 * 365.25 * 86400.0
"""Maximum of a time in seconds, 100 years. Timers accept no infinite time."""


def is_number(value: object) -> bool:
    """Return whether a value is an int or a float, but neither a bool nor NaN."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value


def check_seconds(what: str, value: Any, *, is_optional: bool = True) -> None:
    """Raise ConfigError if a time is not a number of seconds above 0 and up to `LONGEST`.

    `what` begins the message, which names None as the value for no limit if `is_optional`.
    """
    if not is_number(value) or not 0 < value <= LONGEST:
        none = ", or None for no limit" if is_optional else ""
        raise ConfigError(f"{what} a number of seconds above 0{none}, not {value!r}")


def check_callable(what: str, value: object) -> None:
    """Raise ConfigError if a value is neither callable nor None. `what` begins the message."""
    if value is not None and not callable(value):
        raise ConfigError(f"{what} a function, not {value!r}")
