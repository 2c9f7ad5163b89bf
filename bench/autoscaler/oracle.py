"""The oracle: knows all that is to come, and takes and leaves places in no time."""

import math

from bench.autoscaler.records import Outcome
from bench.autoscaler.simulation import Simulation
from bench.autoscaler.workloads import Workload
from event_collector.handlers.collector import PROCESS
from event_collector_workers.autoscaler import Tier
from event_collector_workers.autoscaler.window import RollingMaximum

HOLD = 0.25
TICK = 0.02


class Oracle:
    """As many places as events, up to the best concurrency; each kept for a moment after it was needed."""

    def __init__(self, workload: Workload, seed: int) -> None:
        self._workload = workload
        self._needed = {tier: RollingMaximum(HOLD) for tier in Tier}
        self._simulation = Simulation(workload, seed, free=True)
        self._queue = self._simulation.queue
        self._queue.waits = self._decide
        self._consumers = 1
        self._simulation.consumers = lambda: self._consumers

    def run(self) -> Outcome:
        """Let the whole workload pass."""
        self._tick(None)
        return self._simulation.run()

    def _tick(self, _: None) -> None:
        host = self._simulation.host
        host.at(host.now + TICK, self._tick, None)
        self._decide()

    def _decide(self) -> None:
        """Size both pools for the events that are there."""
        queue, now = self._queue, self._simulation.host.now
        is_moved = False
        for source, collector in zip(self._workload.sources, queue.collectors, strict=True):
            place = PROCESS if source.best_tier(now) is Tier.PROCESS else collector.home
            if place != collector.place:
                collector.move_to(place)
                is_moved = True
        self._simulation.pay()
        on_loop = queue.on_loop + queue.qsize - queue.ready_remote
        in_workers = queue.workers.in_hand + queue.ready_remote
        self._consumers = self._held(Tier.COROUTINE, now, max(1.0, min(on_loop, self._knee())))
        queue.workers.resize(self._held(Tier.PROCESS, now, min(in_workers, self._worker_cap(now))))
        size = self._consumers + queue.workers.in_hand + queue.workers.room
        queue.permits.raise_ceiling(size)
        queue.resize(size)
        if is_moved:
            queue.redirect()
        self._simulation.note()

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
        cores = max(min(1.0, workload.quota(now)), min(float(workload.cores), workload.quota(now)))
        best = math.ceil((cores + 2.0 * math.sqrt(cores * (1.0 - share))) / share)
        fitting = (workload.memory_limit - workload.base_memory) / (workload.worker_memory + workload.job_memory)
        return min(best, fitting)


def run_oracle(workload: Workload, seed: int) -> Outcome:
    """Run the oracle through a workload."""
    return Oracle(workload, seed).run()
