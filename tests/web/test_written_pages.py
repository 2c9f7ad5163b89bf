"""Pages of figures in a real browser: the files that commands write, and the same figures on the served page."""

from pathlib import Path

import msgspec
import pytest

from bench.reporting.page import page as run_page
from event_collector.benchmark.estimate import Estimate
from event_collector.web.bench_reports import report_sections
from event_collector.web.charts import Axis, Curve, chart_of
from event_collector.web.sections import Section
from event_collector.web.templating import page_file
from tests.bench.sample_run import sample_run
from tests.web.browsing import Browser, serving, until
from tests.web.sample_reports import HOSTILE_SCRIPT, report

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

SCREENS = pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, int]]:
    """The address of each file, with the number of its charts."""
    folder = tmp_path_factory.mktemp("pages")
    texts = {
        "report": (page_file(f"Modes of {HOSTILE_SCRIPT}", report_sections({HOSTILE_SCRIPT: report()})), 2),
        "run": (run_page(sample_run(folder, HOSTILE_SCRIPT), []), 1 + 2 + 1 + 9),
    }
    for name, (text, _) in texts.items():
        (folder / f"{name}.html").write_text(text)
    return {name: ((folder / f"{name}.html").as_uri(), charts) for name, (_, charts) in texts.items()}


NOT_DRAWN = """return [...document.querySelectorAll(".chart")].filter((chart) => {
    const canvas = chart.querySelector("canvas"), pen = document.createElement("canvas").getContext("2d");
    [pen.canvas.width, pen.canvas.height] = [canvas.width, canvas.height];
    pen.drawImage(canvas, 0, 0);
    const { data } = pen.getImageData(0, 0, canvas.width, canvas.height), seen = new Set();
    for (let at = 0; at < data.length; at += 4)
        if (data[at + 3] === 255) seen.add(`rgb(${data.slice(at, at + 3).join(", ")})`);
    return ![...chart.querySelectorAll(".legend > :not(.cidle)")].some((key) => seen.has(getComputedStyle(key).color));
}).map((chart) => chart.querySelector("figcaption").innerText)"""
"""The charts without a line in a colour of their legend."""


def problems(browser: Browser, url: str, charts: int) -> list[str]:
    """Open a page and return what is wrong with it."""
    browser.errors()
    browser.open("about:blank")
    browser.requests()
    browser.open(url)
    count = "return document.querySelectorAll('.plot canvas').length"
    until(lambda: browser.run(count) == charts, f"{charts} charts, not {browser.run(count)}")
    until(lambda: not browser.run(NOT_DRAWN), f"lines: {browser.run(NOT_DRAWN)}")
    home = url.rpartition("/")[0]
    return [
        *(["it scrolls sideways"] if browser.is_too_wide() else []), *browser.violations(), *browser.errors(),
        *(f"it asks {asked}" for asked in browser.requests() if not asked.startswith((home, "data:"))),
        *(["a text became an element"] if browser.run("return document.querySelectorAll('img').length") else []),
    ]  # fmt: skip


@SCREENS
def test_a_file_is_drawn_and_asks_nothing(
    browser: Browser, files: dict[str, tuple[str, int]], width: int, theme: str
) -> None:
    """Every chart is drawn, no page scrolls sideways, axe finds nothing serious, the console is empty."""
    browser.look_like(width, theme)
    for url, charts in files.values():
        assert problems(browser, url, charts) == []
        assert browser.run("return document.documentElement.dataset.theme") == theme


@SCREENS
def test_the_served_page_shows_the_same(browser: Browser, tmp_path: Path, width: int, theme: str) -> None:
    """Reports side by side, with the charts of each, under the policy of the page."""
    for name, factor in (("before", 1.0), ("after", 2.0)):
        (tmp_path / f"{name}.json").write_bytes(msgspec.json.encode(report(factor)))
    browser.look_like(width, theme)
    with serving(str(tmp_path / "before.json"), str(tmp_path / "after.json")) as address:
        assert problems(browser, f"{address}/benchmarks", 4) == []
        assert browser.run("return document.querySelector('main').clientWidth") > width * 0.9


@pytest.mark.parametrize("is_log", [False, True])
def test_intervals_are_drawn(browser: Browser, tmp_path: Path, is_log: bool) -> None:
    """From their low to their high end, within the plot, also where no value is as low or as high."""
    axis = Axis("number", is_log=is_log)
    found = {1.0: Estimate(50.0, 50.0, 50.0, 6), 2.0: Estimate(50.0, 10.0, 90.0, 6)}
    chart = chart_of("t", Axis("count"), axis, [Curve("a", 0, found)])
    (tmp_path / "one.html").write_text(page_file("t", [Section("s", charts=[chart])]))
    browser.look_like(390, "light")
    browser.open((tmp_path / "one.html").as_uri())
    heights = """const canvas = document.querySelector("canvas"), pen = canvas.getContext("2d"), found = [];
        const key = getComputedStyle(document.querySelector(".legend > span")).color;
        const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
        for (let at = 0; at < data.length; at += 4)
            if (`rgb(${data.slice(at, at + 3).join(", ")})` === key) found.push(Math.floor(at / 4 / canvas.width));
        return [Math.min(...found), Math.max(...found), document.querySelector(".u-over").clientHeight]"""
    until(lambda: not browser.run(NOT_DRAWN), "the line")
    top, bottom, plot = browser.run(heights)
    assert plot * 0.5 < bottom - top <= plot + 2


def test_the_cursor_reads_the_values(browser: Browser, files: dict[str, tuple[str, int]]) -> None:
    """The tip has the place and the value of each line there, the highest first."""
    browser.look_like(1280, "light")
    browser.open(files["run"][0])
    move = """const over = document.querySelector(".u-over"), box = over.getBoundingClientRect();
        over.dispatchEvent(new MouseEvent("mousemove", {clientX: box.left + 1, clientY: box.top + 9, bubbles: true}))"""
    until(lambda: browser.run(f"{move}; return !document.querySelector('.tip').hidden"), "the tip")
    tip = browser.text(".tip").splitlines()
    assert tip[:2] == ["computing for each event 1 ms", "all CPUs, no overhead: 2,000"]
    assert tip[2].startswith(f"{HOSTILE_SCRIPT}: 1,000")
    assert len(tip) == 4


def test_the_theme_changes_and_paper_is_light(browser: Browser, files: dict[str, tuple[str, int]]) -> None:
    """The button and the printer choose the colours, and charts follow."""
    browser.look_like(1280, "light")
    browser.open(files["report"][0])
    theme = "return document.documentElement.dataset.theme"
    assert browser.run(theme) == "light"
    browser.run("document.getElementById('theme').click()")
    assert browser.run(theme) == "dark"
    until(lambda: not browser.run(NOT_DRAWN), "charts in other colours")
    browser.run("dispatchEvent(new Event('beforeprint'))")
    assert browser.run(theme) == "light"
    browser.run("dispatchEvent(new Event('afterprint')); document.getElementById('theme').click()")
    assert browser.run(theme) == "light"


def test_without_scripts_tables_remain(browser: Browser, files: dict[str, tuple[str, int]]) -> None:
    """Text, bars and tables can be read; there is no place for a chart that nothing draws."""
    browser.look_like(390, "light")
    with browser.without_scripts():
        for url, _ in files.values():
            browser.open(url)
            shown = """return [".chart, #theme", "table", "svg.bar"].map((selector) =>
                [...document.querySelectorAll(selector)].filter((one) => one.checkVisibility()).length)"""
            charts, tables, bars = browser.run(shown)
            assert (charts, tables > 1, bars > 3) == (0, True, True)
            assert not browser.is_too_wide()
