"""The pure decisions of dispatch, as properties."""

from hypothesis import given
from hypothesis import strategies as st

from event_collector_workers.credit import (
    DEEPEST,
    SHALLOWEST,
    depth_for,
    head_start,
    load_of,
    room_for,
    share_out,
)

depths = st.integers(SHALLOWEST, DEEPEST)
loads = st.lists(st.integers(0, 300), min_size=1, max_size=12)


@given(st.integers(0, 5000), loads, depths)
def test_shares_never_exceed_jobs_or_depth(jobs, loads, depth):
    """No more is handed out than there is, and nobody gets more than fits."""
    shares = share_out(jobs, loads, depth)
    assert sum(shares) <= jobs
    for share, load in zip(shares, loads, strict=True):
        assert share >= 0
        assert not share or load + share <= depth


@given(st.integers(0, 5000), loads, depths)
def test_nothing_is_held_back_while_there_is_room(jobs, loads, depth):
    """Either every job is handed out, or every worker that takes any is full."""
    shares = share_out(jobs, loads, depth)
    room = sum(room_for(load, depth) for load in loads)
    assert sum(shares) == min(jobs, room)


@given(st.integers(0, 5000), loads, depths)
def test_the_least_loaded_come_first(jobs, loads, depth):
    """Whoever gets a job ends at most one above anyone else who takes jobs."""
    shares = share_out(jobs, loads, depth)
    ends = [load + share for load, share in zip(loads, shares, strict=True)]
    takers = [end for end, share in zip(ends, shares, strict=True) if share]
    others = [end for end, load in zip(ends, loads, strict=True) if room_for(load, depth)]
    if takers:
        assert max(takers) <= min(others) + 1


@given(st.floats(0, 100), st.floats(0, 100))
def test_longer_jobs_are_held_in_smaller_numbers(one, other):
    """Depth falls with the service time, between its bounds."""
    shorter, longer = sorted((one, other))
    assert DEEPEST >= depth_for(shorter) >= depth_for(longer) >= SHALLOWEST


@given(st.integers(0, 256), st.floats(0, 1000), st.floats(0, 100))
def test_a_job_that_takes_long_counts_for_more(in_hand, running_for, service_time):
    """Load is at least what is in hand, and nothing when nothing is."""
    load = load_of(in_hand, running_for, service_time)
    assert load >= in_hand or running_for <= service_time
    assert (load == 0) == (in_hand == 0) or running_for > service_time


@given(st.integers(1, 10**6), st.just(0.0) | st.floats(1e-6, 100), st.floats(1e-6, 100))
def test_a_head_start_covers_a_start_and_costs_a_quarter_at_most(quota, startup, service_time):
    """The successor is started as many jobs ahead as fill its start, but never before three quarters are used."""
    jobs = head_start(quota, startup, service_time)
    assert 0 <= jobs <= quota / 4
    assert jobs * service_time >= startup * 0.999 or jobs == quota // 4
