"""The courses of a run as charts: sizes and backlog over time."""

from bisect import bisect_right
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from bench.autoscaler.records import Outcome
from event_collector.web.charts import Axis, Chart, Line, colour
from event_collector.web.sections import Section
from event_collector.web.templating import page_file

Moment = tuple[float, int, int, int]
PANELS: tuple[tuple[str, Callable[[Moment], int]], ...] = (
    ("Consumers", lambda moment: moment[1]),
    ("Workers", lambda moment: moment[2]),
    ("Events waiting", lambda moment: moment[3]),
)


def draw(path: Path, title: str, duration: float, outcomes: dict[str, Outcome]) -> None:
    """Write a page with the courses."""
    path.write_text(page_file(title, [Section("Courses", charts=course_charts(duration, outcomes))]), encoding="utf-8")


def course_charts(duration: float, outcomes: dict[str, Outcome]) -> list[Chart]:
    """Return a chart for each tier and one for the backlog, with a line for each law."""
    x = Axis("seconds", label="time")
    return [
        Chart(title, x, Axis("count"), places, _lines(outcomes, places, value), has_steps=True)
        for title, value in PANELS
        for places in [_places(duration, outcomes, value)]
    ]


def _places(duration: float, outcomes: dict[str, Outcome], value: Callable[[Moment], int]) -> list[float]:
    """Return the begin, the times at which a law's value changes, and the end."""
    changes = (
        after[0]
        for outcome in outcomes.values()
        for before, after in pairwise(outcome.course)
        if value(before) != value(after)
    )
    return sorted({0.0, duration, *changes})


def _lines(outcomes: dict[str, Outcome], places: list[float], value: Callable[[Moment], int]) -> list[Line]:
    lines = []
    for number, (name, outcome) in enumerate(outcomes.items()):
        times = [moment[0] for moment in outcome.course]
        held = (max(0, bisect_right(times, place) - 1) for place in places)
        lines.append(Line(name, colour(number), [value(outcome.course[index]) for index in held]))
    return lines
