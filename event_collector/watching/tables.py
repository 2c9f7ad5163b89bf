"""Figures as plain text, and tables with aligned columns."""

from collections.abc import Sequence
from typing import Final

from event_collector.watching.figures import Unit

UNKNOWN: Final = "-"


def duration(seconds: float) -> str:
    """Return a time in seconds, milliseconds or microseconds."""
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def size(count: float) -> str:
    """Return a number of bytes in a unit of its magnitude."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count:.0f} bytes"


def short(rate: float) -> str:
    """Return a rate in three digits, or all digits of a larger one."""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def text_of(value: float | None, unit: Unit) -> str:
    """Return a figure as text; `-` for an unknown one, and for a time of 0, which was never measured."""
    if value is None or (unit == "s" and not value):
        return UNKNOWN
    formats = {"By": size, "{cpu}": "{:.0%}".format, "{event}/s": short, "s": duration}
    return formats.get(unit, "{:,}".format)(value)


def columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return aligned lines: the first column to the left, the others to the right."""
    width, *widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = []
    for first, *others in (head, *rows):
        cells = [first.ljust(width), *map(str.rjust, others, widths)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def printable(text: str) -> str:
    """Return text with control characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def plural(number: int, noun: str) -> str:
    """Return a number and a noun, the noun in the plural unless the number is 1."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
