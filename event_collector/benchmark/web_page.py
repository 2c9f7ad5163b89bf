"""The report as a page of HTML."""

from html import escape

from event_collector.benchmark.document import bars, document, section, table
from event_collector.benchmark.report import Report
from event_collector.benchmark.table import HEAD, SCALING_HEAD, cells, headline, scaling_cells
from event_collector.watching.tables import short

__all__ = ["render_page"]


def render_page(report: Report) -> str:
    """Return the page."""
    parts = [_advice(report), _throughput(report)]
    if report.scaling:
        parts.append(section("Workers", table(SCALING_HEAD, scaling_cells(report))))
    return document(f"Modes of {report.target}", [*parts, _circumstances(report)])


def _advice(report: Report) -> str:
    advice = report.recommendation
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in advice.reasons)
    if advice.as_good:
        names = ", ".join(one.label for one in advice.as_good)
        reasons += f"<li>about as fast, within the noise or a tenth: {escape(names)}</li>"
    warnings = "".join(f'<li class="warn">{escape(warning)}</li>' for warning in advice.warnings)
    code = f"<pre>{escape(chr(10).join(report.code))}</pre>" if report.code else ""
    return section(headline(report), f"<ul>{reasons}{warnings}</ul>", code)


def _throughput(report: Report) -> str:
    drawn = [
        (row.label, row.rate.median, row.rate.low, row.rate.high, f"{short(row.rate.median)} events/s")
        for row in report.rows
        if row.rate is not None
    ]
    return section("Throughput", bars(drawn), table(HEAD, [cells(row) for row in report.rows]))


def _circumstances(report: Report) -> str:
    machine = report.machine
    how = "until the intervals were narrow" if report.settled else "until the time was over"
    rounds = max((row.rounds for row in report.rows), default=0)
    many = f"{rounds} round{'' if rounds == 1 else 's'}"
    return section(
        "How it was measured",
        f"<p>Every mode in a process of its own, in turn, {many}, {report.seconds:.1f} s in all, {how}. Shown are "
        "medians; intervals are 95 percent, by bootstrap. Latency counts from sending an event to its end, with as "
        "many events at once as the table says.</p>",
        f"<p>{escape(machine.system)}, Python {escape(machine.python)}, {escape(machine.loop)}, {machine.cpus} CPUs "
        f"granted, load {machine.load:.2f}</p>",
        f"<pre>{escape(report.command)}</pre>",
    )
