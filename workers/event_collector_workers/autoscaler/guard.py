"""The saturation guard: finds the concurrency above which a back end only gets slower, and caps it there.

Waiting time per event is measured in two ways over a window: of the events that ended (too low while concurrency
grows, since the long ones are still on their way) and as the integral of the running events over completions
(too high while it grows). The larger of both is a safe floor to remember, the smaller one a safe sign of
saturation. Longer waiting alone does not say whether the crowd or the back end itself is to blame. So the guard
tries: it caps, and when the waiting does not get shorter it doubles the cap, and again, for as long as that brings
throughput.
"""

import math
from collections.abc import Collection

import msgspec

from event_collector_workers.autoscaler.estimates import CollectorEstimate, Smoothed
from event_collector_workers.autoscaler.readings import Tier
from event_collector_workers.autoscaler.tuning import Tuning
from event_collector_workers.autoscaler.window import RollingMaximum, RollingMinimum


class _Waiting:
    """The waiting of one collector's events: in the present window, and at its best."""

    __slots__ = ("_mean", "completed", "floor", "integral", "waited")

    def __init__(self, memory: float) -> None:
        self.floor = RollingMinimum(memory)
        self._mean: float | None = None
        self.restart()

    def restart(self) -> None:
        """Begin a new window."""
        self.completed = self.waited = self.integral = 0.0

    def remember(self, now: float, smoothing: float) -> None:
        """Let this window count for the floor, averaged with those before: single windows are too noisy for it."""
        larger = max(self.waited, self.integral) / self.completed
        last = larger if self._mean is None else self._mean
        self._mean = last + (larger - last) * self.completed / (smoothing + self.completed)
        self.floor.record(now, self._mean)


class _Window(msgspec.Struct, frozen=True, gc=False):
    """What one full window showed, over all collectors: seconds per event, events per second, events at a time."""

    waiting: float
    best: float
    throughput: float
    busy: float
    growing: bool


class SaturationGuard:
    """Caps the coroutine tier at the knee of a saturating back end; `cap` is None while nothing saturates."""

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning
        self._collectors: dict[str, _Waiting] = {}
        self._throughput = Smoothed(tuning.guard_trial)
        self._throughputs = RollingMaximum(tuning.guard_memory)
        self._tolerance = tuning.guard_tolerance
        self._suspicion = 0.0
        self._suspected_at: float | None = None
        self._settled = False
        self._before = 0.0
        self._lowered = False
        self._tried_from: tuple[float, float] | None = None
        self._next_trial = 0.0
        self._bound_at = 0.0
        self._span = self._arrived = 0.0
        self.cap: float | None = None
        self.reason = ""

    def update(
        self, now: float, dt: float, estimates: Collection[CollectorEstimate], size: int, loop_share: float
    ) -> None:
        """Take in what ended in the last `dt` seconds, and change the cap when a window is full.

        Args:
            now: seconds of the law's own time.
            dt: seconds since the last call.
            estimates: of all collectors.
            size: consumers that there should be.
            loop_share: of the time in which the event loop was busy: while it is full, everything on it takes long,
                and nothing can be said of a back end.

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
        """Return how long the window must be: saturation has to be seen soon, the worth of a cap surely."""
        if self.cap is None:
            return self._tuning.guard_window
        waited = sum(one.waited for one in self._collectors.values())
        return max(self._tuning.guard_trial, self._tuning.guard_settle * waited / completed)

    def _collect(self, dt: float, estimate: CollectorEstimate) -> float:
        one = self._collectors.get(estimate.key)
        if one is None:
            one = self._collectors[estimate.key] = _Waiting(self._tuning.guard_memory)
        one.completed += estimate.completed
        one.waited += estimate.waited
        # What the running events spend on a CPU is not waiting for a back end.
        one.integral += max(0.0, estimate.running * dt - estimate.cpu_spent)
        return one.completed

    def _watch_effect(self, now: float, running: float, cap: float) -> None:
        """Note since when no more than the cap are running: only what begins after that shows its effect."""
        if running > 1.1 * cap + 1.0:
            self._settled = False
        elif not self._settled:
            self._settled = True
            self._restart()
        if running >= 0.8 * cap:
            self._bound_at = now

    def _close(self, now: float) -> _Window | None:
        """End the window. What its events would wait at best depends on how many of each collector there were."""
        seen = [one for one in self._collectors.values() if one.completed >= 5.0]
        completed = sum(one.completed for one in seen)
        for one in seen:
            one.remember(now, self._tuning.guard_smoothing)
        window = None
        if completed:
            waited, integral = sum(one.waited for one in seen), sum(one.integral for one in seen)
            window = _Window(
                waiting=min(waited, integral) / completed,
                best=sum(one.completed * one.floor.value(now) for one in seen) / completed,
                throughput=completed / self._span,
                busy=integral / self._span,
                growing=completed < self._tuning.guard_keeping_up * self._arrived,
            )
            self._throughput.add(self._span, window.throughput)
            self._throughputs.record(now, self._throughput.value)
        self._restart()
        return window

    def _restart(self) -> None:
        self._span = self._arrived = 0.0
        for one in self._collectors.values():
            one.restart()

    def _judge(self, now: float, window: _Window, size: int, loop_full: bool) -> None:
        if window.best < self._tuning.guard_least:
            self.cap = None
        elif self.cap is None:
            self._suspect(now, window, size, loop_full)
        elif self._settled:
            self._adjust(now, window, self.cap)

    def _suspect(self, now: float, window: _Window, size: int, loop_full: bool) -> None:
        """Cap soon when events pile up, later when they only take longer, since then it is less likely to help.

        Events that have all at once begun to take much longer pile up for as long as one of them takes, whatever the
        cause: only then it shows whether as many end as arrive.
        """
        calm = window.waiting <= self._tolerance * window.best or window.busy < 0.5 * size
        if calm or loop_full:
            self._suspicion, self._suspected_at = 0.0, None
            if loop_full:
                return
            # A back end that has recovered earns its strictness back.
            self._tolerance = max(self._tuning.guard_tolerance, 0.98 * self._tolerance)
            return
        if self._suspected_at is None:
            self._suspected_at = now
        self._suspicion += 1.0 / (self._tuning.guard_soon if window.growing else self._tuning.guard_late)
        unheard_of = window.waiting - self._tuning.guard_sudden * window.best
        if self._suspicion < 1.0 or now - self._suspected_at < min(unheard_of, self._tuning.guard_watch):
            return
        knee = self._knee(now, window)
        self._tried_from = None
        self._set(knee if window.growing else max(knee, 0.5 * window.busy), window)
        self._bound_at = now
        self.reason = f"waiting rose from {window.best * 1e3:.3g} to {window.waiting * 1e3:.3g} ms"

    def _adjust(self, now: float, window: _Window, cap: float) -> None:
        """Keep a cap that shortens the waiting, try for more where it is short, let go of one that is not needed."""
        if self._tried_from is not None:
            self._end_trial(now, window, cap, self._tried_from)
        elif window.waiting > self._tolerance * window.best:
            if not self._lowered or window.waiting <= self._tuning.guard_effect * self._before:
                self._set(self._knee(now, window), window)
            elif now >= self._next_trial:
                self._try_more(window, cap)
        elif now - self._bound_at > self._tuning.guard_unbound:
            self.cap, self._suspicion = None, 0.0
        elif window.waiting <= self._tuning.guard_near * window.best and window.busy >= 0.8 * cap:
            self._set(cap + 0.5 * math.sqrt(cap), window)

    def _knee(self, now: float, window: _Window) -> float:
        """Return the fewest consumers that reach the best throughput: by Little's law, with a little to spare."""
        knee = self._throughputs.value(now) * window.best
        return max(1.0, knee + math.sqrt(knee))

    def _set(self, cap: float, window: _Window) -> None:
        self._lowered = self.cap is None or cap <= self.cap
        self.cap, self._before, self._settled = cap, window.waiting, False

    def _try_more(self, window: _Window, cap: float) -> None:
        self._tried_from = (cap, window.throughput)
        self._set(2.0 * cap, window)

    def _end_trial(self, now: float, window: _Window, cap: float, tried_from: tuple[float, float]) -> None:
        """Go on if twice the crowd did half as much again: then it is the back end itself that is slower now."""
        self._tried_from = None
        if window.throughput < self._tuning.guard_gain * tried_from[1]:
            self._next_trial = now + self._tuning.guard_retry
            self._set(tried_from[0], window)
            return
        self._tolerance = min(self._tuning.guard_patience, 1.5 * self._tolerance)
        self._collectors.clear()
        self._throughputs.clear()
        if window.busy >= 0.8 * cap:
            self._try_more(window, cap)
