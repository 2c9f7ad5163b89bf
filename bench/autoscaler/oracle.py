"""The oracle: knows all that is to come, and takes and leaves places in no time."""

import math

from bench.autoscaler.records import Outcome
from bench.autoscaler.simulation import Simulation
from bench.autoscaler.workloads import Workload
from event_collector_workers.autoscaler import Plan, Readings, Tier
from event_collector_workers.autoscaler.window import RollingMaximum

HOLD = 0.25
TICK = 0.02


class Oracle:
    """As many places as events, up to the best concurrency; each kept for a moment after it was needed."""

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._needed = {tier: RollingMaximum(HOLD) for tier in Tier}

    def decide(self, readings: Readings) -> Plan:
        now = readings.now
        placement = {source.key: source.best_tier(now) for source in self._workload.sources if source.adaptive}
        present = dict.fromkeys(Tier, 0.0)
        for reading in readings.collectors:
            tier = placement.get(reading.key, reading.tier)
            present[tier] += (reading.queued or 0) + (reading.running or 0)
        consumers = self._held(Tier.COROUTINE, now, max(1.0, min(present[Tier.COROUTINE], self._knee())))
        workers = self._held(Tier.PROCESS, now, min(present[Tier.PROCESS], self._worker_cap(now)))
        return Plan(
            consumers=consumers,
            workers=workers,
            consumer_ceiling=max(consumers, self._knee()),
            placement=placement,
            next_check=now + TICK,
        )

    def _held(self, tier: Tier, now: float, needed: float) -> int:
        self._needed[tier].record(now, needed)
        return int(self._needed[tier].value(now))

    def _knee(self) -> int:
        """Return the concurrency at which the back ends are at their best."""
        total = 0.0
        for source in self._workload.sources:
            total += source.capacity * (1.0 + source.cpu(0.0) / max(1e-9, source.waiting(0.0)))
        return 10_000 if math.isinf(total) else math.ceil(total)

    def _worker_cap(self, now: float) -> float:
        """Return how many workers keep the cores busy, and fit into the memory."""
        workload = self._workload
        cpu = waiting = 0.0
        for source in workload.sources:
            if source.best_tier(now) is Tier.PROCESS:
                cpu += source.rate(now) * source.cpu(now)
                waiting += source.rate(now) * source.waiting(now)
        share = cpu / (cpu + waiting) if cpu else 1.0
        cores = max(1.0, min(float(workload.cores), workload.quota) - workload.neighbours(now))
        best = math.ceil((cores + 2.0 * math.sqrt(cores * (1.0 - share))) / share)
        return min(best, (workload.memory_limit - workload.base_memory) / workload.worker_memory)


def run_oracle(workload: Workload, seed: int) -> Outcome:
    """Run the oracle through a workload."""
    return Simulation(workload, Oracle(workload), seed, free=True).run()
