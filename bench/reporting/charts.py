"""The charts of a run."""

from collections.abc import Iterable, Sequence

from bench.reporting.records import Result, Run
from event_collector.benchmark.estimate import Estimate
from event_collector.web.charts import Axis, Chart, Curve, Ideal, Line, chart_of, colour, speedup_chart
from event_collector.web.filters import COLOURS

__all__ = ["latency_chart", "number_of", "scaling_chart", "work_chart"]

SHARES = [percent / 100 for percent in range(100)]
"""The slowest event of all is left out: it would set the scale."""


def work_chart(run: Run) -> Chart | None:
    """Return throughput over the work of an event."""
    shown = [one for one in run.results if one.work and not one.scaling]
    if len({one.work for one in shown}) < 2:
        return None
    ideal = Ideal("all CPUs, no overhead", lambda work: shown[0].cpus / work)
    x = Axis("seconds", is_log=True, label="computing for each event")
    curves = _curves(run, ((one, one.work or 0.0, one.rate) for one in shown))
    return chart_of("Events/s over the work of an event", x, Axis("number", is_log=True), curves, ideal)


def latency_chart(run: Run, scenario: str) -> Chart:
    """Return the distribution of the time of one event after the other."""
    lines = [
        Line(one.contestant, colour(number := number_of(run, one.contestant)), [*one.latencies[:100]],
             is_dashed=number >= COLOURS)
        for one in sorted(run.of(scenario), key=lambda one: one.latencies[50])
    ]  # fmt: skip
    x, y = Axis("percent", label="share of the events that took at most this long"), Axis("seconds", is_log=True)
    return Chart("Latency of one event after the other", x, y, SHARES, lines)


def scaling_chart(run: Run) -> Chart | None:
    """Return the speed-up over the number of worker processes."""
    shown = sorted((one for one in run.results if one.scaling), key=lambda one: one.workers)
    if not shown:
        return None
    base = {one.contestant: one.rate.median for one in reversed(shown)}  # that of its smallest number of workers
    curves = _curves(run, ((one, one.workers, _divided(one.rate, base[one.contestant])) for one in shown))
    return speedup_chart("Speed-up over the worker processes", curves, shown[0].cpus)


def number_of(run: Run, contestant: str) -> int:
    """Return the number of its colour: the same everywhere in the report."""
    names = list(dict.fromkeys(one.contestant for one in run.results))
    return names.index(contestant)


def _curves(run: Run, points: Iterable[tuple[Result, float, Estimate]]) -> Sequence[Curve]:
    found: dict[str, dict[float, Estimate]] = {}
    for one, place, value in points:
        found.setdefault(one.contestant, {})[place] = value
    return [Curve(name, number_of(run, name), values) for name, values in found.items()]


def _divided(value: Estimate, by: float) -> Estimate:
    return Estimate(value.median / by, value.low / by, value.high / by, value.rounds)
