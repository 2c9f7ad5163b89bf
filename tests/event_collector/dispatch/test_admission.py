"""Admission: which events end before they are queued, and which make room."""

import pytest

from event_collector import CollectorEvent, DeadlineExceeded, EventDropped, QueueType
from event_collector.dispatch.admission import Admission
from tests.event_collector.dispatch.parts import Parts, results_of


def admission(parts: Parts) -> Admission:
    return Admission(parts.gate, parts.backlogs, parts.retries, parts.totals, parts.ending)


def full(overflow: str, order: QueueType = QueueType.FIFO) -> tuple[Parts, list[CollectorEvent]]:
    """Return the parts of a queue whose two places are taken, and the events in them."""
    parts = Parts(2, overflow, order)
    events = [parts.event(number) for number in (1, 2)]
    for event in events:
        parts.backlogs.here.push(event)
    return parts, events


def test_an_event_whose_deadline_has_passed_ends_at_once() -> None:
    """Its place in the queue is free again."""
    parts = Parts(1)
    late = parts.event(deadline=parts.now)
    assert admission(parts).turns_away(late)
    assert isinstance(results_of(late).first().err, DeadlineExceeded)
    assert parts.gate.room() == 1
    assert parts.totals.unfinished == 0


def test_a_deadline_to_come_is_watched() -> None:
    """And ends of events need a decision from then on."""
    parts = Parts()
    parts.follow()
    assert parts.ending.is_plain
    event = parts.event(deadline=parts.now + 1)
    assert not admission(parts).turns_away(event)
    assert not event.is_done()
    assert parts.retries.is_needed
    assert not parts.ending.is_plain


def test_no_event_is_dropped_while_there_is_room() -> None:
    """The last place is a place."""
    parts = Parts(1, "drop_oldest")
    assert not admission(parts).turns_away(parts.event())
    assert parts.totals.dropped == 0


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
def test_one_event_makes_room(overflow: str) -> None:
    """The oldest of those that wait, or the new one."""
    parts, waiting = full(overflow)
    newest = parts.event(3)
    is_newest = overflow == "drop_newest"
    assert admission(parts).turns_away(newest) is is_newest
    dropped = newest if is_newest else waiting[0]
    assert isinstance(results_of(dropped).first().err, EventDropped)
    assert [event.is_done() for event in (*waiting, newest)].count(True) == 1
    assert parts.totals.dropped == 1
    assert not parts.gate.is_overdrawn
    assert len(parts.backlogs) == (2 if is_newest else 1)


def test_the_new_event_goes_if_it_is_the_least_urgent() -> None:
    """An event of a higher priority number makes no room in a PRIORITY queue."""
    parts, waiting = full("drop_oldest", QueueType.PRIORITY)
    newest = parts.event(3, priority=2000)
    assert admission(parts).turns_away(newest)
    assert newest.is_done()
    assert not any(event.is_done() for event in waiting)


def test_the_new_event_goes_if_no_other_waits() -> None:
    """Where events between two attempts fill the queue, none of them can make room."""
    parts = Parts(1, "drop_oldest")
    parts.gate.take()
    newest = parts.event(2)
    assert admission(parts).turns_away(newest)
    assert newest.is_done()


def test_an_event_from_an_earlier_program_drops_none() -> None:
    """It was accepted before."""
    parts, waiting = full("drop_oldest")
    assert not admission(parts).turns_away(parts.event(3), may_drop=False)
    assert not any(event.is_done() for event in waiting)
