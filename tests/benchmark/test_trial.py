"""The trial: everybody has a turn, the time is kept, and nothing stays open."""

import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from event_collector.benchmark.concurrency import of_batches
from event_collector.benchmark.recommendation import recommend
from event_collector.benchmark.trial import BATCH_SIZES, Trial, batch_contenders_of, contenders_of, worker_counts
from event_collector.benchmark.trial_figures import Contender, Measured, RoundOrder, RoundResult

from .hand_made import COROUTINE, REWRITTEN, THREAD, Clock, Model, PretendedSubject, process


def steady() -> float:
    return 1.0


def trial(model: Model, seconds: float = 20.0, **options: object) -> Trial:
    return Trial(model.subject, seconds=seconds, cpus=model.cpus, clock=model.clock, **options)  # type: ignore[arg-type]


def model(wait: float, cpu: float, cpus: int = 2, noise: Callable[[], float] = steady) -> Model:
    return Model(Clock(), wait=wait, cpu=cpu, cpus=cpus, noise=noise)


PLAIN = contenders_of(asynchronous=False, workers=[1, 2])
ASYNC = contenders_of(asynchronous=True, workers=[1, 2])


def test_contenders_are_what_the_handler_can_run_as() -> None:
    """An `async def` has no threads; a plain one is also tried as if it were one; modes may be chosen."""
    assert ASYNC == [COROUTINE, process(1), process(2)]
    assert PLAIN == [REWRITTEN, THREAD, process(1), process(2)]
    assert contenders_of(asynchronous=False, workers=[2], modes=["process"]) == [process(2)]
    assert [worker_counts(1), worker_counts(2), worker_counts(8), worker_counts(64)] == [
        [1],
        [1, 2],
        [1, 2, 8],
        [1, 16, 64],
    ]


def test_a_batch_handler_competes_with_itself() -> None:
    """Each size in its own mode, or in those that are asked for; with enough events in flight to fill its batches."""
    alone = batch_contenders_of(mode="thread", workers=[2])
    assert alone == [Contender("thread", batch=size) for size in BATCH_SIZES]
    chosen = batch_contenders_of(mode="thread", workers=[1, 2], modes=["process"])
    assert chosen == [Contender("process", workers=n, batch=size) for n in (1, 2) for size in BATCH_SIZES]
    assert chosen[-1].label == "process, 2 workers, batches of 256"
    assert of_batches([2, 8, 64], 0, 1000) == [2, 8, 64]
    assert of_batches([2, 8, 64], 64, 1000) == [128, 512, 1000]
    assert of_batches([8, 64], 256, 1000) == [1000]


def test_rounds_of_batches_can_fill_them() -> None:
    """No round that counts has fewer events in flight than a batch for each worker."""
    the_model = model(0.01, 0.001)
    trial(the_model).run(batch_contenders_of(mode="process", workers=[2]))
    for subject in the_model.open:
        counting = subject.orders[-3:]
        assert min(order.in_flight for order in counting) >= 2 * subject.contender.batch


@pytest.mark.parametrize(
    ("wait", "cpu", "cpus", "field", "expected"),
    [
        (0.02, 0.0001, 2, ASYNC, COROUTINE),
        (0.0, 0.02, 2, ASYNC, process(2)),
        (0.02, 0.0, 2, PLAIN, THREAD),
        (0.0, 0.02, 2, PLAIN, process(2)),
        (0.05, 0.002, 2, ASYNC, COROUTINE),
        (0.04, 0.04, 4, contenders_of(asynchronous=False, workers=[1, 4]), process(8)),
    ],
    ids=["async waits", "async computes", "plain waits", "plain computes", "async both", "plain both"],
)
def test_modelled_handler_gets_the_right_answer(
    wait: float, cpu: float, cpus: int, field: list[Contender], expected: Contender
) -> None:
    """From the search for concurrency to the recommendation, on a machine that only computes its figures."""
    noise = random.Random(1)
    simulated = model(wait, cpu, cpus, lambda: noise.uniform(0.9, 1.1))
    assert recommend(trial(simulated).run(field)).contender == expected


def test_sure_figures_end_it_early() -> None:
    """Without noise there is nothing to repeat."""
    one = trial(model(0.001, 0.0001))
    found = one.run(ASYNC)
    assert one.settled
    assert one.used < 20.0
    assert min(len(measured.rounds) for measured in found if measured.rounds) >= 5


@settings(max_examples=30, deadline=None)
@given(st.floats(1e-6, 0.2), st.floats(1e-6, 0.2), st.floats(2.0, 30.0), st.integers(0, 2**32))
def test_the_time_is_kept(wait: float, cpu: float, seconds: float, seed: int) -> None:
    """However noisy, it ends in time: one sweep over everybody may come on top, and the search of slow handlers."""
    noise = random.Random(seed)
    simulated = model(wait, cpu, noise=lambda: noise.uniform(0.3, 3.0))
    one = trial(simulated, seconds)
    found = one.run(PLAIN)
    assert all(measured.rounds for measured in found)
    assert one.used < seconds + 60 * (wait + cpu) + 12.0
    assert all(subject.closed is False for subject in simulated.open)


def test_rounds_are_taken_in_turn_with_the_same_number_at_once() -> None:
    """Everybody has as many rounds, each of them like the others, and nobody is always the first."""
    simulated = model(0.01, 0.02)
    found = trial(simulated).run(ASYNC)
    rounds = len(found[0].rounds)
    turns = simulated.turns[-rounds * len(ASYNC) :]
    sweeps = [turns[begin : begin + len(ASYNC)] for begin in range(0, len(turns), len(ASYNC))]
    assert all(sorted(one.label for one in sweep) == sorted(one.label for one in ASYNC) for sweep in sweeps)
    assert {sweep[0] for sweep in sweeps} == set(ASYNC)
    assert len({len(measured.rounds) for measured in found}) == 1
    for measured in found:
        assert len({one.in_flight for one in measured.rounds}) == 1


def test_waiting_workers_bring_more_workers() -> None:
    """A handler that waits for most of its time is tried with more workers than CPUs; one that computes is not."""
    assert process(16) in [one.contender for one in trial(model(0.02, 0.0001)).run(PLAIN)]
    assert [one.contender for one in trial(model(0.0, 0.01)).run(PLAIN)] == PLAIN


def test_one_that_cannot_start_or_breaks_is_left_out() -> None:
    """The others go on, and it keeps its reason."""
    simulated = model(0.01, 0.0)
    simulated.broken, simulated.failing = {THREAD.label}, {process(1).label}
    found = {one.label: one for one in trial(simulated).run(PLAIN)}
    assert found[THREAD.label].refusal == "it is broken"
    assert found[process(1).label].refusal == "it went away"
    assert found[process(2).label].usable
    assert all(subject.closed is not None for subject in simulated.open)


def test_interruption_ends_everybody_at_once() -> None:
    """Ctrl-C leaves nothing open, and what was found so far can be had."""
    simulated = model(0.01, 0.0)

    def interrupt(field: Sequence[Measured], doing: str) -> None:
        if doing == "round 3":
            raise KeyboardInterrupt

    one = trial(simulated, show=interrupt)
    with pytest.raises(KeyboardInterrupt):
        one.run(PLAIN)
    assert all(subject.closed is True for subject in simulated.open)
    assert all(len(measured.rounds) == 2 for measured in one.found)


def test_count_of_events_is_kept() -> None:
    """With a number of events given, every round that counts has so many."""
    found = trial(model(0.001, 0.0001), events=37).run(ASYNC)
    assert {one.events for measured in found for one in measured.rounds} == {37}


class Greedy(PretendedSubject):
    def round(self, order: RoundOrder, timeout: float) -> RoundResult:
        assert order.events <= max(500, 2 * order.in_flight)
        return super().round(order, timeout)


def test_values_of_a_round_are_bounded() -> None:
    """No more events than fit into memory, but always as many as are in flight."""
    simulated = model(0.0, 1e-6)
    one = Trial(lambda who: Greedy(simulated, who), seconds=5, max_events=500, cpus=2, clock=simulated.clock)
    assert all(measured.rounds for measured in one.run(ASYNC))
