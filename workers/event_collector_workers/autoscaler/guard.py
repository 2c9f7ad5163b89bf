"""The saturation guard: it finds the concurrency above which a back end only gets slower, and caps it there.

Waiting time per event is measured over a window in two ways: from the events that ended (too low while concurrency
grows, because the long events are still running), and as the integral of the running events over completions (too
high while it grows). The larger one is a safe floor to remember, the smaller one a safe sign of saturation. Longer
waiting can be due to the concurrency or to the back end itself. The guard finds out by trial: it caps, and if waiting
does not become shorter, it doubles the cap repeatedly for as long as throughput increases.
"""

import math
from collections.abc import Collection

import msgspec

from event_collector_workers.autoscaler.estimates import CollectorEstimate
from event_collector_workers.autoscaler.readings import Tier
from event_collector_workers.autoscaler.tuning import Tuning
from event_collector_workers.autoscaler.window import RollingMaximum, RollingMinimum


class _Waiting:
    """The waiting of one collector's events: in the present window, and at its best."""

    def __init__(self, memory: float) -> None:
        self.floor = RollingMinimum(memory)
        self._mean: float | None = None
        self.restart()

    def restart(self) -> None:
        self.completed = self.waited = self.integral = 0.0

    def add(self, dt: float, estimate: CollectorEstimate) -> None:
        self.completed += estimate.completed
        self.waited += estimate.waited
        # CPU time of running events is not waiting for a back end.
        self.integral += max(0.0, estimate.running * dt - estimate.cpu_spent)

    def remember(self, now: float, smoothing: float) -> None:
        """Record this window in the floor, averaged with earlier ones: a single window is too noisy."""
        larger = max(self.waited, self.integral) / self.completed
        last = larger if self._mean is None else self._mean
        self._mean = last + (larger - last) * self.completed / (smoothing + self.completed)
        self.floor.record(now, self._mean)


class _Measurement(msgspec.Struct, frozen=True, gc=False):
    """The result of one full window over all collectors: seconds per event, events per second, concurrent events."""

    waiting: float
    best: float
    throughput: float
    busy: float
    growing: bool


class SaturationGuard:
    """Caps the coroutine tier at the knee of a saturating back end. `cap` is None while no back end saturates."""

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning
        self._collectors: dict[str, _Waiting] = {}
        self._throughputs = RollingMaximum(tuning.guard_memory)
        self._suspicion = 0.0
        self._suspected_at: float | None = None
        self._is_settled = False
        self._before = 0.0
        self._was_lowered = False
        self._tried_from: tuple[float, float] | None = None
        self._next_trial = 0.0
        self._bound_at = 0.0
        self._span = self._arrived = 0.0
        self.cap: float | None = None
        self.reason = ""

    def __repr__(self) -> str:
        return f"<SaturationGuard cap={self.cap} suspicion={self._suspicion:g}>"

    def update(
        self, now: float, dt: float, estimates: Collection[CollectorEstimate], size: int, loop_share: float
    ) -> None:
        """Process the events that ended in the last `dt` seconds, and change the cap when a window is full.

        `size` is the target number of consumers. While the loop is full, every event on it takes long, and nothing is
        known about a back end.
        """
        mine = [estimate for estimate in estimates if estimate.tier is Tier.COROUTINE]
        self._span += dt
        completed = sum(self._collect(dt, estimate) for estimate in mine)
        self._arrived += sum(estimate.arrived for estimate in mine)
        if self.cap is not None:
            self._watch_effect(now, sum(estimate.running for estimate in mine), self.cap)
        if completed >= self._tuning.guard_events and self._span >= self._least_span(completed):
            window = self._close(now)
            if window is not None:
                self._judge(now, window, size, loop_share >= self._tuning.loop_full)

    def _least_span(self, completed: float) -> float:
        """Return the length of the window: short to detect saturation, longer to judge the effect of a cap."""
        if self.cap is None:
            return self._tuning.guard_window
        waited = sum(one.waited for one in self._collectors.values())
        return max(self._tuning.guard_trial, self._tuning.guard_settle * waited / completed)

    def _collect(self, dt: float, estimate: CollectorEstimate) -> float:
        one = self._collectors.setdefault(estimate.key, _Waiting(self._tuning.guard_memory))
        one.add(dt, estimate)
        return one.completed

    def _watch_effect(self, now: float, running: float, cap: float) -> None:
        """Note since when at most the cap are running: only events that begin after that show its effect."""
        if running > 1.1 * cap + 1.0:
            self._is_settled = False
        elif not self._is_settled:
            self._is_settled = True
            self._restart()
        if running >= 0.8 * cap:
            self._bound_at = now

    def _close(self, now: float) -> _Measurement | None:
        """End the window. The best waiting of its events is weighted by the number of events of each collector."""
        seen = [one for one in self._collectors.values() if one.completed >= 5.0]
        completed = sum(one.completed for one in seen)
        for one in seen:
            one.remember(now, self._tuning.guard_smoothing)
        window = None
        if completed:
            waited, integral = sum(one.waited for one in seen), sum(one.integral for one in seen)
            window = _Measurement(
                waiting=min(waited, integral) / completed,
                best=sum(one.completed * one.floor.value(now) for one in seen) / completed,
                throughput=completed / self._span,
                busy=integral / self._span,
                growing=completed < self._tuning.guard_keeping_up * self._arrived,
            )
            self._throughputs.record(now, window.throughput)
        self._restart()
        return window

    def _restart(self) -> None:
        self._span = self._arrived = 0.0
        for one in self._collectors.values():
            one.restart()

    def _judge(self, now: float, window: _Measurement, size: int, loop_full: bool) -> None:
        if window.best < self._tuning.guard_least:
            self.cap = None
        elif self.cap is None:
            self._suspect(now, window, size, loop_full)
        elif self._is_settled:
            self._adjust(now, window, self.cap)

    def _suspect(self, now: float, window: _Measurement, size: int, loop_full: bool) -> None:
        """Cap soon if events pile up, and later if they only take longer, because then a cap is less likely to help.

        Events that suddenly take much longer pile up for the duration of one event, whatever the cause. Only after
        that it is known whether as many end as arrive.
        """
        calm = window.waiting <= self._tuning.guard_tolerance * window.best or window.busy < 0.5 * size
        if calm or loop_full:
            self._suspicion, self._suspected_at = 0.0, None
            return
        if self._suspected_at is None:
            self._suspected_at = now
        self._suspicion += 1.0 / (self._tuning.guard_soon if window.growing else self._tuning.guard_late)
        excess = window.waiting - self._tuning.guard_sudden * window.best
        if self._suspicion < 1.0 or now - self._suspected_at < min(excess, self._tuning.guard_watch):
            return
        knee = self._knee(now, window)
        self._tried_from = None
        self._set(knee if window.growing else max(knee, 0.5 * window.busy), window)
        self._bound_at = now
        self.reason = f"waiting rose from {window.best * 1e3:.3g} to {window.waiting * 1e3:.3g} ms"

    def _adjust(self, now: float, window: _Measurement, cap: float) -> None:
        """Keep a cap that shortens waiting, raise one with short waiting, drop one that is not needed."""
        if self._tried_from is not None:
            self._end_trial(now, window, cap, self._tried_from)
        elif window.waiting > self._tuning.guard_tolerance * window.best:
            if not self._was_lowered or window.waiting <= self._tuning.guard_effect * self._before:
                self._set(self._knee(now, window), window)
            elif now >= self._next_trial:
                self._try_more(window, cap)
        elif now - self._bound_at > self._tuning.guard_unbound:
            self.cap, self._suspicion = None, 0.0
        elif window.waiting <= self._tuning.guard_near * window.best and window.busy >= 0.8 * cap:
            self._set(cap + 0.5 * math.sqrt(cap), window)

    def _knee(self, now: float, window: _Measurement) -> float:
        """Return the fewest consumers that reach the best throughput: by Little's law, plus its square root.

        The best throughput is that of a single window. An average over windows still contains what was before the best.
        """
        knee = self._throughputs.value(now) * window.best
        return max(1.0, knee + math.sqrt(knee))

    def _set(self, cap: float, window: _Measurement) -> None:
        self._was_lowered = self.cap is None or cap <= self.cap
        self.cap, self._before, self._is_settled = cap, window.waiting, False

    def _try_more(self, window: _Measurement, cap: float) -> None:
        self._tried_from = (cap, window.throughput)
        self._set(2.0 * cap, window)

    def _end_trial(self, now: float, window: _Measurement, cap: float, tried_from: tuple[float, float]) -> None:
        """Continue if doubling the cap raised throughput by `guard_gain`: then the back end has become slower."""
        self._tried_from = None
        if window.throughput < self._tuning.guard_gain * tried_from[1]:
            self._next_trial = now + self._tuning.guard_retry
            self._set(tried_from[0], window)
            return
        self._collectors.clear()
        self._throughputs.clear()
        if window.busy >= 0.8 * cap:
            self._try_more(window, cap)
