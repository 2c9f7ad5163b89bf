"""Measurements made by hand, and contenders that only pretend to be measured."""

from collections.abc import Callable, Sequence

from event_collector.benchmark.trial import SubjectFailed
from event_collector.benchmark.trial_figures import (
    Contender,
    HandlerProfile,
    Measured,
    Readiness,
    RoundOrder,
    RoundResult,
    TransferCost,
)

COROUTINE = Contender("coroutine")
REWRITTEN = Contender("coroutine", rewritten=True)
THREAD = Contender("thread")


def process(workers: int) -> Contender:
    return Contender("process", workers=workers)


WAITING = HandlerProfile(events=10, wall=0.02, cpu=0.0001, block=0.0001, worst=0.0002)
COMPUTING = HandlerProfile(events=10, wall=0.02, cpu=0.0199, block=0.0199, worst=0.02)
TINY = HandlerProfile(events=100, wall=2e-6, cpu=1.5e-6, block=2e-6, worst=5e-6)


def a_round(rate: float, **fields: float | str | None) -> RoundResult:
    events = int(fields.pop("events", 1000) or 0)
    figures = {
        "in_flight": 4, "failed": 0, "p50": 0.01, "p99": 0.02, "own_cpu": 0.1, "worker_cpu": 0.0,
        "own_queued": 0.0, "worker_queued": 0.0, "own_memory": 30_000_000, "worker_memory": 0, "lag": 0.001,
    }  # fmt: skip
    return RoundResult(events=events, seconds=events / rate, **{**figures, **fields})  # type: ignore[arg-type]


def measured(
    contender: Contender,
    rates: Sequence[float] | float,
    *,
    profile: HandlerProfile | None = None,
    transfer: TransferCost | None = None,
    **fields: float | str | None,
) -> Measured:
    """Return what six rounds, or those given, would have shown."""
    given = [rates] * 6 if isinstance(rates, (int, float)) else rates
    return Measured(contender, [a_round(rate, **fields) for rate in given], profile=profile, transfer=transfer)


class Clock:
    """Moves only when somebody works."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Model:
    """A handler that waits and computes for so many seconds, on a machine with so many CPUs."""

    def __init__(self, clock: Clock, *, wait: float, cpu: float, cpus: int, noise: Callable[[], float]) -> None:
        self.clock, self.wait, self.cpu, self.cpus, self.noise = clock, wait, cpu, cpus, noise
        self.open: list[PretendedSubject] = []
        self.turns: list[Contender] = []
        """Who was measured, in order."""
        self.broken: set[str] = set()
        """Labels of those that cannot start."""
        self.failing: set[str] = set()
        """Labels of those that fail in a round that counts."""

    def subject(self, contender: Contender) -> "PretendedSubject":
        self.clock.now += 0.1
        if contender.label in self.broken:
            raise SubjectFailed("it is broken")
        return PretendedSubject(self, contender)

    def rate(self, contender: Contender, in_flight: int) -> float:
        """Return events per second: bound by those that run at once, and by the CPUs that may compute."""
        at_once = min(in_flight, contender.workers) if contender.workers else in_flight
        if contender.rewritten:
            at_once = 1
        cores = min(contender.workers, self.cpus) if contender.workers else 1
        computing = cores / self.cpu if self.cpu else float("inf")
        return min(at_once / (self.wait + self.cpu), computing)


class PretendedSubject:
    def __init__(self, model: Model, contender: Contender) -> None:
        self.model, self.contender = model, contender
        self.orders: list[RoundOrder] = []
        self.closed: bool | None = None
        whole = model.wait + model.cpu
        block = whole if contender.rewritten else model.cpu
        profile = HandlerProfile(10, whole, model.cpu, block, block) if contender.mode == "coroutine" else None
        self.readiness = Readiness(profile=profile)
        model.open.append(self)

    def round(self, order: RoundOrder, timeout: float) -> RoundResult:
        assert self.closed is None
        assert timeout > 0
        self.orders.append(order)
        self.model.turns.append(self.contender)
        if self.contender.label in self.model.failing and len(self.orders) > 8:
            raise SubjectFailed("it went away")
        rate = self.model.rate(self.contender, order.in_flight) * self.model.noise()
        events = max(order.in_flight, min(order.events, int(rate * order.seconds)))
        seconds = events / rate
        self.model.clock.now += seconds
        cpu = events * self.model.cpu
        own, worker = (0.0, cpu) if self.contender.workers else (cpu, 0.0)
        return RoundResult(
            order.in_flight, events, 0, seconds, order.in_flight / rate, order.in_flight / rate, own, worker,
            0.0, 0.0, 30_000_000, 0, 0.001,
        )  # fmt: skip

    def close(self, *, at_once: bool = False) -> None:
        assert self.closed is None
        self.closed = at_once
