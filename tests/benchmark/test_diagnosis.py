"""What bound a contender: the CPU, what the handler waits for, the loop, or serialization."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from event_collector.benchmark.diagnosis import Bound, bound_of
from event_collector.benchmark.trial_figures import Contender, HandlerProfile, TransferCost

from .hand_made import COMPUTING, COROUTINE, THREAD, TINY, WAITING, measured, process

# 1000 events in a second, of which each computes as said.
CASES = {
    "sleeps": (measured(COROUTINE, 1000.0, own_cpu=0.1), WAITING, Bound.IO),
    "sleeps in threads": (measured(THREAD, 1000.0, own_cpu=0.2), WAITING, Bound.IO),
    "sleeps in workers": (measured(process(8), 1000.0, own_cpu=0.1, worker_cpu=0.1), WAITING, Bound.IO),
    "computes": (measured(COROUTINE, 50.0, events=50, own_cpu=1.0), COMPUTING, Bound.CPU),
    "computes in workers": (measured(process(2), 98.0, events=98, own_cpu=0.01, worker_cpu=1.96), COMPUTING, Bound.CPU),
    "computes while others do": (
        measured(process(2), 50.0, events=50, own_cpu=0.01, worker_cpu=1.0, worker_queued=0.9), COMPUTING, Bound.CPU),
    "no profile, computes": (measured(process(2), 98.0, own_cpu=0.01, worker_cpu=19.9), None, Bound.CPU),
    "no profile, computes while others do": (
        measured(process(2), 50.0, events=50, own_cpu=0.01, worker_cpu=1.0, worker_queued=0.9), None, Bound.CPU),
    "no profile, waits": (measured(process(2), 98.0, own_cpu=0.01, worker_cpu=0.1), None, Bound.IO),
    "does nothing": (measured(COROUTINE, 1e5, own_cpu=0.0099), TINY, Bound.LOOP),
    "does nothing in workers": (
        measured(process(2), 1e5, own_cpu=0.0099, worker_cpu=0.008, transfer=TransferCost(2e-6, 40)), TINY, Bound.LOOP),
    "carries a lot": (
        measured(process(2), 100.0, events=100, own_cpu=0.6, worker_cpu=0.6, transfer=TransferCost(0.01, 10_000_000)),
        TINY, Bound.SERIALIZATION),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_known_cases(case: str) -> None:
    """Each comes out as it was made."""
    one, profile, bound = CASES[case]
    assert bound_of(one, profile) is bound


@settings(deadline=None)
@given(st.floats(0.001, 1.0), st.floats(1.5, 100.0))
def test_slow_machine_does_not_change_the_diagnosis(cpu: float, slowdown: float) -> None:
    """What the machine's other programs take is the wait for a CPU, not the handler's."""
    busy = measured(COROUTINE, 1 / (cpu * slowdown), events=10, own_cpu=10 * cpu, own_queued=10 * cpu * (slowdown - 1))
    assert bound_of(busy, HandlerProfile(5, cpu, cpu, cpu, cpu)) is Bound.CPU


@settings(deadline=None)
@given(
    st.sampled_from([COROUTINE, THREAD, process(1), process(8)]),
    st.floats(0.0, 10.0),
    st.floats(0.0, 10.0),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
)
def test_there_is_always_a_diagnosis(contender: Contender, own: float, worker: float, wall: float, cpu: float) -> None:
    """Figures of any size have one."""
    one = measured(contender, 100.0, own_cpu=own, worker_cpu=worker, transfer=TransferCost(wall, 10))
    assert isinstance(bound_of(one, HandlerProfile(1, max(wall, cpu), cpu, cpu, cpu)), Bound)
