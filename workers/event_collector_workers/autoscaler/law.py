"""The built-in control law: it maps readings to a plan, without input or output, a clock or an event loop."""

import math

from event_collector_workers.autoscaler.demand import tier_load
from event_collector_workers.autoscaler.estimates import CollectorEstimate
from event_collector_workers.autoscaler.guard import SaturationGuard
from event_collector_workers.autoscaler.placement import Placement
from event_collector_workers.autoscaler.plan import Change, Plan, ScalingLimits
from event_collector_workers.autoscaler.readings import Readings, Tier
from event_collector_workers.autoscaler.surroundings import Surroundings
from event_collector_workers.autoscaler.tier_sizing import ConsumerSizing, WorkerSizing
from event_collector_workers.autoscaler.tuning import Tuning
from event_collector_workers.autoscaler.unrouted import Unrouted


class Autoscaler:
    """The built-in `ScalingLaw`: sizes consumers and workers, and places adaptive collectors.

    Args:
        limits: The bounds that every plan keeps.
        tuning: The constants of the law.

    The same readings in the same order give the same plans, from whatever time the clock starts. If the clock stands
    still or jumps back, no time has passed.
    """

    def __init__(self, limits: ScalingLimits | None = None, tuning: Tuning | None = None) -> None:
        self._limits = limits or ScalingLimits()
        self._tuning = tuning or Tuning()
        self._estimates: dict[str, CollectorEstimate] = {}
        self._surroundings = Surroundings(self._tuning, polite=self._limits.polite)
        self._unrouted = Unrouted()
        self._guard = SaturationGuard(self._tuning)
        self._placement = Placement(self._tuning, can_leave_loop=self._limits.max_workers > 0)
        self._consumers = ConsumerSizing(self._limits, self._tuning, self._guard)
        self._workers = WorkerSizing(self._limits, self._tuning)
        self._clock: float | None = None
        self._time = 0.0
        self._last_event = -math.inf
        self._is_idle = True

    def __repr__(self) -> str:
        consumers, workers = self._consumers.target, self._workers.target
        return f"Autoscaler(consumers={consumers}, workers={workers}, {self._limits!r})"

    @property
    def limits(self) -> ScalingLimits:
        """The bounds that every plan keeps."""
        return self._limits

    def bound(self, limits: ScalingLimits) -> None:
        """Keep other bounds from now on, with all that was learned. `patience` and `polite` stay as they are."""
        self._limits = limits
        self._consumers.bound(limits)
        self._workers.bound(limits)

    def decide(self, readings: Readings) -> Plan:
        """Return the plan for these readings. While `draining`, nothing changes."""
        dt = self._advance(readings.now)
        trusted = self._observe(dt, readings)
        if readings.draining:
            return self._plan((), None)
        return self._plan((*self._place(), *self._resize(readings, trusted)), self._next_check())

    def _advance(self, now: float) -> float:
        """Advance the law's time. Return the seconds that count since the last call.

        A long interval with no event in hand is time without events. With events in hand, the program was stopped or
        the clock jumped: then the rolling maxima must not forget the need.
        """
        last, self._clock = self._clock, now if math.isfinite(now) else self._clock
        if last is None or self._clock is None:
            return 0.0
        dt = max(0.0, self._clock - last)
        if not self._is_idle:
            dt = min(dt, self._tuning.stall)
        self._time += dt
        return dt

    def _observe(self, dt: float, readings: Readings) -> bool:
        """Process all readings. Return whether all of them were usable."""
        trusted = self._surroundings.update(dt, readings)
        known = self._estimates
        self._estimates = {}
        self._placement.adopt(readings.collectors)
        remote = max(0, min(readings.unrouted_remote, readings.unrouted))
        come = self._unrouted.growth({Tier.COROUTINE: readings.unrouted - remote, Tier.PROCESS: remote}, known.values())
        for reading in readings.collectors:
            tier = self._placement.tiers.get(reading.key, reading.tier)
            estimate = known.get(reading.key) or CollectorEstimate(reading.key, tier, self._tuning)
            self._estimates[reading.key] = estimate
            trusted = estimate.update(dt, reading, tier, come.get(reading.key, 0.0)) and trusted
        estimates, loop_share = self._estimates.values(), self._surroundings.loop_share.value
        self._guard.update(self._time, dt, estimates, self._consumers.target, loop_share)
        # Events that came and went before the first reading are visible only in the busy consumers and workers.
        seen = readings.unrouted or readings.consumers.busy > 0 or readings.workers.busy > 0
        if seen or any(one.queued or one.running or one.arrived for one in estimates):
            self._last_event = self._time
        self._is_idle = self._time - self._last_event >= self._tuning.idle
        return trusted

    def _place(self) -> list[Change]:
        loop_share = self._surroundings.loop_share.value
        move = self._placement.decide(self._estimates.values(), loop_share)
        if move is None:
            return []
        # The need is computed for the tier in which the events will run from now on.
        self._estimates[move.subject].move(self._placement.tiers[move.subject])
        return [move]

    def _resize(self, readings: Readings, may_shrink: bool) -> list[Change]:
        estimates = self._estimates.values()
        unrouted = self._unrouted.parts(estimates)
        consumers, workers, around = self._consumers, self._workers, self._surroundings
        before = consumers.target, workers.target
        load = tier_load(estimates, Tier.COROUTINE, unrouted)
        busy = max(0, readings.consumers.busy)
        why = consumers.resize(self._time, load, busy, self._is_idle, may_shrink)
        changes = [Change("consumers", before[0], consumers.target, why)] if why else []
        load = tier_load(estimates, Tier.PROCESS, unrouted)
        why = workers.resize(self._time, load, around.budget, around.startup, self._is_idle, may_shrink)
        return [*changes, Change("workers", before[1], workers.target, why)] if why else changes

    def _plan(self, changes: tuple[Change, ...], next_check: float | None) -> Plan:
        return Plan(
            consumers=self._consumers.target,
            workers=self._workers.target,
            consumer_ceiling=self._consumers.ceiling,
            placement=dict(self._placement.tiers),
            changes=changes,
            next_check=next_check,
        )

    def _next_check(self) -> float | None:
        """Return the time of the next decision: soon with work, at the next possible reduction, or None."""
        now = self._clock or 0.0
        if not self._is_idle:
            return now + self._tuning.tick
        due = [sizing.relaxes() for sizing in (self._consumers, self._workers) if not sizing.at_rest]
        return now + max(self._tuning.idle, min(due) - self._time) if due else None
