"""The report of a comparison: all figures and the recommendation, as structures that are also its JSON."""

import json
import os
import platform
from collections.abc import Sequence

import msgspec

from event_collector.benchmark.diagnosis import bound_of
from event_collector.benchmark.estimate import Estimate
from event_collector.benchmark.recommendation import (
    FEW_ROUNDS,
    UNCLEAR,
    Recommendation,
    profile_of,
    ratio_to,
    recommend,
)
from event_collector.benchmark.trial_figures import Measured
from event_collector.handlers.collector import Collector
from event_collector.handlers.signature import takes_value


class Environment(msgspec.Struct, frozen=True):
    """The machine and the interpreter of the measurement."""

    system: str
    python: str
    loop: str
    cpus: int  # CPUs granted to this program, by affinity and control groups, rounded up
    load: float  # load average of the last minute, before the run; 0 if unknown

    @classmethod
    def here(cls, loop: str, cpus: int) -> "Environment":
        """Return the environment of this process."""
        try:
            load = os.getloadavg()[0]
        except (AttributeError, OSError):  # not on every platform
            load = 0.0
        return cls(platform.platform(), platform.python_version(), loop, cpus, load)


class Row(msgspec.Struct, frozen=True):
    """One contender. Times in seconds per event, memory in bytes; None if unknown."""

    label: str
    mode: str
    workers: int
    rewritten: bool
    batch: int = 0  # events in a call of a batch handler, at most; 0 for other handlers
    refusal: str | None = None
    rounds: int = 0
    events: int = 0
    in_flight: int | None = None
    rate: Estimate | None = None
    alone: float | None = None  # median time of an event that is alone
    p50: float | None = None
    p99: float | None = None
    own_cpu: float | None = None
    worker_cpu: float | None = None
    own_memory: int | None = None
    worker_memory: int | None = None
    growth: float | None = None
    lag: float | None = None
    failures: float = 0.0
    error: str | None = None
    bound: str | None = None
    tries: dict[int, float] = msgspec.field(default_factory=dict)


class Scaling(msgspec.Struct, frozen=True):
    """The gain of a number of worker processes."""

    workers: int
    speedup: Estimate  # throughput, as a multiple of that of the smallest number of workers
    efficiency: float  # speed-up per worker; 1.0 is ideal
    serial: float | None
    """The serial share of the work by Amdahl's law: the metric of Karp and Flatt, 1990. None for one worker, if the
    smallest number is not 1, if more workers brought nothing, and if the rounds differ too much to tell."""


class Report(msgspec.Struct):
    """The result of a comparison."""

    target: str
    command: str
    machine: Environment
    seconds: float  # duration of the comparison
    settled: bool  # whether it ended because the figures were precise, and not because the time was over
    rows: list[Row]
    scaling: list[Scaling]
    recommendation: Recommendation
    code: list[str]  # the recommended lines of Python


def make_report(
    found: Sequence[Measured], *, target: str, name: str, collector: Collector, command: str, environment: Environment,
    seconds: float, settled: bool,
) -> Report:  # fmt: skip
    """Judge the measurements and return the report; `name` is that of the handler of `collector`."""
    recommendation = recommend(found)
    if environment.load > environment.cpus:
        recommendation.warnings.append(
            f"the machine was busy before the run (load {environment.load:.1f} on {environment.cpus} CPUs): repeat "
            f"when it is idle"
        )
    profile = profile_of(found)
    rows = [_row(one, bound_of(one, profile).value if one.usable else None) for one in found]
    code = _code(recommendation, name, collector)
    return Report(target, command, environment, seconds, settled, rows, _scaling(found), recommendation, code)


def _row(one: Measured, bound: str | None) -> Row:
    contender = one.contender
    if not one.rounds:
        return Row(
            one.label, contender.mode, contender.workers, contender.rewritten, contender.batch, one.refusal,
            tries=one.tries,
        )  # fmt: skip
    return Row(
        label=one.label, mode=contender.mode, workers=contender.workers, rewritten=contender.rewritten,
        batch=contender.batch, refusal=one.refusal, rounds=len(one.rounds), events=one.events,
        in_flight=one.in_flight, rate=one.rate,
        alone=one.alone or None, p50=one.median("p50"), p99=one.median("p99"),
        own_cpu=one.per_event("own_cpu"), worker_cpu=one.per_event("worker_cpu"),
        own_memory=round(one.median("own_memory")), worker_memory=round(one.median("worker_memory")),
        growth=one.growth, lag=one.median("lag"), failures=one.failures, error=one.error, bound=bound,
        tries=one.tries,
    )  # fmt: skip


def _scaling(found: Sequence[Measured]) -> list[Scaling]:
    crews = sorted(
        (one for one in found if one.contender.workers and one.usable and not one.contender.batch),
        key=lambda one: one.contender.workers,
    )
    if len(crews) < 2:
        return []
    least = crews[0].contender.workers
    scaling = []
    for one in crews:
        workers, speedup = one.contender.workers, ratio_to(one, crews[0])
        serial = _serial_share(speedup, workers) if least == 1 and workers > 1 else None
        scaling.append(Scaling(workers, speedup, speedup.median * least / workers, serial))
    return scaling


def _serial_share(speedup: Estimate, workers: int) -> float | None:
    if speedup.rounds < FEW_ROUNDS or speedup.low <= 1 or speedup.half_width > UNCLEAR:
        return None
    return max(0.0, (1 / speedup.median - 1 / workers) / (1 - 1 / workers))


def _code(recommendation: Recommendation, name: str, collector: Collector) -> list[str]:
    contender, consumers = recommendation.contender, recommendation.consumers
    if contender is None:
        return []
    handler = name if all(map(str.isidentifier, name.split("."))) else "handler"
    lines = []
    if contender.rewritten:
        parameters = "value" if takes_value(collector.handler, collector.key) else "payload, ctx"
        lines.append(f"async def {handler.rpartition('.')[2]}({parameters}): ...  # instead of def")
    timeout = "" if collector.timeout is None else f", timeout={collector.timeout}"
    kept = [word for word in ("topics", "ctx", "lifecycle", "heartbeat", "retry") if getattr(collector, word)]
    comment = f"  # and its {', '.join(kept)} as before" if kept else ""
    batch = ""
    if collector.batch is not None:
        batch = f", batch=Batch(max_size={contender.batch}, max_wait={collector.batch.max_wait:g})"
    key = json.dumps(collector.key, ensure_ascii=False)
    lines.append(f'collector = Collector({key}, {handler}{timeout}, mode="{contender.mode}"{batch}){comment}')
    sizes = ""
    if contender.workers:
        sizes = f", max_workers={contender.workers}"
    elif consumers is not None:
        sizes = f", max_threads={consumers}" if contender.mode == "thread" else f", max_consumers={consumers}"
    return [*lines, f"queue = CollectorQueue([collector]{sizes})"]
