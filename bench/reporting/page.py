"""The report as a page of HTML, and as Markdown."""

from collections.abc import Iterable, Iterator, Sequence

from bench.autoscaler.contest import OURS as OUR_LAW
from bench.autoscaler.contest import run_law
from bench.autoscaler.drawing import course_charts
from bench.autoscaler.workloads import workloads
from bench.reporting import charts, tables
from bench.reporting.guard import Bound
from bench.reporting.records import Run
from event_collector.watching.tables import duration, short
from event_collector.web.sections import Rate, Section, Table, bar_groups
from event_collector.web.templating import page_file

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
    sections = [_circumstances(run), *_overview(run), *(_scenario(run, name) for name in run.scenarios)]
    if scaling := charts.scaling_chart(run):
        table = Table("", tables.SCALING_HEAD, tables.scaling_rows(run))
        sections.append(Section("More worker processes: compute 1 ms", charts=[scaling], tables=[table]))
    if rows := tables.others(run):
        sections.append(Section("The front-end alone", tables=[Table("", tables.OTHERS_HEAD, rows)]))
    guard = Section("Bounds that the guard checks", tables=[Table("", GUARD_HEAD, _guard_rows(verdicts))])
    return page_file("Benchmarks of event_collector", [*sections, *_courses(), guard])


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


def _circumstances(run: Run) -> Section:
    facts = [f"{name}: {text}" for name, text in _facts(run)]
    return Section("How it was measured", text=[NOTE], items=facts, code=run.command)


def _overview(run: Run) -> Iterator[Section]:
    if work := charts.work_chart(run):
        yield Section("Throughput by mode and work", charts=[work])
    for title, head, body in _glance(run):
        yield Section(title, tables=[Table("", head, body)])


def _glance(run: Run) -> Iterator[tuple[str, Sequence[str], list[tuple[str, ...]]]]:
    """Yield the two figures that most come for, each in one table: title, head, rows."""
    yield ("At a glance: events/s, all values at once", *tables.overview(run, lambda one: short(one.rate.median)))
    yield (
        "At a glance: p50, one value after the other",
        *tables.overview(run, lambda one: duration(one.latencies[50])),
    )


def _scenario(run: Run, name: str) -> Section:
    results = run.of(name)
    rates = [Rate("", one.contestant, charts.number_of(run, one.contestant), one.rate) for one in results]
    return Section(
        name[:1].upper() + name[1:], bars=bar_groups(rates), charts=[charts.latency_chart(run, name)],
        tables=[Table("", tables.HEAD, tables.rows(results))],
    )  # fmt: skip


def _courses() -> Iterator[Section]:
    for workload in workloads(2):
        if workload.name in COURSES:
            drawn = course_charts(workload.duration, {OUR_LAW: run_law(OUR_LAW, workload, 1)})
            note = "on a simulated workload and two simulated cores"
            yield Section(f"The course of the autoscaler: {workload.name}", note, charts=drawn)


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


def _lines(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    ruled = ["---" if not number else "---:" for number in range(len(head))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ruled, *rows))
