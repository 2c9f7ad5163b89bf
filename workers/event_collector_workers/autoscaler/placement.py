"""The tier of adaptive collectors: it depends on the shares of CPU time and waiting in their service time."""

from collections.abc import Iterable

from event_collector_workers.autoscaler.estimates import CollectorEstimate
from event_collector_workers.autoscaler.plan import Change
from event_collector_workers.autoscaler.readings import CollectorReading, Tier
from event_collector_workers.autoscaler.tuning import Tuning


class Placement:
    """Moves adaptive collectors between the tiers, one at a time."""

    def __init__(self, tuning: Tuning, can_leave_loop: bool) -> None:
        self._tuning = tuning
        self._can_leave_loop = can_leave_loop
        self.tiers: dict[str, Tier] = {}

    def adopt(self, collectors: Iterable[CollectorReading]) -> None:
        """Record the adaptive collectors. A new one starts in its present tier, others keep their decided tier."""
        self.tiers = {
            reading.key: self.tiers.get(reading.key, reading.tier) for reading in collectors if reading.adaptive
        }

    def decide(self, estimates: Iterable[CollectorEstimate], loop_share: float) -> Change | None:
        """Return the move that is due, if any, after recording it in `tiers`."""
        adaptive = [estimate for estimate in estimates if estimate.key in self.tiers]
        leaving = self._to_workers(adaptive, loop_share) if self._can_leave_loop else None
        return leaving or self._to_loop(adaptive, loop_share)

    def _to_workers(self, adaptive: list[CollectorEstimate], loop_share: float) -> Change | None:
        tuning = self._tuning
        on_loop = [one for one in adaptive if self.tiers[one.key] is Tier.COROUTINE]
        heaviest = max(on_loop, key=_cpu_load, default=None)
        for one in on_loop:
            cpu, waiting = one.recent_split()
            if one.service.events < tuning.to_workers_events:
                continue
            if cpu >= tuning.to_workers_cpu and cpu >= tuning.to_workers_share * (cpu + waiting):
                return self._move(one, Tier.PROCESS, f"{_costs(cpu, waiting)}: it would hold up the event loop")
            if one is heaviest and loop_share > tuning.hot_loop and cpu >= tuning.hot_cpu:
                reason = f"{_costs(cpu, waiting)}, the most of a loop that is {loop_share:.0%} busy"
                return self._move(one, Tier.PROCESS, reason)
        return None

    def _to_loop(self, adaptive: list[CollectorEstimate], loop_share: float) -> Change | None:
        tuning = self._tuning
        for one in adaptive:
            if self.tiers[one.key] is not Tier.PROCESS or one.service.events < tuning.to_loop_events:
                continue
            cpu, waiting = one.split()
            light = cpu <= tuning.to_loop_cpu and cpu <= tuning.to_loop_share * (cpu + waiting)
            if light and loop_share + _cpu_load(one) < tuning.to_loop_busy:
                return self._move(one, Tier.COROUTINE, f"{_costs(cpu, waiting)}: it needs no process")
        return None

    def _move(self, one: CollectorEstimate, tier: Tier, reason: str) -> Change:
        before, self.tiers[one.key] = self.tiers[one.key], tier
        return Change(one.key, before, tier, reason)


def _cpu_load(estimate: CollectorEstimate) -> float:
    return estimate.rate.value * estimate.split()[0]


def _costs(cpu: float, waiting: float) -> str:
    return f"an event takes {cpu * 1e3:.3g} ms of CPU and {waiting * 1e3:.3g} ms of waiting"
