"""The built-in control law: it maps readings to a plan, without input or output, a clock or an event loop."""

import math
from collections.abc import Iterator, Mapping

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
        groups = self._limits.groups_of_workers
        self._tuning = tuning or Tuning()
        self._estimates: dict[str, CollectorEstimate] = {}
        self._surroundings = Surroundings(self._tuning, polite=self._limits.polite)
        self._unrouted = Unrouted()
        self._guard = SaturationGuard(self._tuning)
        self._placement = Placement(self._tuning, can_leave_loop=any(one.max_workers for one in groups.values()))
        self._consumers = ConsumerSizing(self._limits, self._tuning, self._guard)
        self._workers = {name: WorkerSizing(one, self._limits.patience, self._tuning) for name, one in groups.items()}
        self._clock: float | None = None
        self._time = 0.0
        self._last_event = -math.inf
        self._is_idle = True

    def __repr__(self) -> str:
        consumers, workers = self._consumers.target, sum(self._sizes().values())
        return f"Autoscaler(consumers={consumers}, workers={workers}, {self._limits!r})"

    @property
    def limits(self) -> ScalingLimits:
        """The bounds that every plan keeps."""
        return self._limits

    def bound(self, limits: ScalingLimits) -> None:
        """Keep other bounds from now on, with all that was learned. `patience` and `polite` stay as they are."""
        self._limits = limits
        self._consumers.bound(limits)
        for name, group in limits.groups_of_workers.items():
            self._workers[name].bound(group)

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
        come = self._unrouted.growth(readings, known.values())
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
        consumers = self._consumers
        before = consumers.target
        load = tier_load(estimates, Tier.COROUTINE, unrouted)
        busy = max(0, readings.consumers.busy)
        why = consumers.resize(self._time, load, busy, self._is_idle, may_shrink)
        changes = [Change("consumers", before, consumers.target, why)] if why else []
        return [*changes, *self._resize_workers(unrouted, may_shrink)]

    def _resize_workers(self, unrouted: Mapping[str, float], may_shrink: bool) -> Iterator[Change]:
        """Resize each worker group, within its share of the machine."""
        estimates, around, idle = self._estimates.values(), self._surroundings, self._is_idle
        is_only = len(self._workers) == 1
        loads, needs, demands = {}, {}, {}
        for name, sizing in self._workers.items():
            load = loads[name] = tier_load(estimates, Tier.PROCESS, unrouted, None if is_only else name)
            needs[name] = sizing.need(load, around.startup(name), idle)
            demands[name] = around.demand(name, needs[name], sizing.target, load.cpu_share)
        budgets = around.budgets(demands)
        for name, sizing in self._workers.items():
            before, startup = sizing.target, around.startup(name)
            why = sizing.resize(self._time, loads[name], needs[name], budgets[name], startup, idle, may_shrink)
            if why:
                yield Change("workers" if is_only else f"workers of {name}", before, sizing.target, why)

    def _sizes(self) -> dict[str, int]:
        return {name: sizing.target for name, sizing in self._workers.items()}

    def _plan(self, changes: tuple[Change, ...], next_check: float | None) -> Plan:
        sizes = self._sizes()
        return Plan(
            consumers=self._consumers.target,
            workers=sum(sizes.values()),
            groups=sizes if len(sizes) > 1 else {},
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
        due = [sizing.relaxes() for sizing in (self._consumers, *self._workers.values()) if not sizing.at_rest]
        return now + max(self._tuning.idle, min(due) - self._time) if due else None
