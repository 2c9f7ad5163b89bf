"""Estimates: medians, their intervals, and ratios between figures of the same rounds."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from event_collector.benchmark.estimate import estimate, paired_ratio

figures = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=12)


@settings(deadline=None)
@given(figures)
def test_median_lies_in_its_interval_and_that_within_the_values(values: list[float]) -> None:
    """An interval never says more than the values, nor excludes their median."""
    found = estimate(values)
    assert min(values) <= found.low <= found.median <= found.high <= max(values)
    assert found == estimate(values)
    assert found.rounds == len(values)


@settings(deadline=None)
@given(st.floats(0.001, 1e6), st.integers(1, 12))
def test_equal_values_leave_no_doubt(value: float, number: int) -> None:
    """The interval of equal values has no width."""
    assert estimate([value] * number).half_width == 0.0


def test_more_rounds_narrow_the_interval() -> None:
    """The same spread in four times as many rounds makes a narrower interval."""
    few, many = [90.0, 95.0, 100.0, 105.0, 110.0], [90.0, 95.0, 100.0, 105.0, 110.0] * 8
    assert estimate(many).half_width < estimate(few).half_width


@settings(deadline=None)
@given(figures, st.lists(st.floats(0.5, 2.0), min_size=12, max_size=12))
def test_what_slows_a_round_as_a_whole_does_not_change_a_ratio(values: list[float], hits: list[float]) -> None:
    """A ratio is taken within each round, so what hits both sides of one cancels out."""
    other = [2 * value for value in values]
    slowed = [value * hit for value, hit in zip(values, hits, strict=False)]
    both = [value * hit for value, hit in zip(other, hits, strict=False)]
    assert paired_ratio(slowed, both).high == pytest.approx(0.5)
    assert paired_ratio(slowed, both).low == pytest.approx(0.5)


@pytest.mark.parametrize(("over", "under"), [([], []), ([1.0], []), ([1.0], [0.0]), ([0.0], [1.0])])
def test_ratio_of_nothing_is_refused(over: list[float], under: list[float]) -> None:
    """Without a common round, or with a figure of zero, there is no ratio."""
    with pytest.raises(ValueError, match="at least one round"):
        paired_ratio(over, under)
