"""The size of the process tier: as many workers as the load needs and as cores and memory allow."""

import math

import msgspec

from event_collector_workers.autoscaler.demand import TierLoad, cpu_cap, ladder, staffing
from event_collector_workers.autoscaler.plan import ScalingLimits
from event_collector_workers.autoscaler.tuning import Tuning
from event_collector_workers.autoscaler.window import RollingMaximum


class Budget(msgspec.Struct, frozen=True, gc=False):
    """The share of the machine that the process tier may use."""

    cores: float  # left for workers
    memory_limit: float | None  # bytes that this program may use; None without a limit
    memory_others: float  # bytes of that in use outside of workers
    worker_memory: float  # bytes of one worker

    def workers_in_memory(self, margin: float) -> float:
        """Return how many workers fit. The share `margin` of the limit, at least half a worker, stays free."""
        if self.memory_limit is None:
            return math.inf
        kept = max(margin * self.memory_limit, 0.5 * self.worker_memory)
        return max(0.0, (self.memory_limit - self.memory_others - kept) // max(1.0, self.worker_memory))


class WorkerSizing:
    """Computes the target of the process tier, and remembers its recent needs."""

    def __init__(self, limits: ScalingLimits, tuning: Tuning) -> None:
        self._limits = limits
        self._tuning = tuning
        self._wanted = RollingMaximum(tuning.worker_hold * limits.patience)
        self._cpu_caps = RollingMaximum(tuning.cpu_hold)
        self._pause = tuning.worker_pause * limits.patience
        self._shrunk = -math.inf
        self.target = limits.min_workers
        self._warm = 0

    def resize(self, now: float, load: TierLoad, budget: Budget, startup: float, idle: bool, may_shrink: bool) -> str:
        """Set `target`. Return the reason of a change, or an empty string."""
        tuning, limits = self._tuning, self._limits
        hold = max(tuning.worker_hold, tuning.worker_hold_startups * startup)
        self._wanted.resize(limits.patience * min(tuning.worker_hold_longest, hold))
        cpu = max(1, round(cpu_cap(budget.cores, load.cpu_share)))
        self._cpu_caps.record(now, cpu)
        memory = max(1.0, budget.workers_in_memory(tuning.memory_margin))
        cap = int(min(limits.max_workers, cpu, memory))
        self._warm = self._ahead(cap, startup, idle) if load.collectors else 0
        need = 0.0
        if not idle:
            spare = tuning.worker_safety * math.sqrt(load.mean)
            need = staffing(load, 0.0, spare, max(tuning.worker_horizon, startup))
        wanted = max(limits.min_workers, self._warm, min(cap, ladder(need, tuning.worker_grid)))
        self._wanted.record(now, wanted)
        return self._step(now, load, budget, wanted, idle, may_shrink)

    @property
    def at_rest(self) -> bool:
        """True if no reduction is possible."""
        return self.target <= max(self._limits.min_workers, self._warm)

    def relaxes(self) -> float:
        """Return the earliest time of a reduction if nothing else happens."""
        expiry = self._wanted.relaxes()
        return max(expiry if expiry is not None else -math.inf, self._shrunk + self._pause)

    def _step(self, now: float, load: TierLoad, budget: Budget, wanted: int, idle: bool, may_shrink: bool) -> str:
        tuning, floor = self._tuning, self._limits.min_workers
        # Growing needs twice the free memory that staying needs. Otherwise a reading at the limit would start and
        # stop a worker again and again.
        fitting = max(floor, 1, budget.workers_in_memory(0.5 * tuning.memory_margin))
        if fitting < self.target:
            self.target, self._shrunk = int(fitting), now
            return f"memory is short: {_megabytes(budget)}"
        gap = wanted - self.target
        if gap > 0 and (load.queued > 0.0 or gap >= max(1.0, tuning.worker_step * self.target)):
            self.target = wanted
            return f"{load} on {budget.cores:.3g} cores"
        if not may_shrink:
            return ""
        affordable = max(floor, int(self._cpu_caps.value(now)))
        if affordable < self.target and now - self._shrunk >= tuning.cpu_hold:
            self.target, self._shrunk = affordable, now
            return f"{budget.cores:.3g} cores are left; {load}"
        held = int(self._wanted.value(now))
        least = 1.0 if idle else max(1.0, tuning.worker_shrink * self.target)
        if now - self._shrunk >= self._pause and self.target - held >= least:
            self.target, self._shrunk = held, now
            return f"no more were wanted for {self._wanted.span:.3g} s; {load}"
        return ""

    def _ahead(self, cap: int, startup: float, idle: bool) -> int:
        """Return the number of workers kept ahead of need. An idle tier keeps them only if starting one is slow."""
        if idle and startup < self._tuning.slow_start:
            return 0
        return int(cap * min(self._tuning.warm_share, startup / self._tuning.warm_startup))


def _megabytes(budget: Budget) -> str:
    limit = (budget.memory_limit or 0.0) / 2**20
    others, worker = budget.memory_others / 2**20, budget.worker_memory / 2**20
    return f"{worker:.0f} MiB a worker, {others:.0f} MiB used by others, {limit:.0f} MiB allowed"
