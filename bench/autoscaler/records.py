"""What a simulation keeps: events on their way, the collectors of their sources, and what came out."""

import random
from dataclasses import dataclass, field
from typing import Any

from bench.autoscaler.workloads import Event, Source
from event_collector.handlers.collector import Collector
from event_collector.sizing.step_samples import Sample
from event_collector_workers.autoscaler import Tier

ERROR = 0.05


@dataclass
class Outcome:
    """What a law made of a workload."""

    completed: int = 0
    lost: int = 0
    latencies: list[float] = field(default_factory=list)
    worker_seconds: float = 0.0
    actions: int = 0
    reached: float | None = None
    course: list[tuple[float, int, int, int]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    changed: list[float] = field(default_factory=list)

    def latency(self, quantile: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))] if ordered else 0.0

    def changes(self, since: float, span: float) -> int:
        """Return the most changes within any `span` seconds after `since`."""
        times = [at for at in self.changed if at >= since]
        return max((sum(at <= other < at + span for other in times) for at in times), default=0)


class Job:
    """One event on its way."""

    __slots__ = ("began", "event", "held", "killed", "sampler", "steps", "wall")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.began = self.held = self.wall = 0.0
        self.steps = 0
        self.sampler: Samples | None = None
        self.killed = False

    def part(self) -> float:
        """Return the CPU seconds of one of its steps: half of them stand on either side of the waiting."""
        return self.event.cpu * (0.5 if self.event.waiting else 1.0)


class Samples:
    """The samples of one collector's steps, as a `StepSampler` takes them, with an error in the CPU time."""

    def __init__(self, noise: random.Random) -> None:
        self._noise = noise
        self._due = 0
        self._samples: list[Sample] = []

    def arm(self, events: int) -> None:
        self._due = events

    def disarm(self) -> None:
        self._due = 0

    def take(self) -> list[Sample]:
        taken, self._samples = self._samples[:256], []
        return taken

    def begin(self, job: Job) -> None:
        """Have an event sampled, if one is due."""
        if self._due > 0:
            self._due -= 1
            job.sampler = self

    def add(self, job: Job) -> None:
        cpu = job.event.cpu * max(0.0, self._noise.gauss(1.0, ERROR))
        self._samples.append(Sample(cpu, job.held, job.steps))


def collector_of(source: Source) -> Collector:
    """Return the collector whose events a source sends."""
    if source.adaptive:
        return Collector(source.key, _on_loop, mode="adaptive")
    return Collector(source.key, _on_loop if source.tier is Tier.COROUTINE else _in_worker)


async def _on_loop(payload: Any, ctx: Any) -> None:
    raise NotImplementedError


def _in_worker(payload: Any, ctx: Any) -> None:
    raise NotImplementedError
