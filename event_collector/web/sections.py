"""Sections of a page of figures: text, bars, charts and tables, as templates/figures.html shows them."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from event_collector.benchmark.estimate import Estimate
from event_collector.watching.tables import short
from event_collector.web.charts import Chart, colour
from event_collector.web.filters import WIDTH

THINNEST: Final = 2.0
"""Units of the width of an interval that can be seen."""


class Rate(NamedTuple):
    """A throughput in events per second, its group of bars, and the number of its colour, from 0."""

    group: str
    name: str
    number: int
    rate: Estimate


class Bar(NamedTuple):
    """A throughput as a bar with its interval, on the scale of its section. Its span is 0 without an interval."""

    name: str
    colour: str
    width: float
    low: float
    span: float
    words: str


class BarGroup(NamedTuple):
    """Bars below a heading, if it has one."""

    label: str
    bars: list[Bar]


class Table(NamedTuple):
    """A table of texts. Its label is its heading, if it has one."""

    label: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


class Section(msgspec.Struct, frozen=True):
    """A part of a page. What is empty does not show."""

    heading: str
    note: str = ""
    """What stands beside the heading."""
    text: list[str] = []
    """Paragraphs."""
    items: list[str] = []
    warnings: list[str] = []
    code: str = ""
    bars: list[BarGroup] = []
    charts: list[Chart] = []
    tables: list[Table] = []
    is_wide: bool = True
    """Whether it takes the width of the page."""


def bar_groups(rates: Sequence[Rate]) -> list[BarGroup]:
    """Return the groups of the bars of these rates, all on one scale."""
    most = max((one.rate.high for one in rates), default=0.0) or 1.0
    groups: dict[str, list[Bar]] = {}
    for one in rates:
        groups.setdefault(one.group, []).append(_bar(one, WIDTH / most))
    return [BarGroup(label, bars) for label, bars in groups.items()]


def _bar(one: Rate, scale: float) -> Bar:
    width, low, high = (round(scale * value, 2) for value in (one.rate.median, one.rate.low, one.rate.high))
    words, span = f"{short(one.rate.median)} events/s", 0.0
    if one.rate.rounds > 1:
        words, span = f"{words}, {short(one.rate.low)} to {short(one.rate.high)}", max(THINNEST, high - low)
    return Bar(one.name, colour(one.number), width, low, span, words)
