"""Other laws, written from their published descriptions, behind the same interface.

Each sizes both tiers by its own rule from what its original looks at; none places collectors. Where an original knows
a maximum, it is `WORKERS_PER_CORE` workers a core and `CONSUMERS` consumers: generous, since the original does not know
the machine either.
"""

import cmath
import math
from collections import deque
from collections.abc import Callable

from event_collector_workers.autoscaler import Plan, Readings, ScalingLaw, Tier

WORKERS_PER_CORE = 8
CONSUMERS = 10_000


class TierView:
    """One tier at one instant, as the simple laws see it."""

    __slots__ = ("busy", "completions", "cpu", "queued", "size", "wall")

    def __init__(self, readings: Readings, tier: Tier) -> None:
        mine = [one for one in readings.collectors if one.tier is tier]
        self.queued = sum(one.queued or 0 for one in mine)
        self.busy = sum(one.running or 0 for one in mine)
        self.completions = sum(one.completions or 0 for one in mine)
        self.wall = sum(one.wall or 0.0 for one in mine)
        self.cpu = sum(one.cpu or 0.0 for one in mine)
        self.size = readings.workers.size if tier is Tier.PROCESS else readings.consumers.size


class Sizer:
    """One tier's size under one rule, asked for every `period` seconds."""

    period = 1.0

    def __init__(self, highest: int) -> None:
        self.highest = highest
        self.size = 1

    def step(self, now: float, view: TierView) -> float:
        raise NotImplementedError


class Opponent:
    """Two sizers of the same kind, each in its own rhythm."""

    def __init__(self, make: Callable[[int], Sizer], cores: int) -> None:
        self._sizers = {Tier.PROCESS: make(WORKERS_PER_CORE * cores), Tier.COROUTINE: make(CONSUMERS)}
        self._due = -math.inf

    def decide(self, readings: Readings) -> Plan:
        if readings.now >= self._due - 1e-9:
            self._due = readings.now + self._sizers[Tier.PROCESS].period
            for tier, sizer in self._sizers.items():
                wanted = sizer.step(readings.now, TierView(readings, tier))
                sizer.size = min(sizer.highest, max(1, math.ceil(wanted - 1e-9)))
        consumers = self._sizers[Tier.COROUTINE].size
        workers = self._sizers[Tier.PROCESS].size
        return Plan(consumers=consumers, workers=workers, consumer_ceiling=consumers, next_check=self._due)


class Static:
    """What pools start without being told: a worker a core of the host, and five threads more."""

    def __init__(self, cores: int) -> None:
        self._workers, self._consumers = cores, min(32, cores + 4)

    def decide(self, readings: Readings) -> Plan:
        return Plan(consumers=self._consumers, workers=self._workers, consumer_ceiling=self._consumers)


class LoadFactor(Sizer):
    """event-collector 0.2: at a load of 1 grow to 1.15 of the demand; shrink when the minute's average says so."""

    period = 0.01
    MARGIN = 1.15
    AVERAGED = 60.0

    def __init__(self, highest: int) -> None:
        super().__init__(highest)
        self._average = 0.0

    def step(self, now: float, view: TierView) -> float:
        demand = view.queued + view.busy
        load = demand / self.size
        self._average += (load - self._average) * self.period / self.AVERAGED
        if load >= 1.0:
            return self.MARGIN * demand
        if self._average < 1.0 / self.MARGIN and self.size > self.MARGIN * demand:
            return self.MARGIN * demand
        return self.size


class Celery(Sizer):
    """Celery's autoscaler: every second as many as there are reserved tasks; down no sooner than 30 s after up."""

    KEPT = 30.0

    def __init__(self, highest: int) -> None:
        super().__init__(highest)
        self._grew = -math.inf

    def step(self, now: float, view: TierView) -> float:
        wanted = min(self.highest, view.queued + view.busy)
        if wanted > self.size:
            self._grew = now
            return wanted
        return wanted if now - self._grew > self.KEPT else self.size


class HorizontalPodAutoscaler(Sizer):
    """Kubernetes HPA v2 on utilisation: target 80%, tolerance 10%, 15 s, doubling, 300 s of stabilisation."""

    period = 15.0
    TARGET, TOLERANCE, STABLE = 0.8, 0.1, 300.0

    def __init__(self, highest: int) -> None:
        super().__init__(highest)
        self._wished: deque[tuple[float, float]] = deque()

    def step(self, now: float, view: TierView) -> float:
        ratio = (view.busy / max(1, self.size)) / self.TARGET
        wished = self.size if abs(ratio - 1.0) <= self.TOLERANCE else math.ceil(self.size * ratio)
        wished = min(wished, max(2 * self.size, self.size + 4))
        self._wished.append((now, wished))
        while self._wished[0][0] < now - self.STABLE:
            self._wished.popleft()
        return max(wish for _, wish in self._wished)


class HillClimbing(Sizer):
    """.NET's thread pool: a wave on the size, and a step along the wave of the throughput that answers to it."""

    period = 0.2
    WAVE, SAMPLES, MAGNITUDE = 4, 32, 20.0
    TARGET_RATIO, GAIN, STEP = 0.15, 5.0, 4.0

    def __init__(self, highest: int) -> None:
        super().__init__(highest)
        self._control = 1.0
        self._completions = 0.0
        self._sizes: deque[float] = deque(maxlen=self.SAMPLES)
        self._throughputs: deque[float] = deque(maxlen=self.SAMPLES)
        self._ticks = 0

    def step(self, now: float, view: TierView) -> float:
        throughput = (view.completions - self._completions) / self.period
        self._completions = view.completions
        self._sizes.append(self.size)
        self._throughputs.append(throughput)
        self._ticks += 1
        amplitude = 1.0
        if len(self._sizes) >= 2 * self.WAVE:
            amplitude = self._climb(throughput)
        # Starvation: work waits and everybody is busy, yet nothing ends.
        if view.queued and throughput == 0.0:
            self._control += 1.0
        self._control = min(float(self.highest), max(1.0, self._control))
        high = (self._ticks // (self.WAVE // 2)) % 2
        return self._control + amplitude * high

    def _climb(self, throughput: float) -> float:
        mean = sum(self._throughputs) / len(self._throughputs)
        if mean <= 0.0:
            return 1.0
        wave_of_sizes = self._component(self._sizes)
        wave_of_throughputs = self._component(self._throughputs) / mean
        noise = abs(self._component(self._throughputs, 2.5)) / mean
        ratio = (wave_of_throughputs / wave_of_sizes).real * self._control if abs(wave_of_sizes) > 1e-9 else 0.0
        confidence = min(1.0, abs(wave_of_throughputs) / max(noise, 1e-9) / 3.0)
        move = max(-1.0, min(1.0, ratio - self.TARGET_RATIO)) * confidence
        self._control += math.copysign(abs(move) ** 2.0 * self.GAIN, move) if move else 0.0
        return max(1.0, min(self.MAGNITUDE, self._control * noise * 0.15 * 3.0))

    def _component(self, samples: deque[float], factor: float = 1.0) -> complex:
        """Return the wave of the control period, or of one `factor` times as fast, in the samples."""
        angle = math.tau * factor / self.WAVE
        return sum(value * cmath.exp(-1j * angle * index) for index, value in enumerate(samples)) / len(samples)


class Gradient2(Sizer):
    """Netflix's Gradient2: the limit follows the ratio of long-term to present latency, plus room for a queue."""

    period = 1.0
    TOLERANCE, QUEUE, SMOOTHING, LONG = 1.5, 4.0, 0.2, 600

    def __init__(self, highest: int) -> None:
        super().__init__(highest)
        self._limit = 20.0
        self._long = 0.0
        self._seen = (0.0, 0.0)

    def step(self, now: float, view: TierView) -> float:
        completions, wall = view.completions - self._seen[0], view.wall - self._seen[1]
        self._seen = (view.completions, view.wall)
        if completions > 0:
            short = wall / completions
            self._long = short if not self._long else self._long + (short - self._long) * 2.0 / (self.LONG + 1)
            if self._long > 2.0 * short:
                self._long *= 0.95
            if view.busy >= self._limit / 2.0:
                gradient = max(0.5, min(1.0, self.TOLERANCE * self._long / max(short, 1e-9)))
                wished = self._limit * gradient + self.QUEUE
                self._limit += (wished - self._limit) * self.SMOOTHING
        return self._limit


def opponents(cores: int) -> dict[str, Callable[[], ScalingLaw]]:
    """Return every opponent by its name."""
    return {
        "static pool": lambda: Static(cores),
        "existing library": lambda: Opponent(LoadFactor, cores),
        "Celery": lambda: Opponent(Celery, cores),
        "Kubernetes HPA": lambda: Opponent(HorizontalPodAutoscaler, cores),
        ".NET hill climbing": lambda: Opponent(HillClimbing, cores),
        "Gradient2": lambda: Opponent(Gradient2, cores),
    }
