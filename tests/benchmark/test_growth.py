"""Growth of memory: leaks are told by their size, noise is not told."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from event_collector.benchmark.estimate import memory_growth

MB = 1_000_000


@settings(deadline=None)
@given(st.integers(10_000, 1_000_000), st.integers(0, 2**32))
def test_leak_is_told_with_its_size(leak: int, seed: int) -> None:
    """A steady leak comes out within a tenth, whatever the first round did and in spite of some noise."""
    noise = random.Random(seed)
    events = [1000] * 8
    memory = [80 * MB, *(40 * MB + leak * 1000 * n + noise.randrange(leak * 50) for n in range(7))]
    assert memory_growth(memory, events) == pytest.approx(leak, rel=0.1)


@settings(deadline=None)
@given(st.lists(st.integers(-2 * MB, 2 * MB), min_size=1, max_size=20))
def test_noise_is_no_leak(noise: list[int]) -> None:
    """Memory that goes up and down by a little does not grow."""
    assert memory_growth([40 * MB + part for part in noise], [1000] * len(noise)) is None


@settings(deadline=None)
@given(st.integers(10, 400), st.floats(0.3, 0.7), st.integers(6, 20))
def test_heap_that_settles_is_no_leak(size: int, rate: float, rounds: int) -> None:
    """Memory that grows in every round, and ever less, is a cache or a heap that fills."""
    memory = [round((40 + size * (1 - rate**n)) * MB) for n in range(rounds)]
    assert memory_growth(memory, [1000] * rounds) is None


@pytest.mark.parametrize(
    "memory",
    [
        [40 * MB] * 8,
        [40 * MB, 60 * MB, 60 * MB, 60 * MB, 60 * MB, 60 * MB],
        [40 * MB, 40 * MB, 40 * MB, 40 * MB, 40 * MB, 80 * MB],
        [40 * MB, 40 * MB, 40 * MB, 80 * MB, 80 * MB, 80 * MB, 80 * MB],
        [90 * MB, 80 * MB, 70 * MB, 60 * MB, 50 * MB, 40 * MB],
        [40 * MB, 50 * MB, 60 * MB, 70 * MB, 80 * MB],
        [],
    ],
    ids=["flat", "warm-up", "one step", "one step early", "falling", "too few rounds", "none"],
)
def test_what_does_not_grow_steadily_is_no_leak(memory: list[int]) -> None:
    """Caches that fill up once, single steps and falling memory are not taken for leaks."""
    assert memory_growth(memory, [1000] * len(memory)) is None
