"""Pages of figures: their sections, charts and bars, and the files that need nothing beside them."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import msgspec
import pytest

from event_collector.benchmark.estimate import Estimate
from event_collector.web.bench_reports import decode_report, report_sections
from event_collector.web.charts import Axis, Chart, Curve, Ideal, Line, chart_of, speedup_chart
from event_collector.web.sections import Rate, Section, Table, bar_groups
from event_collector.web.templating import STATIC, bundle, page_file
from tests.web.sample_reports import HOSTILE_SCRIPT, report


class Page(HTMLParser):
    """What a browser finds in a page: elements with their attributes, and the texts of scripts, styles and others."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inline: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] in ("script", "style") and self.cdata_elem is not None:
            self.inline.append(data)
        else:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of the elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


def estimate(value: float, spread: float = 0.0) -> Estimate:
    """Return an estimate of six rounds."""
    return Estimate(value, value - spread, value + spread, 6)


def test_texts_of_applications_stay_text() -> None:
    """Headings, names, cells and commands make no elements, and the data of a chart have them whole."""
    line = Line(HOSTILE_SCRIPT, "c1", [1.0])
    chart = Chart(HOSTILE_SCRIPT, Axis("count", label=HOSTILE_SCRIPT), Axis("number"), [1.0], [line])
    section = Section(
        HOSTILE_SCRIPT, HOSTILE_SCRIPT, [HOSTILE_SCRIPT], [HOSTILE_SCRIPT], [HOSTILE_SCRIPT], HOSTILE_SCRIPT,
        bar_groups([Rate(HOSTILE_SCRIPT, HOSTILE_SCRIPT, 0, estimate(1.0))]), [chart],
        [Table(HOSTILE_SCRIPT, [HOSTILE_SCRIPT], [[HOSTILE_SCRIPT]])],
    )  # fmt: skip
    page, plain = (Page(page_file(text, [section])) for text in (HOSTILE_SCRIPT, "plain"))
    assert page.all("img") == []
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    (data,) = [attributes["data-chart"] for attributes in page.all("div") if "data-chart" in attributes]
    assert data is not None
    assert msgspec.json.decode(data, type=Chart) == chart
    assert page.text.count(HOSTILE_SCRIPT) == plain.text.count(HOSTILE_SCRIPT) + 2  # the title, twice


def test_a_file_needs_nothing_beside_it_and_runs_only_its_own_scripts() -> None:
    """No element names an address; the policy has the hash of each script and of the style, and allows nothing else."""
    page = Page(page_file("a page", report_sections({"r": report()})))
    links = [attributes.get(name) for _, attributes in page.elements for name in ("src", "href", "srcset", "action")]
    assert {link for link in links if link is not None} == {"#main", "data:,"}
    assert [attributes for _, attributes in page.elements if "style" in attributes or "onclick" in attributes] == []
    (policy,) = [one["content"] for one in page.all("meta") if "http-equiv" in one]
    allowed = {f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in page.inline}
    assert policy is not None
    assert set(re.findall(r"'sha256-[^']+'", policy)) == allowed
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert len(page.inline) == 4
    assert "Permission is hereby granted" in page.inline[2]  # the licence of uPlot goes with its code


def test_modules_become_one_script() -> None:
    """Each module is in it once, after those that it imports; no import and no export is left."""
    text = bundle("charts.js")
    assert re.findall(r"^\s*(?:import|export)\b.*", text, re.MULTILINE) == []
    first_lines = [(STATIC / name).read_text().partition("\n")[0] for name in ("format.js", "charts.js")]
    assert [text.count(line) for line in first_lines] == [1, 1]
    assert text.index(first_lines[0]) < text.index(first_lines[1])


def test_lines_of_a_chart_share_their_places() -> None:
    """A line has a gap where it was not measured; the ideal has a value everywhere; the eleventh colour is dashed."""
    curves = [Curve("a", 0, {1: estimate(10.0, 2.0), 4: estimate(30.0)}), Curve("b", 10, {2: estimate(20.0)})]
    chart = chart_of("t", Axis("count"), Axis("number"), curves, Ideal("ideal", lambda place: 10 * place), {3})
    assert chart.places == [1, 2, 3, 4]
    first, second, ideal = chart.lines
    assert (first.values, first.low, first.high) == ([10, None, None, 30], [8, None, None, 30], [12, None, None, 30])
    assert (first.colour, first.is_dashed, second.colour, second.is_dashed) == ("c1", False, "c1", True)
    assert ideal.values == [10, 20, 30, 40]


@pytest.mark.parametrize(
    ("numbers", "cpus", "places", "ideal"),
    [((1, 2, 4), None, [1, 2, 4], [1, 2, 4]), ((1, 4), 2, [1, 2, 4], [1, 2, 2]), ((2, 4), None, [2, 4], [1, 2])],
    ids=["without a limit", "no more than the CPUs", "of two workers"],
)
def test_the_ideal_speed_up_is_one_worker_for_each(
    numbers: tuple[int, ...], cpus: int | None, places: list[int], ideal: list[float]
) -> None:
    """As a multiple of the smallest number, up to the CPUs, where its line bends."""
    chart = speedup_chart("t", [Curve("a", 0, {number: estimate(1.0) for number in numbers})], cpus)
    assert (chart.places, chart.lines[-1].values) == (places, ideal)


def test_bars_share_a_scale_with_their_intervals() -> None:
    """The highest end of an interval is the full width; one round has no interval."""
    groups = bar_groups([Rate("g", "a", 0, estimate(80.0, 20.0)), Rate("h", "b", 1, Estimate(50.0, 50.0, 50.0, 1))])
    assert [group.label for group in groups] == ["g", "h"]
    (first,), (second,) = (group.bars for group in groups)
    assert (first.width, first.low, first.span, first.words) == (800, 600, 400, "80 events/s, 60 to 100")
    assert (second.width, second.span, second.words) == (500, 0, "50 events/s")


def test_reports_stand_side_by_side() -> None:
    """Bars of a contender are a group with a bar for each report; each report has its advice, figures and method."""
    one = decode_report(msgspec.json.encode(report()))
    sections = report_sections({"before": one, "after": report(2.0)})
    assert [section.heading for section in sections[2:]] == [
        "Events per second", "Figures of before", "Figures of after", "How before was measured",
        "How after was measured",
    ]  # fmt: skip
    assert [section.is_wide for section in sections] == [False, False, True, False, False, False, False]
    groups = {group.label: [bar.name for bar in group.bars] for group in sections[2].bars}
    assert groups == {row.label: ["before", "after"] for row in one.rows}
    assert [chart.title for chart in sections[3].charts] == [
        "Events/s over the events at once", "Speed-up over the worker processes",
    ]  # fmt: skip


def test_a_single_report_has_the_width_of_the_page() -> None:
    """Its bars are one group; the chart of one number of workers is left out."""
    one = report()
    one.scaling = one.scaling[:1]
    sections = report_sections({"r": one})
    assert all(section.is_wide for section in sections)
    assert [[bar.name for bar in group.bars] for group in sections[1].bars] == [[row.label for row in one.rows]]
    assert len(sections[2].charts) == 1
    assert json.loads(msgspec.json.encode(sections[2].charts[0]))["y"]["is_log"] is True
