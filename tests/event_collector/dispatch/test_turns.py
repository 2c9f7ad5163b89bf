"""The time slice of a turn of the event loop, with a clock and a loop that the tests move by hand."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from event_collector.dispatch.turns import SLICE, Turns
from event_collector.values.clock import clock
from tests.event_collector.dispatch.parts import StillTime


class Loop:
    """What turns need of an event loop: the calls of its next turn."""

    def __init__(self) -> None:
        self.ready: list[Callable[[], None]] = []

    def call_soon(self, call: Callable[[], None]) -> None:
        self.ready.append(call)

    def turn(self) -> None:
        ready, self.ready = self.ready, []
        for call in ready:
            call()


class Case:
    """Turns, and how often they called."""

    def __init__(self) -> None:
        self.pumped = self.refused = 0
        self.loop: Any = Loop()
        self.turns = Turns(self._pump, self._refuse)

    def _pump(self) -> None:
        self.pumped += 1

    def _refuse(self) -> None:
        self.refused += 1


@pytest.fixture
def time() -> Iterator[StillTime]:
    source = StillTime()
    with clock.using(source):
        yield source


@pytest.fixture
def case(time: StillTime) -> Case:
    case = Case()
    case.turns.open(case.loop)
    return case


def test_a_slice_ends_with_its_time(case: Case, time: StillTime) -> None:
    """Events begin until it is used up; the next one is refused, and the program is told of each."""
    assert case.turns.has_time(clock.now())
    time.seconds += SLICE * 0.9
    assert case.turns.has_time(clock.now())
    assert case.refused == 0
    time.seconds += SLICE
    assert not case.turns.has_time(clock.now())
    assert not case.turns.has_time(clock.now())
    assert case.refused == 2


def test_the_next_turn_has_a_slice_of_its_own(case: Case, time: StillTime) -> None:
    """The pump runs once in it, however often it was scheduled, and not in the turns after it."""
    assert case.turns.has_time(clock.now())
    case.turns.schedule()
    time.seconds += 2 * SLICE
    assert not case.turns.has_time(clock.now())
    case.loop.turn()
    assert case.pumped == 1
    assert case.turns.has_time(clock.now())
    case.loop.turn()
    assert case.pumped == 1


def test_a_slice_of_an_earlier_turn_is_renewed(case: Case, time: StillTime) -> None:
    """A queue that was idle gives the first event after that a whole slice."""
    assert case.turns.has_time(clock.now())
    case.loop.turn()
    time.seconds += 3600
    assert case.turns.has_time(clock.now())
    assert case.turns.ends == clock.now() + SLICE


def test_a_slice_can_be_ended_early(case: Case) -> None:
    """No event begins until the next turn, which comes."""
    assert case.turns.has_time(clock.now())
    case.turns.end_slice()
    assert not case.turns.has_time(clock.now())
    case.loop.turn()
    assert case.turns.has_time(clock.now())


def test_closed_turns_schedule_nothing(case: Case) -> None:
    """The loop keeps no call of a queue that is shut down."""
    case.turns.close()
    case.turns.schedule()
    assert case.loop.ready == []
    assert not case.turns.is_due
