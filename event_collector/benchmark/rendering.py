"""The report as text: tables for a terminal, and their cells for other pages."""

from collections.abc import Callable

from event_collector.benchmark.estimate import Estimate
from event_collector.benchmark.report import Report, Row
from event_collector.watching.tables import columns, duration, plural, short, size

HEAD = ("mode", "events/s", "95% interval", "at once", "p50", "p99", "CPU/event", "in workers", "memory", "bound by")
SCALING_HEAD = ("workers", "speed-up", "95% interval", "efficiency", "serial share")
NOTHING = "-"
WIDTH = 80  # characters of a line of a table


def render_text(report: Report) -> str:
    """Return the report as text."""
    parts = [columns(HEAD, [cells(row) for row in report.rows], WIDTH)]
    if report.scaling:
        parts.append(columns(SCALING_HEAD, scaling_cells(report), WIDTH))
    why = [f"  - {reason}" for reason in reasons(report)]
    warnings = [f"  ! {warning}" for warning in report.recommendation.warnings]
    code = [f"    {line}" for line in report.code]
    parts.append("\n".join([headline(report), *why, *warnings, *code]))
    return "\n\n".join(parts)


def cells(row: Row) -> tuple[str, ...]:
    """Return the row of a contender in the table with HEAD."""
    if row.rate is None or row.p50 is None or row.p99 is None:
        return (row.label, *[NOTHING] * 9)
    return (
        row.label,
        short(row.rate.median),
        _interval(row.rate, short),
        f"{row.in_flight:,}",
        duration(row.p50),
        duration(row.p99),
        duration(row.own_cpu or 0.0),
        duration(row.worker_cpu or 0.0) if row.workers else NOTHING,
        size((row.own_memory or 0) + (row.worker_memory or 0)),
        row.bound or NOTHING,
    )


def _interval(estimate: Estimate, text: Callable[[float], str]) -> str:
    return f"{text(estimate.low)} to {text(estimate.high)}" if estimate.rounds > 1 else NOTHING


def scaling_cells(report: Report) -> list[tuple[str, ...]]:
    """Return the rows of the table with SCALING_HEAD."""
    return [
        (
            str(one.workers),
            f"{one.speedup.median:.2f}",
            _interval(one.speedup, "{:.2f}".format),
            f"{one.efficiency:.0%}",
            NOTHING if one.serial is None else f"{one.serial:.0%}",
        )
        for one in report.scaling
    ]


def headline(report: Report) -> str:
    """Return the recommendation in a line."""
    contender, consumers = report.recommendation.contender, report.recommendation.consumers
    if contender is None:
        names = [one.label for one in report.recommendation.as_good]
        return f"Cannot tell which is faster: {' or '.join(names)}" if names else "No recommendation"
    as_async = ", written as async def" if contender.rewritten else ""
    workers = f", {plural(contender.workers, 'worker')}" if contender.workers else ""
    at_once = f", {plural(consumers, 'event')} at once" if consumers is not None else ""
    batches = f", batches of {contender.batch}" if contender.batch else ""
    return f"Recommended: mode {contender.mode}{as_async}{workers}{batches}{at_once}"


def reasons(report: Report) -> list[str]:
    """Return the reasons of the recommendation."""
    advice = report.recommendation
    names = ", ".join(one.label for one in advice.as_good) if advice.contender is not None else ""
    return [*advice.reasons, *([f"about as fast, within the noise or a tenth: {names}"] if names else [])]
