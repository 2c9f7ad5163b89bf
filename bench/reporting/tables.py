"""The tables behind the plots, as texts."""

from collections.abc import Callable, Sequence

from bench.reporting.records import Result, Run, ratio
from event_collector.watching.tables import duration, short, size

__all__ = ["HEAD", "OTHERS_HEAD", "SCALING_HEAD", "others", "overview", "rows", "scaling_rows"]

HEAD = (
    "", "events/s", "95% interval", "of auto", "p50", "p95", "p99", "CPU/event", "in processes", "memory", "efficiency",
)  # fmt: skip
SCALING_HEAD = ("", "workers", "events/s", "95% interval", "efficiency")
OTHERS_HEAD = ("", "one round", "95% interval")
NOTHING = "-"


def overview(run: Run, show: Callable[[Result], str]) -> tuple[Sequence[str], list[tuple[str, ...]]]:
    """Return the head and the rows of a table of one figure: a row for each contestant, a column for each scenario."""
    found = {(one.contestant, one.scenario): show(one) for one in run.results if not one.scaling}
    body = [
        (contestant, *(found.get((contestant, scenario), NOTHING) for scenario in run.scenarios))
        for contestant in run.contestants
    ]
    return ("", *run.scenarios), body


def rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """Return the contestants of one scenario as rows below HEAD."""
    auto = next((one for one in results if one.contestant == "auto"), None)
    return [
        (
            one.contestant,
            short(one.rate.median),
            f"{short(one.rate.low)} to {short(one.rate.high)}",
            NOTHING if auto is None else f"{ratio(one, auto).median:.2f}",
            duration(one.latencies[50]),
            duration(one.latencies[95]),
            duration(one.latencies[99]),
            duration(one.own_cpu),
            duration(one.worker_cpu),
            size(one.memory),
            NOTHING if one.efficiency is None else f"{one.efficiency:.0%}",
        )
        for one in results
    ]


def scaling_rows(run: Run) -> list[tuple[str, ...]]:
    """Return what more workers brought, as rows below SCALING_HEAD."""
    shown = sorted((one for one in run.results if one.scaling), key=lambda one: (one.contestant, one.workers))
    return [
        (
            one.contestant,
            str(one.workers),
            short(one.rate.median),
            f"{short(one.rate.low)} to {short(one.rate.high)}",
            NOTHING if one.efficiency is None else f"{one.efficiency:.0%}",
        )
        for one in shown
    ]


def others(run: Run) -> list[tuple[str, ...]]:
    """Return the benchmarks without a scenario, as rows below OTHERS_HEAD."""
    return [
        (f"{group}: {name}", duration(one.median), f"{duration(one.low)} to {duration(one.high)}")
        for group, name, one in run.others
    ]
