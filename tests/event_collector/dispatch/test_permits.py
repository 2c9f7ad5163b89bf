"""Permits: how many events may be in handlers at once."""

from hypothesis import given
from hypothesis import strategies as st

from event_collector.dispatch.permits import ConsumerLimits, Permits

_LIMITS = st.builds(
    lambda least, more, autoscale: ConsumerLimits(least, least + more, autoscale),
    st.integers(1, 20),
    st.integers(0, 50),
    st.booleans(),
)
_STEPS = st.lists(st.tuples(st.sampled_from(["take", "give", "resize", "ceiling"]), st.integers(0, 80)), max_size=60)


@given(_LIMITS, _STEPS)
def test_permits_keep_their_limits_whatever_happens(limits: ConsumerLimits, steps: list[tuple[str, int]]) -> None:
    """The size stays within the limits, and a permit is taken only while there is one."""
    permits = Permits(limits)
    for step, number in steps:
        if step == "take":
            before = permits.busy
            taken = permits.take()
            assert permits.busy == before + taken
            assert not taken or permits.busy <= permits.size
        elif step == "give" and permits.busy:
            permits.give_back()
        elif step == "resize":
            permits.resize(number)
        elif step == "ceiling":
            permits.raise_ceiling(number)
        assert limits.min_consumers <= permits.size <= limits.max_consumers
        assert permits.free() >= 0


def test_a_pool_that_does_not_scale_starts_whole_and_never_grows() -> None:
    """Without autoscaling all permits exist from the start."""
    permits = Permits(ConsumerLimits(1, 3, False))
    assert [permits.take() for _ in range(4)] == [True, True, True, False]
    assert repr(permits) == "<Permits 3 of 3 taken, at most 3>"


def test_the_peak_is_that_since_the_last_look() -> None:
    """The peak counts permits that are taken now, and those for which the pool grew."""
    permits = Permits(ConsumerLimits(1, 9, True))
    assert all(permits.take() for _ in range(5))
    permits.give_back(5)
    assert permits.take_peak() == 5
    assert permits.take_peak() == 0


def test_a_pool_with_more_events_than_its_ceiling_does_not_grow() -> None:
    """Events beyond a new ceiling run on, and those that end are not replaced until fewer run than it allows."""
    permits = Permits(ConsumerLimits(1, 100, True))
    assert all(permits.take() for _ in range(50))
    permits.raise_ceiling(20)
    permits.resize(10)
    while permits.busy > 19:
        assert not permits.take()
        assert permits.free() == 0
        permits.give_back()
    assert permits.take()
