"""Filters of the templates: figures as text, and shares as rectangles of a drawing.

Everything that they return is text or numbers; the templates escape text.
"""

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from event_collector.watching.details import EventTimeline
from event_collector.watching.tables import duration, printable, short
from event_collector.watching.tables import size as size_text

UNKNOWN: Final = "\N{EN DASH}"
COLOURS: Final = 10
"""Colours of collectors in page.css."""
WIDTH: Final = 1000.0
"""Units of the width of a drawing."""
LEAST: Final = 4.0
"""Units of a part that is there, however small its share."""

Part = tuple[str, float, str]
"""Class of its colour, its share from 0 to 1, and what it says."""
Rectangle = tuple[str, float, float, str]
"""Class of its colour, begin, width, and what it says."""


class Phase(NamedTuple):
    """A part of the time of an event."""

    colour: str
    name: str
    begin: float
    seconds: float


def count(value: float | None) -> str:
    """Return a whole number with separators."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def number(value: float | None) -> str:
    """Return a number without needless digits."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


def rate(value: float | None) -> str:
    """Return a rate in three digits."""
    return UNKNOWN if value is None else short(value)


def seconds(value: float | None) -> str:
    """Return a time in the unit of its magnitude."""
    return UNKNOWN if value is None else "0" if value <= 0 else duration(value).replace(" us", " µs")


def size(value: float | None) -> str:
    """Return bytes in a unit of their magnitude."""
    return UNKNOWN if value is None else size_text(value)


def percent(value: float | None) -> str:
    """Return a share as a percentage."""
    return UNKNOWN if value is None else f"{value:.1%}" if 0 < value < 0.0995 else f"{value:.0%}"


def cpus(value: float | None) -> str:
    """Return a number of CPUs."""
    return UNKNOWN if value is None else f"{value:.2g}" if value < 10 else f"{value:.0f}"


def clock(instant: float | None) -> str:
    """Return the time of day of an instant, where the viewer runs."""
    return UNKNOWN if not instant else time.strftime("%H:%M:%S", time.localtime(instant))


def whole(value: float) -> str:
    """Return a number rounded to a whole one."""
    return f"{value:.0f}"


def digest(text: str) -> str:
    """Return a name for the id of an element, for any text."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def json(value: Any) -> str:
    """Return a value as JSON, for a script of the page."""
    return msgspec.json.encode(value).decode()


def stacked(parts: Iterable[Part]) -> Iterator[Rectangle]:
    """Yield a rectangle for each part, one beside the other; those that are there at all can be seen."""
    shown = [(colour, min(1.0, max(0.0, share)), words) for colour, share, words in parts if share > 0]
    widths = [max(LEAST, share * WIDTH) for _, share, _ in shown]
    excess = max(0.0, sum(widths) - WIDTH)
    if excess:
        widest = max(range(len(widths)), key=widths.__getitem__)
        widths[widest] = max(LEAST, widths[widest] - excess)
    begin = 0.0
    for (colour_, _, words), width in zip(shown, widths, strict=True):
        yield colour_, round(begin, 2), round(width, 2), words
        begin += width


def phases(event: EventTimeline) -> list[Phase]:
    """Return the parts of the time of an event, in order."""
    start = event.began if event.sent is None else event.sent
    found = []
    if event.sent is not None:
        leaves = event.began if event.handed_out is None else min(event.handed_out, event.began)
        found.append(Phase("cidle", "waited", event.sent - start, max(0.0, leaves - event.sent)))
        if event.handed_out is not None:
            found.append(Phase("c5", "to the worker", leaves - start, max(0.0, event.began - leaves)))
    kind = "c3" if event.outcome == "ok" else "cbad"
    found.append(Phase(kind, "handler", event.began - start, max(0.0, event.ended - event.began)))
    return found


def longest(events: Sequence[EventTimeline]) -> float:
    """Return the seconds of the event that took longest, from sending to end."""
    return max((one.ended - (one.began if one.sent is None else one.sent) for one in events), default=0.0)


def scaled(parts: Sequence[Phase], all_seconds: float) -> Iterator[Rectangle]:
    """Yield a rectangle for each phase, on a scale of so many seconds."""
    for one in parts:
        scale = WIDTH / all_seconds if all_seconds > 0 else 0.0
        width = max(LEAST / 2, one.seconds * scale) if one.seconds else 0.0
        begin = min(one.begin * scale, WIDTH - width)
        yield one.colour, round(begin, 2), round(width, 2), f"{one.name} {seconds(one.seconds)}"


FILTERS: Final = {
    function.__name__: function
    for function in (
        clock, count, cpus, digest, json, longest, number, percent, phases, printable, rate, scaled, seconds, size,
        stacked, whole,
    )
}  # fmt: skip
