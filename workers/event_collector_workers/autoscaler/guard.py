"""The saturation guard: finds the concurrency above which a back end only gets slower, and caps it there.

Waiting time per event is measured in two ways over a window: of the events that ended (too low while
concurrency grows, since the long ones are still on their way) and as the integral of the running events over
completions (too high while it grows). The larger of both is a safe floor to remember, the smaller one a safe
sign of saturation.
"""

import math
from collections.abc import Iterable

from event_collector_workers.autoscaler.estimates import CollectorEstimate
from event_collector_workers.autoscaler.readings import Tier
from event_collector_workers.autoscaler.tuning import Tuning
from event_collector_workers.autoscaler.window import RollingMinimum


class _Waiting:
    """The waiting of one collector's events within the present window, and the least ever seen."""

    __slots__ = ("completed", "floor", "integral", "waited")

    def __init__(self, memory: float) -> None:
        self.floor = RollingMinimum(memory)
        self.restart()

    def restart(self) -> None:
        self.completed = self.waited = self.integral = 0.0

    def larger(self) -> float:
        return max(self.waited, self.integral) / self.completed


class SaturationGuard:
    """Caps the coroutine tier at the knee of a saturating back end; `cap` is None while nothing saturates."""

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning
        self._collectors: dict[str, _Waiting] = {}
        self._span = 0.0
        self._settle_until = 0.0
        self._tolerance = tuning.guard_tolerance
        self.cap: float | None = None
        self.reason = ""

    def update(self, now: float, dt: float, estimates: Iterable[CollectorEstimate], size: int) -> None:
        """Take in what ended in the last `dt` seconds, and change the cap when a window is full."""
        self._span += dt
        completed = 0.0
        for estimate in estimates:
            if estimate.tier is Tier.COROUTINE:
                completed += self._collect(dt, estimate)
        if self._span >= self._tuning.guard_window and completed >= self._tuning.guard_events:
            self._judge(now, size)
            self._span = 0.0
            for one in self._collectors.values():
                one.restart()

    def _collect(self, dt: float, estimate: CollectorEstimate) -> float:
        one = self._collectors.get(estimate.key)
        if one is None:
            one = self._collectors[estimate.key] = _Waiting(self._tuning.guard_memory)
        one.completed += estimate.completed
        one.waited += estimate.waited
        # What the running events spend on a CPU is not waiting for a back end.
        one.integral += max(0.0, estimate.running * dt - estimate.cpu_spent)
        return one.completed

    def _judge(self, now: float, size: int) -> None:
        """Compare the waiting of this window with what the same mix of events takes at best."""
        seen = [one for one in self._collectors.values() if one.completed >= 5.0]
        completed = sum(one.completed for one in seen)
        if not completed:
            return
        for one in seen:
            one.floor.record(now, one.larger())
        best = sum(one.completed * one.floor.value(now) for one in seen) / completed
        waited = sum(one.waited for one in seen)
        integral = sum(one.integral for one in seen)
        waiting = min(waited, integral) / completed
        busy = integral / self._span
        if best < self._tuning.guard_least:
            self.cap = None
        elif self.cap is None:
            self._watch(now, waiting, best, completed / self._span, busy, size)
        elif now >= self._settle_until:
            self._adjust(now, self.cap, waiting, best, busy)

    def _watch(
        self, now: float, waiting: float, best: float, throughput: float, busy: float, size: int
    ) -> None:
        if waiting <= self._tolerance * best:
            # A back end that has recovered earns its strictness back.
            self._tolerance = max(self._tuning.guard_tolerance, self._tolerance * 0.98)
        elif busy >= 0.5 * size:
            knee = throughput * best
            self.cap = max(1.0, knee + 2.0 * math.sqrt(knee))
            self.reason = (
                f"waiting rose from {best * 1e3:.3g} to {waiting * 1e3:.3g} ms: the back end is saturated"
            )
            self._settle(now, waiting)

    def _adjust(self, now: float, cap: float, waiting: float, best: float, busy: float) -> None:
        if waiting > self._tolerance * best:
            self._forget()
        elif busy < 0.5 * cap:
            self.cap = None
        else:
            self.cap = cap + math.sqrt(cap)
            self._settle(now, waiting)

    def _settle(self, now: float, waiting: float) -> None:
        self._settle_until = now + self._tuning.guard_settle * waiting

    def _forget(self) -> None:
        """Let go of a cap that did not help: it is the back end itself that is slower now."""
        self.cap = None
        self._tolerance = min(self._tuning.guard_patience, self._tolerance * 1.5)
        for one in self._collectors.values():
            one.floor = RollingMinimum(self._tuning.guard_memory)
