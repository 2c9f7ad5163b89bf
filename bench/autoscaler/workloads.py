"""The eighteen workloads: who sends what when, and what the machine is like."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from event_collector_workers.autoscaler import Tier

Shape = Callable[[float], float]
MIB = 1 << 20


def full_speed(now: float) -> float:
    """Return the slowness of a back end that always answers as fast."""
    return 1.0


def unlimited(now: float) -> float:
    """Return the quota of a program that may use all cores."""
    return math.inf


@dataclass(frozen=True)
class Source:
    """One collector and its events. Rates in events a second, costs in seconds; all as functions of time."""

    key: str
    tier: Tier
    rate: Shape
    cpu: Shape
    waiting: Shape
    adaptive: bool = False
    scatter: str = "gamma"
    bursts: tuple[tuple[float, int], ...] = ()
    capacity: float = math.inf
    collapse: float = 0.0
    slowness: Shape = full_speed

    def best_tier(self, now: float) -> Tier:
        """Return where its events belong: on the loop if they hardly need a CPU."""
        if not self.adaptive:
            return self.tier
        busy = self.rate(now) * self.cpu(now)
        return Tier.PROCESS if self.cpu(now) >= 0.005 or busy > 0.5 else Tier.COROUTINE


@dataclass(frozen=True)
class Event:
    """One event: when it comes, for which source, what it costs."""

    at: float
    source: int
    cpu: float
    waiting: float


@dataclass(frozen=True)
class Workload:
    """A story of `duration` seconds on a machine with `cores`.

    Quota, neighbours and the slowness of sources change at the times in `changes` only.
    """

    name: str
    cores: int
    duration: float
    sources: tuple[Source, ...]
    quota: Shape = unlimited
    neighbours: Callable[[float], int] = lambda now: 0
    changes: tuple[float, ...] = ()
    startup_latency: float = 0.02
    startup_cpu: float = 0.02
    """Workers are forked with what they need already imported. `python -m bench.autoscaler.replay` measures it."""
    dispatch: float = 20e-6
    """CPU time of the loop for an event, without its handler. The replay measures it, too."""
    decision: float = 100e-6
    """CPU time of the loop for a decision of the law. The replay measures it, with that of its own looks."""
    worker_memory: float = 50 * MIB
    job_memory: float = 0.0
    memory_limit: float = math.inf
    base_memory: float = 100 * MIB
    step: float | None = None
    needed: float = 0.0
    events: dict[int, list[Event]] = field(default_factory=dict, compare=False)

    def arrivals(self, seed: int) -> list[Event]:
        """Return all events in the order they come; the same for the same seed."""
        if seed not in self.events:
            chance = random.Random(f"{self.name} {self.cores} {seed}")
            drawn: list[Event] = []
            for number, source in enumerate(self.sources):
                drawn += self._draw(number, source, chance)
            self.events[seed] = sorted(drawn, key=lambda event: event.at)
        return self.events[seed]

    def _draw(self, number: int, source: Source, chance: random.Random) -> list[Event]:
        """Draw a Poisson stream whose rate changes, by thinning one of the highest rate."""
        highest = max(source.rate(tick * 0.1) for tick in range(int(self.duration * 10)))
        times = [at for at, count in source.bursts for _ in range(count)]
        now = chance.expovariate(highest)
        while now < self.duration:
            if chance.random() * highest < source.rate(now):
                times.append(now)
            now += chance.expovariate(highest)
        return [
            Event(
                at, number, _scattered(source.cpu(at), source, chance), _scattered(source.waiting(at), source, chance)
            )
            for at in times
        ]


def _scattered(mean: float, source: Source, chance: random.Random) -> float:
    """Draw a cost around its mean: gently scattered, of two kinds, or with a heavy tail cut off at fifty times it."""
    if mean <= 0.0:
        return 0.0
    if source.scatter == "tail":
        # Pareto with exponent 1.5; its mean is 3 times the scale, 2.58 after the cut.
        return min(50.0 * mean, mean / 2.58 * chance.paretovariate(1.5))
    if source.scatter == "two kinds":
        return mean * (0.2 if chance.random() < 0.9 else 8.2)
    return mean * chance.gammavariate(4.0, 0.25)


def constant(value: float) -> Shape:
    return lambda now: value


def stepped(before: float, after: float, at: float, until: float = math.inf) -> Shape:
    return lambda now: after if at <= now < until else before


def burning(cores: float, load: Shape, cpu: float = 0.04, key: str = "burn", scatter: str = "gamma") -> Source:
    """Return a source of CPU work for processes that loads `load` of `cores`."""
    return Source(key, Tier.PROCESS, lambda now: load(now) * cores / cpu, constant(cpu), constant(0.0), scatter=scatter)


def calling(rate: Shape, waiting: float = 0.1, cpu: float = 0.0003, key: str = "call") -> Source:
    """Return a source of events that wait for a back end, handled on the loop."""
    return Source(key, Tier.COROUTINE, rate, constant(cpu), constant(waiting))


def workloads(cores: int) -> list[Workload]:
    """Return the eighteen workloads for a machine with so many cores."""
    return [*_shapes(cores), *_limits(cores), *_back_ends(cores), *_placements(cores)]


def _shapes(cores: int) -> list[Workload]:
    def story(name: str, load: Shape, duration: float, **more: float) -> Workload:
        return Workload(name, cores, duration, (burning(cores, load),), **more)  # type: ignore[arg-type]

    burst = Source(
        "burn",
        Tier.PROCESS,
        constant(0.05 * cores / 0.04),
        constant(0.04),
        constant(0.0),
        bursts=((15.0, 20 * cores), (35.0, 20 * cores)),
    )
    tail = burning(cores, constant(0.5), scatter="tail")
    return [
        story("step", stepped(0.15, 0.75, 20.0), 60.0, step=20.0, needed=0.75 * cores),
        Workload("burst", cores, 60.0, (burst,)),
        story("ramp", lambda now: 0.1 + 0.75 * now / 60.0, 60.0),
        story("square", lambda now: 0.7 if now % 20.0 >= 10.0 else 0.2, 80.0),
        story("sine", lambda now: 0.45 + 0.35 * math.sin(now * math.tau / 40.0), 80.0),
        story("Poisson", constant(0.5), 90.0),
        Workload("heavy tail", cores, 60.0, (tail,)),
        story("CPU overload", stepped(0.3, 1.3, 10.0), 40.0, step=10.0, needed=float(cores)),
    ]


def _limits(cores: int) -> list[Workload]:
    quota = cores / 2
    fitting = cores + 2.6
    waiting = Source(
        "half",
        Tier.PROCESS,
        lambda now: (0.8 if now >= 15.0 else 0.2) * (cores + 1) / 0.05,
        constant(0.02),
        constant(0.03),
    )
    slow = burning(cores, stepped(0.05, 0.7, 40.0))
    noisy = burning(cores, constant(0.4))
    return [
        Workload(
            "slow start", cores, 100.0, (slow,), startup_latency=4.0, startup_cpu=1.0, step=40.0, needed=0.7 * cores
        ),
        Workload(
            "memory limit",
            cores,
            60.0,
            (waiting,),
            worker_memory=300 * MIB,
            memory_limit=100 * MIB + fitting * 300 * MIB,
            step=15.0,
            needed=0.8 * (cores + 1),
        ),
        Workload(
            "CPU quota",
            cores,
            60.0,
            (burning(quota, stepped(0.2, 0.8, 20.0)),),
            quota=constant(quota),
            step=20.0,
            needed=0.8 * quota,
        ),
        Workload(
            "noisy neighbour",
            cores,
            60.0,
            (noisy,),
            neighbours=lambda now: cores // 2 if 20.0 <= now < 40.0 else 0,
            changes=(20.0, 40.0),
        ),
    ]


def _back_ends(cores: int) -> list[Workload]:
    capacity = 30.0
    saturating = Source(
        "call",
        Tier.COROUTINE,
        lambda now: (1.15 if 20.0 <= now < 30.0 else 0.6) * capacity / 0.05,
        constant(0.0003),
        constant(0.05),
        capacity=capacity,
        collapse=0.5,
    )
    slower = Source(
        "call",
        Tier.COROUTINE,
        constant(300.0),
        constant(0.0003),
        constant(0.05),
        slowness=stepped(1.0, 4.0, 20.0, 40.0),
    )
    return [
        Workload("saturating back end", cores, 60.0, (saturating,)),
        Workload("slow back end", cores, 60.0, (slower,), changes=(20.0, 40.0)),
        Workload("IO only", cores, 60.0, (calling(stepped(30.0, 600.0, 20.0), 0.15),), step=20.0, needed=600.0 * 0.15),
    ]


def _placements(cores: int) -> list[Workload]:
    half = Source("half", Tier.PROCESS, lambda now: 0.2 * cores / 0.02, constant(0.02), constant(0.04))
    mixed = (calling(constant(200.0), 0.08), burning(cores, stepped(0.1, 0.4, 20.0)), half)
    turning = Source(
        "turning",
        Tier.COROUTINE,
        constant(0.5 * cores / 0.02),
        stepped(0.0001, 0.02, 25.0),
        stepped(0.05, 0.005, 25.0),
        adaptive=True,
    )
    heavy = Source("heavy", Tier.COROUTINE, stepped(60.0, 300.0, 20.0), constant(0.003), constant(0.03), adaptive=True)
    light = Source("light", Tier.COROUTINE, constant(200.0), constant(0.0003), constant(0.05), adaptive=True)
    return [
        Workload("mixed", cores, 60.0, mixed, step=20.0, needed=0.4 * cores + 0.6 * cores + 16.0),
        Workload("IO turning CPU", cores, 60.0, (turning,), step=25.0, needed=0.5 * cores),
        Workload("hot loop", cores, 60.0, (heavy, light)),
    ]
