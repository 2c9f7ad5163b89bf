"""What the saturation guard does with a back end that has a knee, one that slows down, and one that recovers."""

import math

import pytest

from event_collector_workers.autoscaler import Autoscaler, CollectorReading, Readings, ScalingLimits, TierReading

TICK = 0.05


class BackEnd:
    """A fluid back end: up to `capacity` events at full speed, beyond that each the slower the more there are."""

    def __init__(self, *, capacity: float = math.inf, collapse: float = 0.5) -> None:
        self.law = Autoscaler(ScalingLimits(max_consumers=2000))
        self.capacity, self.collapse, self.slowness = capacity, collapse, 1.0
        self.now = self.arrivals = self.completions = self.wall = 0.0
        self.running = self.queued = 0.0
        self.consumers = 1
        self.loop_share = self.loop_busy = 0.0
        self.sizes: list[int] = []
        self.reasons: list[str] = []

    def waiting(self) -> float:
        crowd = max(1.0, self.running / self.capacity)
        return 0.05 * self.slowness * math.pow(crowd, 1.0 + self.collapse)

    def goes_on(self, seconds: float, rate: float) -> None:
        """Let events arrive at a rate, in `sizes` what the law makes of it."""
        self.sizes = []
        for _ in range(round(seconds / TICK)):
            ended = self.running * min(1.0, TICK / self.waiting())
            self.wall += ended * self.waiting() if ended else 0.0
            self.completions += ended
            self.arrivals += rate * TICK
            self.queued += rate * TICK
            self.running -= ended
            started = max(0.0, min(self.queued, self.consumers - self.running))
            self.running += started
            self.queued -= started
            self.now += TICK
            self.loop_busy += self.loop_share * TICK
            self.consumers = self._decide()
            self.sizes.append(self.consumers)

    def _decide(self) -> int:
        reading = CollectorReading(
            key="call",
            arrivals=self.arrivals,
            completions=self.completions,
            wall=self.wall,
            queued=self.queued,
            running=self.running,
        )
        tier = TierReading(size=self.consumers, busy=math.ceil(self.running))
        plan = self.law.decide(Readings(now=self.now, collectors=(reading,), consumers=tier, loop_busy=self.loop_busy))
        self.reasons += [change.reason for change in plan.changes]
        assert plan.consumer_ceiling >= plan.consumers
        return plan.consumers


def test_an_overload_is_held_at_the_knee() -> None:
    """In a long overload the tier stays near the knee; what is tried beyond it is short and rare."""
    end = BackEnd(capacity=30.0)
    end.goes_on(10.0, rate=360.0)
    end.goes_on(3.0, rate=800.0)
    end.goes_on(60.0, rate=800.0)
    assert min(end.sizes) >= 22
    near = [size for size in end.sizes if size <= 45]
    assert len(near) >= 0.9 * len(end.sizes)
    assert max(end.sizes) <= 90


def test_waiting_events_never_starve_behind_a_cap() -> None:
    """While events wait and none ends, the cap loosens: the running ones may wait for the queued ones."""
    end = BackEnd(capacity=30.0)
    end.goes_on(10.0, rate=360.0)
    end.goes_on(10.0, rate=800.0)
    assert end.sizes[-1] <= 90
    end.slowness = math.inf
    end.goes_on(5.0, rate=0.0)
    assert end.sizes[-1] == end.running == 2000


def test_a_cap_goes_when_it_no_longer_binds() -> None:
    """Ten quiet seconds after an overload nothing is held back any more."""
    end = BackEnd(capacity=30.0)
    end.goes_on(10.0, rate=360.0)
    end.goes_on(5.0, rate=800.0)
    capped = end.law.decide(Readings(now=end.now)).consumer_ceiling
    assert capped <= 90
    end.goes_on(60.0, rate=100.0)
    end.goes_on(0.5, rate=100.0)
    end.capacity = math.inf
    end.goes_on(1.0, rate=4000.0)
    assert max(end.sizes) >= 200


def test_a_back_end_that_was_enlarged_is_used() -> None:
    """When the capped back end can take more, the cap climbs to it without a pause in the load."""
    end = BackEnd(capacity=30.0)
    end.goes_on(10.0, rate=360.0)
    end.goes_on(5.0, rate=800.0)
    end.capacity = 120.0
    end.goes_on(30.0, rate=1500.0)
    assert end.sizes[-1] >= 60


@pytest.mark.parametrize("slowness", [3.0, 8.0])
def test_a_slower_back_end_gets_the_consumers_it_needs(slowness: float) -> None:
    """A back end that takes longer without being crowded is not held down: within five seconds all are there."""
    end = BackEnd()
    end.goes_on(10.0, rate=400.0)
    end.slowness = slowness
    end.goes_on(5.0, rate=400.0)
    end.goes_on(5.0, rate=400.0)
    assert min(end.sizes) >= 400.0 * 0.05 * slowness
    assert end.queued <= 20.0


def test_steady_waiting_is_never_capped() -> None:
    """A back end that is far from its knee is left alone."""
    end = BackEnd(capacity=200.0)
    end.goes_on(60.0, rate=400.0)
    assert len(set(end.sizes[200:])) <= 3


def test_a_back_end_that_lost_capacity_is_tried_rarely() -> None:
    """When a capped back end gets worse, twice the crowd is tried now and then, and never kept."""
    end = BackEnd(capacity=30.0)
    end.goes_on(10.0, rate=360.0)
    end.goes_on(5.0, rate=800.0)
    end.capacity = 12.0
    end.goes_on(40.0, rate=800.0)
    assert max(end.sizes) <= 90
    beyond = [size for size in end.sizes if size > 45]
    assert 0 < len(beyond) <= 0.4 * len(end.sizes)


@pytest.mark.parametrize("loop_share", [0.1, 1.0])
def test_a_full_loop_is_not_taken_for_a_saturated_back_end(loop_share: float) -> None:
    """Where everything waits for the loop, that events take long says nothing of what they call."""
    back_end = BackEnd(capacity=30)
    back_end.goes_on(20.0, rate=300.0)
    back_end.loop_share = loop_share
    back_end.goes_on(5.0, rate=900.0)
    assert any("saturated" in reason for reason in back_end.reasons) is (loop_share < 0.5)
