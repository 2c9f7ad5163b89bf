"""Figures as plain text, and tables with aligned columns."""

from collections.abc import Sequence
from typing import Final

from event_collector.watching.figures import Unit

UNKNOWN: Final = "-"


_LONG: Final = (("d", 86_400.0), ("h", 3600.0), ("min", 60.0))


def duration(seconds: float) -> str:
    """Return a time in the unit of its magnitude, from microseconds to days: "20.2 ms", "2.2 s", "5.5 min"."""
    for unit, length in _LONG:
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 0.9995:
            return f"{_digits(seconds * factor)} {unit}"
    return f"{_digits(seconds * 1e6)} us"


def size(count: float) -> str:
    """Return a number of bytes in a unit of its magnitude."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if count >= factor:
            return f"{_digits(count / factor)} {unit}"
    return f"{count:.0f} bytes"


def short(rate: float) -> str:
    """Return a rate in three digits, or all digits of a larger one."""
    return "<0.001" if 0 < rate < 0.001 else _digits(rate)


def _digits(number: float) -> str:
    return f"{number:,.0f}" if number >= 99.95 else f"{number:.3g}"


def text_of(value: float | None, unit: Unit) -> str:
    """Return a figure as text; `-` for an unknown one, and for a time of 0, which was never measured."""
    if value is None or (unit == "s" and not value):
        return UNKNOWN
    formats = {"By": size, "{cpu}": "{:.0%}".format, "{event}/s": short, "{message}/s": short, "s": duration}
    return formats.get(unit, "{:,}".format)(value)


def columns(head: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Return aligned lines: the first column to the left, the others to the right.

    Columns beyond `width` characters make further tables, with an empty line between and the first column repeated.
    """
    first, *others = [[cell[:width] for cell in column] for column in zip(head, *rows, strict=True)]
    tables, used = [[first]], _width(first)
    for column in others:
        used += 2 + _width(column)
        if width is not None and used > width and len(tables[-1]) > 1:
            tables.append([first])
            used = _width(first) + 2 + _width(column)
        tables[-1].append(column)
    return "\n\n".join(map(_aligned, tables))


def _aligned(table: Sequence[Sequence[str]]) -> str:
    width, *widths = map(_width, table)
    lines = (
        "  ".join([first.ljust(width), *map(str.rjust, others, widths)]) for first, *others in zip(*table, strict=True)
    )
    return "\n".join(map(str.rstrip, lines))


def _width(column: Sequence[str]) -> int:
    return max(map(len, column))


def printable(text: str) -> str:
    """Return text with control characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def plural(number: int, noun: str) -> str:
    """Return a number and a noun, the noun in the plural unless the number is 1."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
