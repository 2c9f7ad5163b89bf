"""Charts of figures: lines over numbers. static/charts.js draws them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from event_collector.benchmark.estimate import Estimate
from event_collector.web.filters import COLOURS

Unit = Literal["count", "number", "seconds", "percent"]
"""How an axis writes its numbers. A count is whole; a percentage is a share from 0 to 1."""


class Axis(msgspec.Struct, frozen=True):
    """The unit of an axis, and whether it is logarithmic. A linear y axis begins at 0."""

    unit: Unit
    is_log: bool = False
    label: str = ""


class Line(msgspec.Struct, frozen=True):
    """A line of a chart: a value for each place, None where it has none.

    `low` and `high` are the ends of the intervals of the values; they are empty for values without intervals.
    """

    label: str
    colour: str
    """Its class in page.css."""
    values: list[float | None]
    low: list[float | None] = []
    high: list[float | None] = []
    is_dashed: bool = False


class Chart(msgspec.Struct, frozen=True):
    """Lines over the same places, in ascending order."""

    title: str
    x: Axis
    y: Axis
    places: list[float]
    lines: list[Line]
    has_points: bool = False
    """Whether each value has a mark."""
    has_steps: bool = False
    """Whether a value holds until the next one."""


class Curve(NamedTuple):
    """Estimates by their place, the number of their colour from 0, and a name."""

    label: str
    number: int
    found: Mapping[float, Estimate]


class Ideal(NamedTuple):
    """A line to compare with: its name, and its value at each place."""

    label: str
    value: Callable[[float], float]


def colour(number: int) -> str:
    """Return the class of a colour by its number, from 0."""
    return f"c{number % COLOURS + 1}"


def chart_of(
    title: str, x: Axis, y: Axis, curves: Sequence[Curve], ideal: Ideal | None = None, also: Collection[float] = ()
) -> Chart:
    """Chart estimates with their intervals, beside an ideal, which has values at the places `also` too."""
    places = sorted({*also, *(place for curve in curves for place in curve.found)})
    lines = [_line(curve, places) for curve in curves]
    if ideal is not None:
        lines.append(Line(ideal.label, "cidle", [ideal.value(place) for place in places], is_dashed=True))
    return Chart(title, x, y, places, lines, has_points=True)


def speedup_chart(title: str, curves: Sequence[Curve], cpus: int | None = None) -> Chart:
    """Chart the speed-up over worker processes; with `cpus`, no more than these can compute at once."""
    numbers = sorted({place for curve in curves for place in curve.found})
    most = numbers[-1] if cpus is None else min(cpus, numbers[-1])
    label = "ideal" if cpus is None else f"ideal on {cpus} CPUs"
    ideal = Ideal(label, lambda workers: min(workers, most) / min(numbers[0], most))
    return chart_of(title, Axis("count", label="worker processes"), Axis("number"), curves, ideal, {most})


def _line(curve: Curve, places: Sequence[float]) -> Line:
    found = [curve.found.get(place) for place in places]
    return Line(
        curve.label, colour(curve.number),
        values=[None if one is None else one.median for one in found],
        low=[None if one is None else one.low for one in found],
        high=[None if one is None else one.high for one in found],
        is_dashed=curve.number >= COLOURS,
    )  # fmt: skip
