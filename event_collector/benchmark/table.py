"""The report as text for a terminal."""

from event_collector.benchmark.report import Report, Row
from event_collector.watching.tables import columns, duration, short, size

__all__ = ["HEAD", "SCALING_HEAD", "cells", "headline", "render", "scaling_cells"]

HEAD = (
    "mode",
    "events/s",
    "95% interval",
    "at once",
    "p50",
    "p99",
    "CPU/event",
    "in workers",
    "memory",
    "bound by",
)
SCALING_HEAD = ("workers", "speed-up", "95% interval", "efficiency", "serial share")
NOTHING = "-"


def render(report: Report) -> str:
    """Return all that is told at the end."""
    parts = [columns(HEAD, [cells(row) for row in report.rows])]
    if report.scaling:
        parts.append(columns(SCALING_HEAD, scaling_cells(report)))
    parts.append(_advice(report))
    return "\n\n".join(parts)


def cells(row: Row) -> tuple[str, ...]:
    """Return a contender as the cells of a table, below HEAD."""
    if row.rate is None or row.p50 is None or row.p99 is None:
        return (row.label, *[NOTHING] * 9)
    return (
        row.label,
        short(row.rate.median),
        f"{short(row.rate.low)} to {short(row.rate.high)}",
        f"{row.in_flight:,}",
        duration(row.p50),
        duration(row.p99),
        duration(row.own_cpu or 0.0),
        duration(row.worker_cpu or 0.0) if row.workers else NOTHING,
        size((row.own_memory or 0) + (row.worker_memory or 0)),
        row.bound or NOTHING,
    )


def scaling_cells(report: Report) -> list[tuple[str, ...]]:
    """Return the scaling as the cells of a table, below SCALING_HEAD."""
    return [
        (
            str(one.workers),
            f"{one.speedup.median:.2f}",
            f"{one.speedup.low:.2f} to {one.speedup.high:.2f}",
            f"{one.efficiency:.0%}",
            NOTHING if one.serial is None else f"{one.serial:.0%}",
        )
        for one in report.scaling
    ]


def headline(report: Report) -> str:
    """Return the recommendation in one line."""
    contender = report.recommendation.contender
    if contender is None:
        return "No recommendation"
    as_async = ", written as async def" if contender.rewritten else ""
    workers = (
        f", {contender.workers} worker{'' if contender.workers == 1 else 's'}" if contender.workers else ""
    )
    consumers = report.recommendation.consumers
    at_once = f", {consumers:,} events at once" if consumers is not None else ""
    return f"Recommended: mode {contender.mode}{as_async}{workers}{at_once}"


def _advice(report: Report) -> str:
    advice = report.recommendation
    lines = [headline(report), *(f"  - {reason}" for reason in advice.reasons)]
    if advice.as_good:
        names = ", ".join(one.label for one in advice.as_good)
        lines.append(f"  - about as fast, within the noise or a tenth: {names}")
    lines += [f"  ! {warning}" for warning in advice.warnings]
    return "\n".join([*lines, *(f"    {line}" for line in report.code)])
