"""What a simulation keeps: events on their way, counters for the law, and what came out."""

import random
from dataclasses import dataclass, field

from bench.autoscaler.workloads import Event, Source
from event_collector_workers.autoscaler import CollectorReading, Tier

ERROR = 0.05


@dataclass
class Outcome:
    """What a law made of a workload."""

    completed: int = 0
    lost: int = 0
    latencies: list[float] = field(default_factory=list)
    consumer_seconds: float = 0.0
    worker_seconds: float = 0.0
    actions: int = 0
    reached: float | None = None
    course: list[tuple[float, int, int, int]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    @property
    def cost(self) -> float:
        return self.consumer_seconds + self.worker_seconds

    def latency(self, quantile: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))] if ordered else 0.0


class Job:
    """One event on its way."""

    __slots__ = ("began", "event", "killed", "tier", "wait_began", "waited")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.tier = Tier.COROUTINE
        self.began = self.wait_began = self.waited = 0.0
        self.killed = False

    def part(self) -> float:
        """Return the CPU seconds of one of its steps: half of them stand on either side of the waiting."""
        return self.event.cpu * (0.5 if self.event.waiting else 1.0)


class Tally:
    """The counters of one source, as the law is told them."""

    __slots__ = ("arrivals", "completions", "cpu", "delay", "queued", "running", "source", "tier", "wall")

    def __init__(self, source: Source) -> None:
        self.source = source
        self.tier = source.tier
        self.arrivals = self.completions = self.queued = self.running = 0
        self.wall = self.cpu = self.delay = 0.0

    def count(self, now: float, job: Job, noise: random.Random) -> None:
        """Count an event that has ended, with errors in the measured times."""
        wall = now - job.began
        self.running -= 1
        self.completions += 1
        self.wall += wall
        self.cpu += min(wall, job.event.cpu * noise.gauss(1.0, ERROR))
        self.delay += max(0.0, wall - job.waited - job.event.cpu) * noise.gauss(1.0, ERROR)

    def reading(self) -> CollectorReading:
        return CollectorReading(
            key=self.source.key,
            tier=self.tier,
            adaptive=self.source.adaptive,
            arrivals=self.arrivals,
            completions=self.completions,
            wall=self.wall,
            cpu=self.cpu,
            delay=self.delay,
            queued=self.queued,
            running=self.running,
        )
