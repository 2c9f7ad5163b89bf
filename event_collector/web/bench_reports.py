"""Reports of benchmarks: the output of `event-collector bench --json` as sections of a page, several side by side."""

from collections.abc import Mapping
from typing import Final

import msgspec

from event_collector.benchmark.estimate import Estimate
from event_collector.benchmark.rendering import HEAD, SCALING_HEAD, cells, headline, reasons, scaling_cells
from event_collector.benchmark.report import Report
from event_collector.watching.tables import plural
from event_collector.web.charts import Axis, Chart, Curve, chart_of, speedup_chart
from event_collector.web.sections import BarGroup, Rate, Section, Table, bar_groups

_decode: Final = msgspec.json.Decoder(Report).decode


def decode_report(text: bytes) -> Report:
    """Return the report of a file. A ValueError says that it is none."""
    try:
        return _decode(text)
    except msgspec.DecodeError as exc:
        raise ValueError(f"it is no report of `event-collector bench --json`: {exc}") from None


def report_sections(found: Mapping[str, Report]) -> list[Section]:
    """Return the sections of reports by their names: recommendations, a comparison, the figures of each, the method."""
    is_wide, compared = len(found) == 1, compare(found)
    return [
        *(_advice(name, report, is_wide) for name, report in found.items()),
        Section("Events per second", text=[] if compared else ["No contender was measured."], bars=compared),
        *(_figures(name, report, is_wide) for name, report in found.items()),
        *(_method(name, report, is_wide) for name, report in found.items()),
    ]


def compare(found: Mapping[str, Report]) -> list[BarGroup]:
    """Return the throughput of each contender in each report. The bars of a single report need no groups."""
    is_single = len(found) == 1
    rates = [
        Rate("", row.label, place, row.rate) if is_single else Rate(row.label, name, index, row.rate)
        for index, (name, report) in enumerate(found.items())
        for place, row in enumerate(report.rows)
        if row.rate is not None
    ]
    return bar_groups(rates)


def _advice(name: str, report: Report, is_wide: bool) -> Section:
    return Section(
        headline(report), name if name == report.target else f"{name}: {report.target}", items=reasons(report),
        warnings=report.recommendation.warnings, code="\n".join(report.code), is_wide=is_wide,
    )  # fmt: skip


def _figures(name: str, report: Report, is_wide: bool) -> Section:
    tables = [Table("", HEAD, [cells(row) for row in report.rows])]
    if report.scaling:
        tables.append(Table("Workers", SCALING_HEAD, scaling_cells(report)))
    return Section(f"Figures of {name}", charts=_charts(report), tables=tables, is_wide=is_wide)


def _charts(report: Report) -> list[Chart]:
    """Return what shows more than two points."""
    tries = [
        Curve(row.label, number, {at_once: Estimate(rate, rate, rate, 1) for at_once, rate in row.tries.items()})
        for number, row in enumerate(report.rows)
        if row.tries
    ]
    x, y = Axis("number", is_log=True, label="events at once"), Axis("number", is_log=True)
    charts = [chart_of("Events/s over the events at once", x, y, tries)] if any(len(c.found) > 1 for c in tries) else []
    if len(report.scaling) > 1:
        gained = Curve("speed-up", 0, {one.workers: one.speedup for one in report.scaling})
        charts.append(speedup_chart("Speed-up over the worker processes", [gained]))
    return charts


def _method(name: str, report: Report, is_wide: bool) -> Section:
    machine = report.machine
    end = "until the intervals were narrow" if report.settled else "until the time was over"
    rounds = plural(max((row.rounds for row in report.rows), default=0), "round")
    how = (
        f"Each mode ran in its own process, in turn, {rounds}, {report.seconds:.1f} s in all, {end}. Figures are "
        "medians; intervals are 95 percent, by bootstrap. Latency is the time from sending an event to its end, with "
        "as many events at once as the table says."
    )
    where = f"{machine.system}, Python {machine.python}, {machine.loop}, {machine.cpus} CPUs granted"
    text = [how, f"{where}, load {machine.load:.2f} before the run"]
    return Section(f"How {name} was measured", text=text, code=report.command, is_wide=is_wide)
