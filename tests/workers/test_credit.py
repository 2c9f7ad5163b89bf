"""The pure decisions of dispatch, as properties."""

from hypothesis import given
from hypothesis import strategies as st

from event_collector_workers.pool.credit import (
    DEEPEST,
    HELD_UP,
    HORIZON,
    LONG_HORIZON,
    LONGEST_VISIT,
    SHALLOWEST,
    SHORTEST_VISIT,
    UNSTARTED,
    Credit,
    credit_for,
    depth_for,
    head_start,
    is_held_up,
    room_for,
    share_out,
    visit_pause,
    worker_load,
)

any_credit = st.integers(SHALLOWEST, DEEPEST).flatmap(
    lambda depth: st.builds(Credit, st.just(depth), st.integers(1, depth // 2))
)
horizons = st.sampled_from((HORIZON, LONG_HORIZON))
loads = st.lists(st.integers(0, 300), min_size=1, max_size=12)


@given(st.integers(0, 5000), loads, any_credit)
def test_shares_never_exceed_jobs_or_depth(jobs, loads, credit):
    """No more is handed out than there is, and nobody gets more than fits."""
    shares = share_out(jobs, loads, credit)
    assert sum(shares) <= jobs
    for share, load in zip(shares, loads, strict=True):
        assert share >= 0
        assert not share or load + share <= credit.depth


@given(st.integers(0, 5000), loads, any_credit)
def test_nothing_is_held_back_while_there_is_room(jobs, loads, credit):
    """Either every job is handed out, or every worker that takes any is full."""
    shares = share_out(jobs, loads, credit)
    room = sum(room_for(load, credit) for load in loads)
    assert sum(shares) == min(jobs, room)


@given(st.integers(0, 5000), loads, any_credit)
def test_the_least_loaded_come_first(jobs, loads, credit):
    """Whoever gets a job ends at most one above anyone else who takes jobs."""
    shares = share_out(jobs, loads, credit)
    ends = [load + share for load, share in zip(loads, shares, strict=True)]
    takers = [end for end, share in zip(ends, shares, strict=True) if share]
    others = [end for end, load in zip(ends, loads, strict=True) if room_for(load, credit)]
    if takers:
        assert max(takers) <= min(others) + 1


@given(st.floats(0, 100), st.floats(0, 100), horizons)
def test_longer_jobs_are_held_in_smaller_numbers(one, other, horizon):
    """Depth falls with the service time, between its bounds."""
    shorter, longer = sorted((one, other))
    assert DEEPEST >= depth_for(shorter, horizon) >= depth_for(longer, horizon) >= SHALLOWEST


@given(st.floats(0, 100), horizons)
def test_a_worker_gets_more_when_half_is_done_and_a_horizon_is_left(service_time, horizon):
    """It holds the work of its horizon; the batches are no smaller than half of that, and work is left meanwhile."""
    credit = credit_for(service_time, horizon)
    assert credit.depth == depth_for(service_time, horizon)
    assert 1 <= credit.low <= credit.depth // 2
    assert credit.low <= depth_for(service_time, HORIZON)
    if horizon == HORIZON:
        assert credit.low == credit.depth // 2


@given(st.floats(0, 100), st.integers(2, DEEPEST), st.integers(2, DEEPEST))
def test_workers_that_hold_more_are_looked_at_less_often(service_time, one, other):
    """Within bounds, and while they still have work if that is more than a loop's timers can tell."""
    fewer, more = sorted((one, other))
    pause = visit_pause(service_time, more)
    assert SHORTEST_VISIT <= visit_pause(service_time, fewer) <= pause <= LONGEST_VISIT
    assert pause <= max(2 * SHORTEST_VISIT, more * service_time / 2)


def test_jobs_are_taken_back_from_a_worker_that_is_held_up():
    """What waits behind a long job, or in a worker that starts none; with somebody idle also what waits behind many."""
    many = depth_for(0.001, HORIZON) + 1

    def held_up(in_hand, age, begun=True, idle=False):
        return is_held_up(in_hand, age, 0.001, begun=begun, idle=idle)

    assert held_up(2, HELD_UP * 1.1)
    assert not held_up(2, HELD_UP)
    assert not held_up(1, 3600.0)  # there is nothing behind it
    assert not is_held_up(2, 0.015, 0.01, begun=True, idle=False)
    assert is_held_up(2, 0.015, 0.01, begun=True, idle=True)
    assert held_up(1, UNSTARTED * 1.1, begun=False)
    assert not held_up(many, UNSTARTED, begun=False, idle=True)
    assert held_up(many, 0.0, idle=True)
    assert not held_up(many, 0.0)
    assert not held_up(many - 1, 0.0, idle=True)


@given(st.integers(0, 256), st.floats(0, 1000), st.floats(0, 100))
def test_a_job_that_takes_long_counts_for_more(in_hand, running_for, service_time):
    """Load is at least what is in hand, and nothing when nothing is."""
    load = worker_load(in_hand, running_for, service_time)
    assert load >= in_hand or running_for <= service_time
    assert (load == 0) == (in_hand == 0) or running_for > service_time


@given(st.integers(1, 10**6), st.just(0.0) | st.floats(1e-6, 100), st.floats(1e-6, 100))
def test_a_head_start_covers_a_start_and_costs_a_quarter_at_most(quota, startup, service_time):
    """The successor is started as many jobs ahead as fill its start, but never before three quarters are used."""
    jobs = head_start(quota, startup, service_time)
    assert 0 <= jobs <= quota / 4
    assert jobs * service_time >= startup * 0.999 or jobs == quota // 4
