"""The report of the benchmarks, and the guard over ratios."""

import json
import re
from html import unescape
from pathlib import Path

import pytest
from msgspec.structs import replace

from bench.modes.contestants import CONTESTANTS
from bench.modes.scenarios import SCENARIOS
from bench.reporting.charts import latency_chart, scaling_chart, work_chart
from bench.reporting.guard import Bound, read_bounds, verdicts
from bench.reporting.page import markdown, page
from bench.reporting.records import Run
from bench.reporting.tables import HEAD, SCALING_HEAD, overview, rows, scaling_rows

from .sample_run import sample_run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return sample_run(tmp_path)


@pytest.mark.parametrize(
    ("ours", "opponent", "scenario", "at_least", "holds"),
    [
        ("auto", "loky, map", "compute 1 ms", 1.9, True),
        ("auto", "loky, map", "compute 1 ms", 2.1, False),
        ("loky, map", "auto", "compute 1 ms", 0.6, False),
        ("loky, map", "auto", "compute 10 ms", 0.6, True),
        ("auto", "asyncio.TaskGroup", "compute 1 ms", 99.0, True),
        ("auto", "loky, map", "no such scenario", 99.0, True),
    ],
    ids=["kept", "broken", "broken the other way", "noise", "opponent did not run", "scenario did not run"],
)
def test_guard_judges_ratios_of_one_run(
    run: Run, ours: str, opponent: str, scenario: str, at_least: float, holds: bool
) -> None:
    """A ratio below its bound breaks it, unless that may be noise; who did not run is not judged."""
    ((_, _, held),) = verdicts(run, [Bound(scenario, ours, opponent, at_least)])
    assert held is holds


def test_bounds_name_what_there_is() -> None:
    """A bound whose scenario or contestant was renamed would never be broken again."""
    bounds = read_bounds()
    assert bounds
    for bound in bounds:
        assert bound.scenario in SCENARIOS
        assert {bound.ours, bound.opponent} <= set(CONTESTANTS)
        assert bound.at_least > 0


def test_rows_tell_throughput_of_auto_and_efficiency(run: Run) -> None:
    """100 events in 0.1 s are 1000/s, of which 1 ms each keeps half of two CPUs busy."""
    auto, loky = rows(run.of("compute 1 ms"))
    assert auto[:4] == ("auto", "1,000", "1,000 to 1,000", "1.00")
    assert loky[:4] == ("loky, map", "500", "500 to 500", "0.50")
    assert (auto[-1], loky[-1]) == ("50%", "25%")
    assert len(auto) == len(HEAD)
    assert {len(row) for row in scaling_rows(run)} == {len(SCALING_HEAD)}
    assert [one.efficiency for one in run.results if one.scaling] == [pytest.approx(0.5), pytest.approx(0.5)]


def test_overview_has_a_row_for_each_contestant_and_a_gap_for_what_did_not_run(run: Run) -> None:
    """Columns in the order of the run; what only belongs to the comparison of workers is not in it."""
    head, body = overview(run, lambda one: f"{one.rate.median:.0f}")
    assert head == ("", "compute 1 ms", "compute 10 ms")
    assert body == [("auto", "1000", "1000"), ("loky, map", "500", "500")]
    results = [one for one in run.results if (one.contestant, one.scenario) != ("loky, map", "compute 10 ms")]
    assert overview(replace(run, results=results), lambda one: "seen")[1][1] == ("loky, map", "seen", "-")


def test_page_has_every_scenario_and_the_guard(run: Run) -> None:
    """Texts are escaped; every scenario has its bars, its chart and its table; what breaks a bound is said."""
    judged = verdicts(run, [Bound("compute 1 ms", "auto", "loky, map", 2.1)])
    text = page(run, judged)
    assert "a &lt;fast&gt; CPU" in text
    assert [chart["title"] for chart in map(json.loads, map(unescape, re.findall('data-chart="([^"]+)"', text)))] == [
        "Events/s over the work of an event", *["Latency of one event after the other"] * 2,
        "Speed-up over the worker processes", *["Consumers", "Workers", "Events waiting"] * 3,
    ]  # fmt: skip
    assert text.count('<svg class="bar"') == 4
    assert "BROKEN" in text
    assert "| auto | 1,000 |" in markdown(run, judged)


def test_charts_have_the_figures_of_the_run(run: Run) -> None:
    """Throughput over work in seconds beside all CPUs; latencies by percentile; speed-up from the least workers."""
    work, latency, scaling = work_chart(run), latency_chart(run, "compute 1 ms"), scaling_chart(run)
    assert work is not None
    assert scaling is not None
    assert (work.places, work.lines[0].values, work.lines[-1].values) == ([0.001, 0.01], [1000, 1000], [2000, 200])
    assert (latency.places[99], latency.lines[0].values[99]) == (0.99, pytest.approx(0.1))
    assert (scaling.places, scaling.lines[0].values, scaling.lines[-1].values) == ([1, 2], [1, 2], [1, 2])
    lines = {line.label: line.colour for chart in (work, latency) for line in chart.lines[:2]}
    assert lines == {"auto": "c1", "loky, map": "c2"}
    only = replace(run, results=[one for one in run.results if one.scenario == "compute 1 ms" and not one.scaling])
    assert (work_chart(only), scaling_chart(only)) == (None, None)
