"""The size of the coroutine tier: it grows at once and shrinks late, and a full loop or back end limits it."""

import math

from event_collector_workers.autoscaler.demand import TierLoad, cpu_cap, ladder, staffing
from event_collector_workers.autoscaler.guard import SaturationGuard
from event_collector_workers.autoscaler.plan import ScalingLimits
from event_collector_workers.autoscaler.tuning import Tuning
from event_collector_workers.autoscaler.window import RollingMaximum


class ConsumerSizing:
    """Computes the target of the coroutine tier, and the ceiling of its growth between two decisions."""

    def __init__(self, limits: ScalingLimits, tuning: Tuning, guard: SaturationGuard) -> None:
        self._limits = limits
        self._tuning = tuning
        self._guard = guard
        self._wanted = RollingMaximum(max(1.0, tuning.consumer_hold * limits.patience))
        self._pause = tuning.consumer_pause * limits.patience
        self._reach = 0.0
        self._doubled = self._shrunk = -math.inf
        self._progress = 0.0
        self._relief = 1.0
        self._service = tuning.assumed_service
        self.target = limits.min_consumers
        self.ceiling = limits.max_consumers

    def resize(self, now: float, load: TierLoad, busy: int, loop_share: float, idle: bool, may_shrink: bool) -> str:
        """Set `target` and `ceiling`. Return the reason of a changed target, or an empty string."""
        self._watch_progress(now, load)
        spare = max(self._tuning.consumer_safety * math.sqrt(load.mean), self._limits.margin * load.mean)
        need = 0.0 if idle else staffing(load, busy, spare, self._tuning.consumer_horizon)
        cap = self._cap(load, loop_share)
        self.ceiling = self._reachable(now, need, busy, cap)
        wanted = max(self._limits.min_consumers, min(ladder(need, self._tuning.consumer_grid), self.ceiling))
        self._wanted.record(now, wanted)
        return self._step(now, load, wanted, idle, may_shrink)

    @property
    def at_rest(self) -> bool:
        """True if no reduction is possible."""
        return self.target <= self._limits.min_consumers

    def relaxes(self) -> float:
        """Return the earliest time of a reduction if nothing else happens."""
        expiry = self._wanted.relaxes()
        return max(expiry if expiry is not None else -math.inf, self._shrunk + self._pause)

    def _step(self, now: float, load: TierLoad, wanted: int, idle: bool, may_shrink: bool) -> str:
        guarded = max(self._limits.min_consumers, self._guarded())
        if self.target > guarded:
            self.target = int(guarded)
            return f"{self._guard.reason}: the back end is saturated"
        if wanted > self.target:
            self.target = wanted
            return str(load)
        held = int(self._wanted.value(now))
        least = 1.0 if idle else max(1.0, self._tuning.consumer_shrink * self.target)
        if may_shrink and now - self._shrunk >= self._pause and self.target - held >= least:
            self.target, self._shrunk = held, now
            return f"no more were wanted for {self._wanted.span:.3g} s; {load}"
        return ""

    def _cap(self, load: TierLoad, loop_share: float) -> int:
        """Return the smallest of the limits set by max_consumers, the guard and a full loop."""
        cap = min(self._limits.max_consumers, self._guarded())
        if loop_share >= self._tuning.loop_full:
            carried = cpu_cap(self._tuning.loop_capacity, load.recent_cpu_share)
            cap = min(cap, self._relief * max(1.0, carried))
        return max(self._limits.min_consumers, int(cap))

    def _guarded(self) -> float:
        """Return the limit set by the guard."""
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
