"""The options of a command: the values they take, and the error of those that cannot work."""

import argparse
import math

__all__ = ["UsageError", "count", "duration"]


class UsageError(Exception):
    """The command was asked for something that cannot work: one line, exit status 2."""


def count(text: str) -> int:
    """Return a whole number of at least 1."""
    try:
        number = int(text.replace("_", ""))
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"takes a whole number of at least 1, not {text!r}")
    return number


def duration(text: str) -> float:
    """Return a number of seconds, finite and above 0."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"takes a number of seconds above 0, not {text!r}")
    return seconds
