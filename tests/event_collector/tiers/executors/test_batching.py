"""How many events go into one task: bounds that hold for all values, and what the sizes come to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_collector.tiers.executors.batching import MOST, capacity_of, next_limit, size_of_batch

counts = st.integers(1, 100_000)
limits = st.integers(1, MOST)
seconds = st.floats(0.0, 1e6, allow_nan=False)
latencies = st.floats(0.001, 10.0)


@given(counts, st.none() | counts, limits)
def test_a_batch_is_of_what_waits_and_within_its_limit(waiting: int, free: int | None, limit: int) -> None:
    """A batch has an event, never more than wait, and never more than its limit."""
    assert 1 <= size_of_batch(waiting, free, limit) <= min(waiting, limit)


@given(st.integers(1, 5000), st.integers(1, 64), limits)
def test_no_place_is_idle_while_another_has_two_events(waiting: int, free: int, limit: int) -> None:
    """As many tasks go out as there are events or places, as even as can be, and nothing that fits is left."""
    sizes: list[int] = []
    left = waiting
    while left and len(sizes) < free:
        sizes.append(size_of_batch(left, free - len(sizes), limit))
        left -= sizes[-1]
    assert len(sizes) == min(waiting, free)
    assert max(sizes) - min(sizes) <= 1
    assert left == max(0, waiting - free * limit)


@given(limits, counts, seconds, latencies)
def test_a_limit_grows_by_doubling_and_keeps_the_latency(limit: int, events: int, took: float, latency: float) -> None:
    """A limit at most doubles, after a full task only, and never allows more than the latency by what was measured."""
    after = next_limit(limit, events, took, latency)
    assert 1 <= after <= MOST
    assert after <= (2 * limit if events >= limit else limit)
    assert after == 1 or after * (took / events) <= latency * (1 + 1e-9)


@pytest.mark.parametrize(("service", "limit"), [(0.0, 512), (1e-5, 512), (0.001, 100), (0.03, 3), (0.1, 1), (5.0, 1)])
def test_a_limit_settles_where_the_latency_is(service: float, limit: int) -> None:
    """With full tasks of equal events a limit comes to what the latency allows, within ten tasks, and stays."""
    now = 1
    for _ in range(10):
        now = next_limit(now, now, service * now, 0.1)
    assert now in (limit, limit - 1)  # by the rounding of floats
    assert next_limit(now, now, service * now, 0.1) == now


@given(limits, latencies)
def test_one_slow_task_is_enough(limit: int, latency: float) -> None:
    """After a task that took longer than the latency with one event, events go one by one."""
    assert next_limit(limit, 1, latency * 1.01, latency) == 1


@given(st.integers(0, 1000), limits)
def test_an_executor_can_use_two_full_tasks_for_each_place(slots: int, limit: int) -> None:
    """One that runs, and one that waits in its place; none of an executor without places."""
    assert capacity_of(slots, limit) == 2 * slots * limit
