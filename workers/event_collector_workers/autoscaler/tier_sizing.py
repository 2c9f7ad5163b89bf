"""The sizes of both tiers: they grow at once and shrink late. A saturated back end, cores and memory limit them."""

import math
from typing import Final

import msgspec

from event_collector_workers.autoscaler.demand import TierLoad, cpu_cap, ladder, staffing
from event_collector_workers.autoscaler.guard import SaturationGuard
from event_collector_workers.autoscaler.plan import ScalingLimits, WorkerGroupLimits
from event_collector_workers.autoscaler.tuning import Tuning
from event_collector_workers.autoscaler.window import RollingMaximum

_SOON: Final = 4.0
"""Times for which a worker was kept: needed again within so many of them, it was given up too early."""
_FEW: Final = 3
"""Workers that are a small change of any tier if they are fewer."""


class TierSizing:
    """The target of a tier, and when it may shrink: to the largest size wanted within some seconds, with pauses."""

    def __init__(self, least: int, hold: float, pause: float) -> None:
        self._least = least
        self._wanted = RollingMaximum(hold)
        self._pause = pause
        self._shrunk = -math.inf
        self.target = least

    @property
    def at_rest(self) -> bool:
        """True if no reduction is possible."""
        return self.target <= self._least

    def _set_bounds(self, least: int, most: int) -> None:
        self._least = least
        self.target = max(least, min(self.target, most))

    def relaxes(self) -> float:
        """Return the earliest time of a reduction if nothing else happens."""
        return self._relaxes(self._wanted.relaxes())

    def _relaxes(self, *expiries: float | None) -> float:
        known = [expiry for expiry in expiries if expiry is not None]
        return max(min(known, default=-math.inf), self._shrunk + self._pause)

    def _shrink(self, now: float, load: TierLoad, wanted: RollingMaximum, share: float, idle: bool) -> str:
        """Reduce the target to what was wanted, if that is due and at least a `share` of it less.

        An idle tier shrinks by any number.
        """
        held = int(wanted.value(now))
        gap = 1.0 if idle else max(1.0, share * self.target)
        if now - self._shrunk < self._pause or self.target - held < gap:
            return ""
        self.target, self._shrunk = held, now
        return f"no more were wanted for {wanted.span:.3g} s; {load}"


class ConsumerSizing(TierSizing):
    """Computes the target of the coroutine tier, and the ceiling of its growth between two decisions."""

    def __init__(self, limits: ScalingLimits, tuning: Tuning, guard: SaturationGuard) -> None:
        hold = max(1.0, tuning.consumer_hold * limits.patience)
        super().__init__(limits.min_consumers, hold, tuning.consumer_pause * limits.patience)
        self._limits = limits
        self._tuning = tuning
        self._guard = guard
        self._reach = self._progress = 0.0
        self._doubled = self._grown = -math.inf
        self._relief = 1.0
        self._service = tuning.assumed_service
        self.ceiling = limits.max_consumers

    def bound(self, limits: ScalingLimits) -> None:
        """Keep other bounds from now on."""
        self._limits = limits
        self._set_bounds(limits.min_consumers, limits.max_consumers)
        self.ceiling = max(self.target, min(self.ceiling, limits.max_consumers))

    def resize(self, now: float, load: TierLoad, busy: int, idle: bool, may_shrink: bool) -> str:
        """Set `target` and `ceiling`. Return the reason of a changed target, or an empty string."""
        self._watch_progress(now, load)
        spare = max(self._tuning.safety * math.sqrt(load.mean), self._limits.margin * load.mean)
        need = 0.0 if idle else staffing(load, busy, spare, self._tuning.horizon)
        cap = max(self._limits.min_consumers, int(min(self._limits.max_consumers, self._guarded())))
        self.ceiling = self._reachable(now, need, busy, cap)
        wanted = max(self._limits.min_consumers, min(ladder(need, self._tuning.consumer_grid), self.ceiling))
        self._wanted.record(now, wanted)
        return self._step(now, load, wanted, idle, may_shrink)

    def _step(self, now: float, load: TierLoad, wanted: int, idle: bool, may_shrink: bool) -> str:
        guarded = max(self._limits.min_consumers, self._guarded())
        if self.target > guarded:
            self.target = int(guarded)
            return f"{self._guard.reason}: the back end is saturated"
        if wanted > self.target and (load.queued > 0.0 or not self._may_be_chance(now, wanted)):
            self.target, self._grown = wanted, now
            return str(load)
        return self._shrink(now, load, self._wanted, self._tuning.consumer_shrink, idle) if may_shrink else ""

    def _may_be_chance(self, now: float, wanted: int) -> bool:
        """Return whether the need may have grown by chance, soon after a change. The ceiling serves it meanwhile."""
        changed = max(self._grown, self._shrunk)
        return now - changed < self._wanted.span and wanted <= self._tuning.consumer_grid**2 * self.target + 1.0

    def _guarded(self) -> float:
        return math.inf if self._guard.cap is None else self._relief * self._guard.cap

    def _reachable(self, now: float, need: float, busy: int, cap: int) -> int:
        """Return how far the tier may grow until the next decision: freely while small, then by doubling.

        It doubles only as far as it is needed: a backlog of very short events is gone before more consumers help.
        """
        size = max(busy, self.target)
        if now - self._doubled >= min(self._service, self._tuning.doubling):
            self._doubled, self._reach = now, 2.0 * size
        desired = min(self._reach, ladder(need, self._tuning.consumer_grid))
        return min(cap, int(max(size, self._tuning.free_growth, desired)))

    def _watch_progress(self, now: float, load: TierLoad) -> None:
        """Relax the caps while events wait and none ends: running events may depend on queued ones."""
        if load.completed > 0.0 or load.queued == 0.0:
            self._progress, self._relief = now, 1.0
            self._service = load.service or self._service
        elif now - self._progress > max(self._tuning.relief, self._tuning.guard_settle * self._service):
            self._progress, self._relief = now, self._relief * 2.0


class Budget(msgspec.Struct, frozen=True, gc=False):
    """The share of the machine that one worker group may use."""

    cores: float  # left for workers
    memory_limit: float | None  # bytes that this program may use; None without a limit
    memory_others: float  # bytes of that in use outside of its workers, or for others
    worker_memory: float  # bytes of one worker

    def workers_in_memory(self, margin: float) -> float:
        """Return how many workers fit. The share `margin` of the limit, at least half a worker, stays free."""
        if self.memory_limit is None:
            return math.inf
        kept = kept_free(self.memory_limit, self.worker_memory, margin)
        return max(0.0, (self.memory_limit - self.memory_others - kept) // max(1.0, self.worker_memory))


def kept_free(memory_limit: float, worker_memory: float, margin: float) -> float:
    """Return the bytes that stay free of a limit: the share `margin` of it, at least half a worker."""
    return max(margin * memory_limit, 0.5 * worker_memory)


class WorkerSizing(TierSizing):
    """Computes the target of one worker group, and remembers its recent needs.

    Several workers that are not needed any more are given up soon. A need that varies by chance does so by single ones,
    so those are kept for longer, and for longer still when one was needed again.
    """

    def __init__(self, limits: WorkerGroupLimits, patience: float, tuning: Tuning) -> None:
        super().__init__(limits.min_workers, tuning.worker_hold * patience, tuning.worker_pause * patience)
        self._limits, self._patience = limits, patience
        self._tuning = tuning
        self._is_new = True
        self._steady = RollingMaximum(tuning.worker_calm * patience)
        self._calm = tuning.worker_calm
        self._grown = -math.inf

    def relaxes(self) -> float:
        """Return the earliest time of a reduction if nothing else happens."""
        return self._relaxes(self._wanted.relaxes(), self._steady.relaxes())

    def bound(self, limits: WorkerGroupLimits) -> None:
        """Keep other bounds from now on."""
        self._limits = limits
        self._set_bounds(limits.min_workers, limits.max_workers)

    def need(self, load: TierLoad, startup: float, idle: bool) -> int:
        """Return how many workers the load needs, whatever the machine grants."""
        if idle:
            return 0
        spare = self._tuning.worker_safety * math.sqrt(load.mean)
        horizon = max(self._tuning.horizon, startup)
        # A worker that is in a short event soon helps with those that wait.
        busy = load.running if load.backlog > horizon * load.queued else 0.0
        need = staffing(load, busy, spare, horizon)
        return min(self._limits.max_workers, ladder(need, self._tuning.worker_grid))

    def resize(
        self, now: float, load: TierLoad, need: int, budget: Budget, startup: float, idle: bool, may_shrink: bool
    ) -> str:
        """Set `target`. Return the reason of a change, or an empty string. `need` is that of this load."""
        tuning, limits = self._tuning, self._limits
        self._keep(startup)
        cpu = _whole(cpu_cap(budget.cores, load.cpu_share))
        memory = max(1.0, budget.workers_in_memory(tuning.memory_margin))
        cap = int(min(limits.max_workers, cpu, memory))
        self._least = max(limits.min_workers, self._ahead(cap, startup, idle) if load.collectors else 0)
        wanted = max(self._least, min(cap, need))
        if self._is_new and load.collectors:
            self._is_new = False
            # The pool starts a worker to open the collectors. The first events come soon, but perhaps not at once.
            self._record(now, min(1, cap))
            if cap and not max(wanted, self.target):
                self._record(now, wanted)
                self.target = 1
                return "the first worker opens the collectors"
        self._record(now, wanted)
        return self._step(now, load, budget, wanted, idle, may_shrink)

    def _step(self, now: float, load: TierLoad, budget: Budget, wanted: int, idle: bool, may_shrink: bool) -> str:
        tuning, floor = self._tuning, self._limits.min_workers
        # Growing needs twice the free memory that staying needs. Otherwise a reading at the limit would start and
        # stop a worker again and again.
        fitting = max(floor, 1, budget.workers_in_memory(0.5 * tuning.memory_margin))
        if fitting < self.target:
            self.target, self._shrunk = int(fitting), now
            return f"memory is short: {_megabytes(budget)}"
        gap = wanted - self.target
        if gap > 0 and (self._is_calm(now) or self._is_large(gap) or self._presses(load)):
            self._note_growth(now, gap)
            self.target = wanted
            return f"{load} on {budget.cores:.3g} cores"
        is_large = self._is_large(self.target - self._wanted.value(now))
        window = self._wanted if is_large else self._steady
        return self._shrink(now, load, window, tuning.worker_shrink, idle) if may_shrink else ""

    def _record(self, now: float, wanted: int) -> None:
        self._wanted.record(now, wanted)
        self._steady.record(now, wanted)

    def _keep(self, startup: float) -> None:
        """Set for how many seconds workers are kept after their need: some of many, and one of few."""
        tuning = self._tuning
        slow = min(tuning.worker_hold_longest, tuning.worker_hold_startups * startup)
        self._wanted.resize(self._patience * max(tuning.worker_hold, slow))
        self._steady.resize(self._patience * max(self._calm, slow))

    def _note_growth(self, now: float, gap: int) -> None:
        """Keep single workers for longer if some were given up shortly before one is needed."""
        if self._is_large(gap):  # no chance, and more may be needed
            return
        tuning = self._tuning
        if now - self._shrunk < _SOON * self._steady.span:
            self._calm = min(tuning.worker_calm_longest, tuning.worker_calm_growth * self._calm)
        self._grown = now

    def _is_calm(self, now: float) -> bool:
        """Return whether the last small growth and reduction are long ago. Chance makes one after the other."""
        return now - max(self._shrunk, self._grown) >= self._tuning.worker_calm * self._patience

    def _presses(self, load: TierLoad) -> bool:
        """Return whether more events wait than chance explains, or for longer, or there is no worker at all."""
        many, long = self._tuning.worker_press * self.target, self._tuning.horizon * self.target
        return load.queued > many or load.backlog > long or not self.target

    def _is_large(self, gap: float) -> bool:
        return gap >= max(_FEW, self._tuning.worker_step * self.target)

    def _ahead(self, cap: int, startup: float, idle: bool) -> int:
        """Return the number of workers kept ahead of need. An idle tier keeps them only if starting one is slow."""
        if idle and startup < self._tuning.slow_start:
            return 0
        return round(cap * min(self._tuning.warm_share, startup / self._tuning.warm_startup))


def _whole(workers: float) -> int:
    """Round up to at least one worker, unless a core too many is only an error of measurement."""
    return max(1, math.ceil(workers - 0.01))


def _megabytes(budget: Budget) -> str:
    limit = (budget.memory_limit or 0.0) / 2**20
    others, worker = budget.memory_others / 2**20, budget.worker_memory / 2**20
    return f"{worker:.0f} MiB a worker, {others:.0f} MiB used by others, {limit:.0f} MiB allowed"
