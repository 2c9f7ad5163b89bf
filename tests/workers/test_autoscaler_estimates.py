"""How well rates and service times are known, and how soon."""

import math
import random

import pytest

from event_collector_workers.autoscaler import Tier, Tuning
from event_collector_workers.autoscaler.estimates import ArrivalRate, CollectorEstimate, Counter, ServiceTime, Smoothed
from event_collector_workers.autoscaler.window import RollingMaximum, RollingMinimum


def poisson(chance: random.Random, mean: float) -> int:
    """Draw a Poisson number: by counting exponential gaps."""
    count, passed = 0, chance.expovariate(1.0)
    while passed < mean:
        count, passed = count + 1, passed + chance.expovariate(1.0)
    return count


def test_noise_is_averaged_over_ten_seconds() -> None:
    """Under a steady Poisson stream the rate strays by no more than the calm average does."""
    chance, rate = random.Random(1), ArrivalRate(Tuning())
    squares = []
    for tick in range(4000):
        rate.add(0.05, poisson(chance, 10.0))
        if tick > 600:
            squares.append((rate.value / 200.0 - 1.0) ** 2)
    # the quick average alone strays by sqrt(1 / (2 x 200)) = 5%, the calm one by 1.6%
    assert math.sqrt(sum(squares) / len(squares)) < 0.035


@pytest.mark.parametrize("steps", [1, 5, 25])
def test_a_step_is_known_within_a_quarter_of_a_second(steps: int) -> None:
    """After a step from 10 to 400 events a second the rate is right at once, however often it is asked."""
    rate = ArrivalRate(Tuning())
    for _ in range(200):
        rate.add(0.05, 0.5)
    for _ in range(steps):
        rate.add(0.25 / steps, 100.0 / steps)
    assert rate.value == pytest.approx(400.0, rel=0.05)


@pytest.mark.parametrize(("before", "after"), [(60.0, 300.0), (300.0, 60.0)])
def test_what_is_known_of_a_step_is_not_forgotten(before: float, after: float) -> None:
    """The average takes ten seconds and more. After some seconds the rate is right within a third, and stays so."""
    rate = ArrivalRate(Tuning())
    for _ in range(400):
        rate.add(0.05, before * 0.05)
    for _ in range(160):
        rate.add(0.05, after * 0.05)
    for _ in range(400):
        assert rate.value == pytest.approx(after, rel=0.33)
        rate.add(0.05, after * 0.05)


def test_a_rate_that_ends_is_forgotten() -> None:
    """When arrivals stop, the rate falls to a hundredth within ten seconds."""
    rate = ArrivalRate(Tuning())
    for _ in range(200):
        rate.add(0.05, 5.0)
    for _ in range(200):
        rate.add(0.05, 0.0)
    assert rate.value < 1.0


def test_arrivals_without_time_are_kept_for_the_next_reading() -> None:
    """Two readings at the same instant lose no arrival and divide by no zero."""
    rate = ArrivalRate(Tuning())
    rate.add(0.0, 50.0)
    rate.add(1.0, 50.0)
    assert rate.value == pytest.approx(100.0)


def test_a_correction_of_arrivals_is_no_negative_rate() -> None:
    """Arrivals that were counted too early are subtracted from later ones, and the rate stays at least 0."""
    rate = ArrivalRate(Tuning())
    rate.add(1.0, -50.0)
    assert rate.value == 0.0
    rate.add(1.0, 150.0)
    assert rate.value == pytest.approx(100.0, rel=0.1)


def test_service_time_is_exact_from_the_first_event() -> None:
    """One finished event is enough, and old ones fade after fifty."""
    service = ServiceTime(50.0, (0.01, 0.0))
    service.add(0.05, 1.0, 1.0, 0.2, 0.3)
    assert service.split(1.0) == pytest.approx((0.2, 0.3))
    for _ in range(300):
        service.add(0.05, 1.0, 1.0, 0.01, 0.04)
    assert service.split(1.0) == pytest.approx((0.01, 0.04), rel=0.05)


def test_many_events_at_once_weigh_like_as_many_single_ones() -> None:
    """A batch of completions moves the average exactly as its events one by one would."""
    one_by_one, batch = ServiceTime(50.0, (0.01, 0.0)), ServiceTime(50.0, (0.01, 0.0))
    for service in (one_by_one, batch):
        service.add(0.05, 0.0, 10.0, 1.0, 0.0)
    for _ in range(20):
        one_by_one.add(0.0, 0.0, 1.0, 0.05, 0.02)
    batch.add(0.0, 0.0, 20.0, 1.0, 0.4)
    assert batch.split(0.0) == pytest.approx(one_by_one.split(0.0))


def test_before_anything_ended_the_tier_says_what_kind_of_work_it_is() -> None:
    """An unknown event is taken for CPU in a worker and for waiting on the loop."""
    tuning = Tuning()
    assert CollectorEstimate("a", Tier.PROCESS, tuning).split() == (tuning.assumed_service, 0.0)
    assert CollectorEstimate("a", Tier.COROUTINE, tuning).split() == (0.0, tuning.assumed_service)


def test_events_that_run_long_are_at_least_as_long_as_their_age() -> None:
    """The age counts from the reading that first saw them: before that they may not have been there."""
    service = ServiceTime(50.0, (0.01, 0.0))
    service.add(3.0, 2.0, 0.0, 0.0, 0.0)
    assert service.split(2.0) == pytest.approx((0.01, 0.0))
    service.add(3.0, 2.0, 0.0, 0.0, 0.0)
    assert service.split(2.0) == pytest.approx((3.0, 0.0))


def test_assumed_events_are_outweighed_by_real_ones() -> None:
    """With ten assumed events the first one says little, and a hundred say nearly all."""
    service = ServiceTime(50.0, (0.03, 0.0), prior=10.0)
    service.add(0.05, 1.0, 1.0, 0.0, 0.5)
    cpu, waiting = service.split(1.0)
    assert cpu / (cpu + waiting) > 0.35
    service.add(0.05, 1.0, 100.0, 0.0, 50.0)
    cpu, waiting = service.split(1.0)
    assert cpu / (cpu + waiting) < 0.01


def test_a_counter_that_starts_again_counts_nothing_backwards() -> None:
    """A total that falls, or is missing, is doubted and skipped; the next growth counts from there."""
    counter = Counter()
    seen = [(counter.growth(total), counter.is_doubtful) for total in (100, 150, None, 170, 20, 25, math.nan, 30)]
    assert [growth for growth, _ in seen] == [0, 50, 0, 20, 0, 5, 0, 5]
    assert [doubtful for _, doubtful in seen] == [False, False, True, False, True, False, True, False]


def test_a_smoothed_value_is_unbiased_from_the_start() -> None:
    """The first value is the average, not a tenth of it; nothing at all is 0."""
    share = Smoothed(10.0)
    assert share.value == 0.0
    share.add(0.05, 0.8)
    assert share.value == pytest.approx(0.8)


def test_rolling_extremes_forget_after_their_span() -> None:
    """The extreme is that of the span; the newest value holds until another one comes."""
    largest, smallest = RollingMaximum(10.0), RollingMinimum(10.0)
    for now, value in ((0.0, 5.0), (1.0, 9.0), (2.0, 3.0), (3.0, 4.0)):
        largest.record(now, value)
        smallest.record(now, value)
    assert (largest.value(3.0), smallest.value(3.0)) == (9.0, 3.0)
    assert largest.relaxes() == 11.0
    assert (largest.value(10.9), largest.value(11.0)) == (9.0, 4.0)
    assert (largest.value(99.0), largest.relaxes()) == (4.0, None)


@pytest.mark.parametrize("seed", range(3))
def test_rolling_maximum_agrees_with_a_plain_list(seed: int) -> None:
    """Against the obvious implementation on random values."""
    chance, window, past, now = random.Random(seed), RollingMaximum(3.0), [], 0.0
    for _ in range(300):
        now += chance.random()
        past.append((now, chance.random()))
        window.record(*past[-1])
        assert window.value(now) == max(value for then, value in past if then + 3.0 > now)
