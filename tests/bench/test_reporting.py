"""The report of the benchmarks, and the guard over ratios."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bench.modes.contestants import CONTESTANTS
from bench.modes.scenarios import SCENARIOS
from bench.reporting.guard import Bound, read_bounds, verdicts
from bench.reporting.page import markdown, page
from bench.reporting.records import Run, read
from bench.reporting.tables import HEAD, SCALING_HEAD, overview, rows, scaling_rows


def entry(scenario: str, contestant: str, seconds: list[float], **more: Any) -> dict[str, Any]:
    info = {
        "scenario": scenario, "contestant": contestant, "workers": 2, "cpus": 2, "events": 100, "own_cpu": 1e-5,
        "worker_cpu": 1e-3, "memory": 40_000_000, "work": None, "latencies": [0.001 * (n + 1) for n in range(101)],
    }  # fmt: skip
    return {"group": scenario, "name": f"test_modes[{scenario}-{contestant}]", "stats": {"data": seconds},
            "extra_info": {**info, **more}}  # fmt: skip


def written(folder: Path, *entries: dict[str, Any]) -> Path:
    file = folder / "benchmark.json"
    machine = {"system": "Linux", "release": "6", "machine": "x86_64", "python_implementation": "CPython",
               "python_version": "3.11.7", "cpu": {"brand_raw": "a <fast> CPU"}}  # fmt: skip
    told = {"machine_info": machine, "commit_info": {"id": "0123456789abcdef", "dirty": False},
            "datetime": "2026-01-02T03:04:05.678", "benchmarks": list(entries)}  # fmt: skip
    file.write_text(json.dumps(told))
    return file


STEADY = [0.1, 0.1, 0.1, 0.1, 0.1]
SLOWER = [0.2, 0.2, 0.2, 0.2, 0.2]
NOISY = [0.1, 0.3, 0.1, 0.4, 0.2]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    file = written(
        tmp_path,
        entry("compute 1 ms", "auto", STEADY, work=0.001),
        entry("compute 1 ms", "loky, map", SLOWER, work=0.001),
        entry("compute 10 ms", "auto", STEADY, work=0.01),
        entry("compute 10 ms", "loky, map", NOISY, work=0.01),
        {**entry("compute 1 ms", "process", SLOWER, work=0.001, workers=1), "group": "scaling"},
        {**entry("compute 1 ms", "process", STEADY, work=0.001, workers=2), "group": "scaling"},
        {"group": "burst", "name": "test_bare_queue[burst]", "stats": {"data": STEADY}, "extra_info": {}},
    )
    return read(file, "make bench")


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


def test_page_needs_nothing_beside_it(run: Run, tmp_path: Path) -> None:
    """No link, no script, no name twice; texts are escaped; every scenario has its table and its drawing."""
    judged = verdicts(run, [Bound("compute 1 ms", "auto", "loky, map", 2.1)])
    text = page(run, judged)
    assert "<script" not in text
    assert not re.findall(r'(?:src|href)="(?!#)', text)
    assert not re.findall(r"url\((?!#)", text)
    assert "a &lt;fast&gt; CPU" in text
    names = re.findall(r'\bid="([^"]+)"', text)
    assert len(names) == len(set(names))
    assert set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'href="#([^"]+)"', text)) <= set(names)
    assert text.count("<svg") == 1 + 2 + 1 + 3  # work, latency of two scenarios, scaling, courses
    assert "BROKEN" in text
    assert "| auto | 1,000 |" in markdown(run, judged)
