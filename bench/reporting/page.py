"""The report as a page of HTML, and as Markdown."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from bench.autoscaler.contest import OURS as OUR_LAW
from bench.autoscaler.contest import run_law
from bench.autoscaler.drawing import render as render_course
from bench.autoscaler.workloads import workloads
from bench.reporting import plots, tables
from bench.reporting.guard import Bound
from bench.reporting.records import Run
from event_collector.benchmark.document import bars, document, section, table
from event_collector.watching.tables import duration, short

__all__ = ["markdown", "page"]

Verdicts = Sequence[tuple[Bound, float | None, bool]]
COURSES = ("step", "sine", "mixed")
GUARD_HEAD = ("", "ratio", "at least", "")
NOTE = (
    "Only ratios within this run mean something. Contestants run one after the other; each figure is the median of the "
    "rounds with its 95 percent bootstrap interval. Throughput: all values at once. Of auto: the same as a multiple of "
    "this library's as it comes. p50, p95, p99: one value after the other, from sending to result. Efficiency: "
    "throughput against all CPUs doing nothing but the work."
)


def page(run: Run, verdicts: Verdicts) -> str:
    """Return the page."""
    parts = [_circumstances(run), _overview(run), *(_scenario(run, name) for name in run.scenarios)]
    if rows := tables.scaling_rows(run):
        drawing = plots.scaling(run)
        parts.append(section("More worker processes: compute 1 ms", _figure(drawing), table(tables.SCALING_HEAD, rows)))
    if rows := tables.others(run):
        parts.append(section("The front-end alone", table(tables.OTHERS_HEAD, rows)))
    return document("Benchmarks of event_collector", [*parts, _courses(), _guard(verdicts)])


def markdown(run: Run, verdicts: Verdicts) -> str:
    """Return the tables as Markdown."""
    parts = ["# Benchmarks of event_collector", ", ".join(text for _, text in _facts(run)), f"    {run.command}", NOTE]
    for title, head, body in _glance(run):
        parts += [f"## {title}", _lines(head, body)]
    for name in run.scenarios:
        parts += [f"## {name}", _lines(tables.HEAD, tables.rows(run.of(name)))]
    if rows := tables.scaling_rows(run):
        parts += ["## More worker processes: compute 1 ms", _lines(tables.SCALING_HEAD, rows)]
    if rows := tables.others(run):
        parts += ["## The front-end alone", _lines(tables.OTHERS_HEAD, rows)]
    parts += ["## Bounds", _lines(GUARD_HEAD, _guard_rows(verdicts))]
    return "\n\n".join(parts) + "\n"


def _facts(run: Run) -> list[tuple[str, str]]:
    machine = run.machine
    return [
        ("machine", f"{machine.processor}, {machine.cpus} CPUs granted"), ("system", machine.system),
        ("Python", machine.python), ("commit", machine.commit), ("date", machine.date),
    ]  # fmt: skip


def _circumstances(run: Run) -> str:
    listed = "".join(f"<li>{escape(name)}: {escape(text)}</li>" for name, text in _facts(run))
    return f"<p>{escape(NOTE)}</p><ul>{listed}</ul><pre>{escape(run.command)}</pre>"


def _overview(run: Run) -> str:
    drawing = plots.work(run)
    drawn = "" if drawing is None else section("Throughput by mode and work", _figure(drawing))
    return drawn + "".join(section(title, table(head, body)) for title, head, body in _glance(run))


def _glance(run: Run) -> Iterator[tuple[str, Sequence[str], list[tuple[str, ...]]]]:
    """Yield the two figures that most come for, each in one table: title, head, rows."""
    yield ("At a glance: events/s, all values at once", *tables.overview(run, lambda one: short(one.rate.median)))
    yield (
        "At a glance: p50, one value after the other",
        *tables.overview(run, lambda one: duration(one.latencies[50])),
    )


def _scenario(run: Run, name: str) -> str:
    results = run.of(name)
    drawn = [
        (one.contestant, one.rate.median, one.rate.low, one.rate.high, f"{short(one.rate.median)} events/s")
        for one in results
    ]
    latency = plots.latencies(run, name)
    return section(
        name[:1].upper() + name[1:],
        bars(drawn),
        f"<details open><summary>Table and latencies</summary>{table(tables.HEAD, tables.rows(results))}"
        f"{_figure(latency, 'Latency, one event after the other')}</details>",
    )


def _courses() -> str:
    figures = []
    for workload in workloads(2):
        if workload.name in COURSES:
            outcome = run_law(OUR_LAW, workload, 1)
            drawing = render_course("", workload.duration, {"": outcome}, width=400)
            figures.append(_figure(drawing, f"{workload.name}, {workload.duration:.0f} s"))
    note = "<p>Consumers, workers and events that wait, over time, on simulated workloads and two simulated cores.</p>"
    return section("The course of the autoscaler", note, f'<div class="figures">{"".join(figures)}</div>')


def _guard(verdicts: Verdicts) -> str:
    return section("Bounds that the guard checks", table(GUARD_HEAD, _guard_rows(verdicts)))


def _guard_rows(verdicts: Verdicts) -> list[tuple[str, ...]]:
    return [
        (
            f"{bound.scenario}: {bound.ours} / {bound.opponent}",
            "did not run" if seen is None else f"{seen:.2f}",
            f"{bound.at_least:g}",
            "" if seen is None else "kept" if holds else "BROKEN",
        )
        for bound, seen, holds in verdicts
    ]


def _figure(drawing: str | None, caption: str = "") -> str:
    if drawing is None:
        return ""
    told = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{drawing}{told}</figure>"


def _lines(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    ruled = ["---" if not number else "---:" for number in range(len(head))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ruled, *rows))
