"""Gate, backlog, orders and ids, each alone."""

from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_collector import CollectorEvent, Payload, QueueFull, QueueShutDown, QueueType
from event_collector.events.backlog import Backlog, Backlogs
from event_collector.events.event_ids import EventIds
from event_collector.events.gate import Gate
from event_collector.events.orders import make_order
from event_collector_workers.environment import DEFAULT_GROUP


def event(number: int, priority: float = 1000) -> CollectorEvent:
    return CollectorEvent(number, Payload(number), priority)


def nothing(_: Any) -> None:
    """Cancel nothing."""


@given(st.integers(1, 5), st.sampled_from(["wait", "drop_oldest"]), st.lists(st.booleans(), max_size=40))
def test_a_gate_counts_its_places(places: int, overflow: str, steps: list[bool]) -> None:
    """A place is claimed while there is one; a queue that drops lets more in and knows that they are too many."""
    gate, taken = Gate(places, overflow), 0
    for comes in steps:
        if not comes:
            if taken:
                gate.release()
                taken -= 1
        elif gate.drops or taken < places:
            gate.claim()
            taken += 1
        else:
            with pytest.raises(QueueFull):
                gate.claim()
        assert gate.is_overdrawn == (taken > places)
        assert gate.must_wait == (not gate.drops and taken >= places)
        assert gate.room() == (inf if gate.drops else max(0, places - taken))


def test_a_gate_that_refuses_says_so() -> None:
    """After refuse() a sender gets a new QueueShutDown each time; after open() none."""
    gate, error = Gate(0, "wait"), QueueShutDown("over")
    assert repr(gate) == "<Gate open, room for any number>"
    gate.refuse(error)
    assert repr(gate).startswith("<Gate refusing")
    with pytest.raises(QueueShutDown, match="over") as raised:
        gate.check()
    assert raised.value is not error
    gate.open()
    gate.check()


@pytest.mark.parametrize("queue_type", QueueType)
@given(data=st.lists(st.tuples(st.sampled_from(["push", "take", "withdraw"]), st.integers(0, 9)), max_size=60))
def test_a_backlog_loses_no_event(queue_type: QueueType, data: list[tuple[str, int]]) -> None:
    """Whatever is withdrawn meanwhile, events leave in the order of the queue, each once."""
    backlog, here = Backlog(make_order(queue_type), nothing), list[CollectorEvent]()
    for number, (step, choice) in enumerate(data):
        if step == "push":
            here.append(event(number, choice))
            backlog.push(here[-1])
            assert here[-1].place is backlog
        elif here and step == "take":
            key = {QueueType.FIFO: lambda e: e.id, QueueType.LIFO: lambda e: -e.id}.get(
                queue_type, lambda e: (e.priority, e.id)
            )
            expected = min(here, key=key)
            assert backlog.peek() is expected
            assert backlog.take() is expected
            here.remove(expected)
        elif here:
            backlog.withdraw(here.pop(choice % len(here)))
        assert len(backlog) == len(here)
    assert sorted(each.id for each in backlog.take_all()) == [each.id for each in here]
    assert repr(backlog) == "<Backlog 0 events, 0 gaps>"


def test_backlogs_drop_the_least_urgent_event_first() -> None:
    """Of both backlogs the highest priority number goes first, and the oldest of those."""
    backlogs = Backlogs(QueueType.PRIORITY, nothing)
    assert backlogs.least_urgent() is None
    events = [event(1, 5), event(2, 9), event(3, 9)]
    backlogs.here.push(events[0])
    backlogs.of_groups[DEFAULT_GROUP].push(events[2])
    backlogs.here.push(events[1])
    assert backlogs.least_urgent() is events[1]


def test_ids_go_on_above_those_that_are_reserved() -> None:
    """Ids increase by one, never go back, and begin anew after a restart."""
    ids = EventIds()
    assert [ids.next(), ids.next()] == [1, 2]
    ids.reserve(10)
    assert ids.next() == 11
    ids.reserve(5)
    assert ids.next() > 11
    ids.restart()
    assert ids.next() == 1
