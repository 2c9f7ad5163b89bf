"""Estimates from counters: arrival rates, service times, shares. Unbiased from the first reading on."""

import math
from collections import deque
from typing import TypeGuard

from event_collector_workers.autoscaler.readings import CollectorReading, Tier
from event_collector_workers.autoscaler.tuning import Tuning


def is_known(value: float | None) -> TypeGuard[float]:
    """Return whether a reading is usable."""
    return value is not None and math.isfinite(value) and value >= 0.0


class Counter:
    """The growth of a total between two readings. The total may be missing, or start again from 0."""

    def __init__(self) -> None:
        self._last: float | None = None
        self.is_doubtful = False

    def growth(self, total: float | None) -> float:
        """Return the growth since the last usable reading; 0.0 for the first and if the total is missing or fell."""
        if not is_known(total):
            self.is_doubtful = True
            return 0.0
        last, self._last = self._last, total
        self.is_doubtful = last is not None and total < last
        return 0.0 if last is None or total < last else total - last


class Smoothed:
    """An exponential average over time, unbiased while its past is short."""

    def __init__(self, memory: float) -> None:
        self._memory = memory
        self._sum = self._weight = 0.0

    def add(self, dt: float, value: float) -> None:
        """Record that the value was `value` for the last `dt` seconds."""
        kept = math.exp(-dt / self._memory)
        self._sum = self._sum * kept + value * (1.0 - kept)
        self._weight = self._weight * kept + (1.0 - kept)

    @property
    def value(self) -> float:
        """The average; 0.0 before the first value."""
        return self._sum / self._weight if self._weight > 0.0 else 0.0


class ArrivalRate:
    """Arrivals per second: stable under noise, immediate in a burst, and soon after a step."""

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning
        self._average = Smoothed(tuning.arrival_memory)
        self._drift = Smoothed(tuning.drift_memory)
        self._recent: deque[tuple[float, float]] = deque()
        self._count = self._span = self._pending = self._time = 0.0

    def add(self, dt: float, arrivals: float) -> None:
        """Record `arrivals` within the last `dt` seconds.

        Fewer than 0 are a correction of earlier ones, and are subtracted from the next ones.
        """
        self._pending += arrivals
        if dt <= 0.0:
            return
        arrivals = max(0.0, self._pending)
        self._pending -= arrivals
        self._average.add(dt, arrivals / dt)
        self._drift.add(dt, arrivals / dt)
        self._time += dt
        self._recent.append((dt, arrivals))
        self._span += dt
        self._count += arrivals
        while self._span - self._recent[0][0] >= self._tuning.express_window:
            gone, count = self._recent.popleft()
            self._span -= gone
            self._count -= count

    @property
    def value(self) -> float:
        """Arrivals per second: the average, or the rate of the last seconds or instants if chance does not explain it.

        A count of a Poisson stream within `span` seconds tells its rate with the variance rate / span, an exponential
        average of the memory m with that of a span of 2 m.
        """
        tuning = self._tuning
        # Shortly after the start, one arrival would look like a rate of twenty per second.
        rate = min(1.0, self._time / tuning.express_window) * self._average.value
        drift = self._drift.value
        if abs(drift - rate) > self._chance(rate, 2.0 * tuning.drift_memory):
            rate = drift
        span = max(tuning.express_window, self._span)
        burst = self._count / span
        return burst if self._count >= tuning.express_events and burst > rate + self._chance(rate, span) else rate

    def _chance(self, rate: float, span: float) -> float:
        """Return by how much a rate that was measured within `span` seconds may differ by chance."""
        return self._tuning.express_doubt * math.sqrt(rate / span)


class ServiceTime:
    """CPU time and waiting per event, averaged over the last events, with a lower bound from the running ones.

    At first `prior` events are assumed to have taken `assumed` seconds of CPU and of waiting each. Too few completions
    would say little: one that happened to wait would start a worker for each event.
    """

    def __init__(self, memory: float, assumed: tuple[float, float], prior: float = 0.0) -> None:
        self._memory, self._assumed = memory, assumed
        self._weight, self._cpu, self._waiting = prior, prior * assumed[0], prior * assumed[1]
        self._exposure = self._running = 0.0
        self.events = 0.0

    def add(self, dt: float, running: float, completions: float, cpu: float, waiting: float) -> None:
        """Record that `completions` events ended within `dt` seconds, with `cpu` and `waiting` seconds in total.

        Of the `running` events, those that were not there before may have begun just now.
        """
        self._exposure += min(running, self._running) * dt
        self._running = running
        if completions < 1.0:
            return
        kept = (1.0 - 1.0 / self._memory) ** completions
        gained = self._memory * (1.0 - kept) / completions
        self._weight = self._weight * kept + gained * completions
        self._cpu = self._cpu * kept + gained * cpu
        self._waiting = self._waiting * kept + gained * waiting
        self.events += completions
        self._exposure = 0.0

    def split(self, running: float) -> tuple[float, float]:
        """Return the seconds of CPU time and of waiting per event.

        If no event has ended for long, the mean age of the running events is a lower bound.
        """
        if self._weight > 0.0:
            cpu, waiting = self._cpu / self._weight, self._waiting / self._weight
            if waiting < 0.0:
                cpu, waiting = max(0.0, cpu + waiting), 0.0
        else:
            cpu, waiting = self._assumed
        total = cpu + waiting
        at_least = self._exposure / running if running >= 1.0 else 0.0
        if at_least <= total or total <= 0.0:
            return cpu, waiting
        return cpu * at_least / total, waiting * at_least / total


class CollectorEstimate:
    """The estimates of one collector, updated from its readings."""

    def __init__(self, key: str, tier: Tier, tuning: Tuning) -> None:
        self._tuning = tuning
        self.key = key
        self.rate = ArrivalRate(tuning)
        # Before the first event has ended, an event in a worker counts as CPU time and one on the loop as waiting.
        assumed = tuning.assumed_service
        self._start_over(tier, (assumed, 0.0) if tier is Tier.PROCESS else (0.0, assumed))
        self.group = ""
        self.queued = self.running = 0.0
        self.arrived = self.completed = self.cpu_spent = self.waited = 0.0
        self._arrivals = Counter()
        self._counters = [Counter() for _ in ("completions", "wall", "cpu", "delay")]

    def update(self, dt: float, reading: CollectorReading, tier: Tier, unrouted: float) -> bool:
        """Process a reading of a collector that runs in `tier`. Return whether all of it was usable.

        `unrouted` is its part of the events that have come since the last reading, and wait without a known collector.
        """
        self.tier, self.group = tier, reading.group
        self.queued = reading.queued if is_known(reading.queued) else self.queued
        self.running = reading.running if is_known(reading.running) else self.running
        self.arrived = self._arrivals.growth(reading.arrivals) + unrouted
        self.rate.add(dt, self.arrived)
        known = self._count_service(dt, reading) and not self._arrivals.is_doubtful
        return known and is_known(reading.queued) and is_known(reading.running)

    def _count_service(self, dt: float, reading: CollectorReading) -> bool:
        totals = (reading.completions, reading.wall, reading.cpu, reading.delay)
        growths = [counter.growth(total) for counter, total in zip(self._counters, totals, strict=True)]
        self.completed, wall, cpu, delay = growths
        known = not any(counter.is_doubtful for counter in self._counters)
        self.cpu_spent = cpu
        # A negative value is an error of measurement. Errors average out only if negative ones count too.
        self.waited = wall - cpu - delay
        # Times that do not belong to the completions would distort the average: such a reading is left out.
        counted = self.completed if known else 0.0
        for service in (self.service, self.recent):
            service.add(dt, self.running, counted, self.cpu_spent, self.waited)
        return known

    def move(self, tier: Tier) -> None:
        """Start new estimates in another tier.

        An event that waits on a busy loop may not wait in a worker. So its waiting there is assumed to be no more than
        some times its CPU time. Too few workers are corrected by the first events that end; too many were started for
        nothing.
        """
        cpu, waiting = self.recent_split()
        most = self._tuning.moved_waiting * cpu if tier is Tier.PROCESS else math.inf
        self._start_over(tier, (cpu, min(waiting, most)))

    def _start_over(self, tier: Tier, assumed: tuple[float, float]) -> None:
        tuning = self._tuning
        self.tier = tier
        self.service = ServiceTime(tuning.service_memory, assumed, tuning.assumed_events)
        self.recent = ServiceTime(tuning.recent_service_memory, assumed)

    def split(self) -> tuple[float, float]:
        """Return the seconds of CPU time and of waiting per event, averaged over many events."""
        return self.service.split(self.running)

    def recent_split(self) -> tuple[float, float]:
        """Return the seconds of CPU time and of waiting per event, of the last few events that ended."""
        return self.recent.split(0.0)
