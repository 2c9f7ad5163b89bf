"""How many events at once: what is tried, and what is enough."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from event_collector.benchmark.concurrency import knee, numbers_to_try, saturating_workers

modes = st.sampled_from(["coroutine", "thread", "process"])


@settings(deadline=None)
@given(modes, st.integers(1, 64), st.floats(1e-6, 30.0), st.floats(0.0, 1.0), st.floats(0.0, 60.0))
def test_what_is_tried_grows_and_is_bounded(
    mode: str, workers: int, service: float, busy: float, seconds: float
) -> None:
    """There is always something to try, in ascending order, and never without bound."""
    tried = numbers_to_try(mode, workers, service, busy, seconds)
    assert tried
    assert tried == sorted(set(tried))
    assert tried[-1] <= {"coroutine": 1024, "thread": 256, "process": 64 * workers}[mode]
    assert len(tried) <= max(1, seconds / min(0.1, 2 * service))
    if mode == "process":
        assert tried[0] >= 2 * workers
    else:
        assert tried[-1] * service * busy <= max(1.5, 4 * service * busy)


def test_handlers_that_wait_are_tried_with_many_and_those_that_compute_with_few() -> None:
    """What waits for 20 ms may fill a thousand places; what computes for 200 ms gets a handful."""
    assert numbers_to_try("coroutine", 0, 0.02, 0.001, 10.0)[-1] == 1024
    assert numbers_to_try("coroutine", 0, 0.2, 1.0, 10.0)[-1] <= 8
    assert numbers_to_try("thread", 0, 0.02, 0.001, 10.0)[-1] == 256
    assert numbers_to_try("process", 2, 0.02, 1.0, 10.0) == [4]
    assert numbers_to_try("process", 2, 0.00005, 1.0, 10.0)[-1] == 128


@settings(deadline=None)
@given(st.dictionaries(st.integers(1, 2000), st.floats(0.1, 1e6), min_size=1))
def test_knee_is_nearly_the_best_and_nothing_smaller_is(rates: dict[int, float]) -> None:
    """It is the least number with nine tenths of the greatest throughput."""
    found = knee(rates)
    assert rates[found] >= 0.9 * max(rates.values())
    assert all(rate < 0.9 * max(rates.values()) for number, rate in rates.items() if number < found)


def test_knee_ignores_less_than_one_for_each_worker() -> None:
    """One event at once says nothing of two workers, however well it went."""
    assert knee({1: 100.0, 4: 80.0}, least=2) == 4


@pytest.mark.parametrize(("busy", "workers"), [(1.0, 2), (0.5, 4), (0.25, 8), (0.0, 16), (0.001, 16)])
def test_crowd_fills_the_cpus_up_to_a_bound(busy: float, workers: int) -> None:
    """CPUs divided by the share of time that is computed, and no more than eight for each."""
    assert saturating_workers(2, busy) == workers
