"""The end of attempts and of events: counts, times, permits and places, and what may raise without harm."""

import asyncio
from typing import Any

import pytest

from event_collector import Collector, CollectorEvent, Error, EventCancelled, Ok, ResultList, Retry
from event_collector.values.clock import clock
from event_collector.watching.collector_times import keep_times
from tests.event_collector.dispatch.parts import Parts, StillTime, handle, results_of

pytestmark = pytest.mark.anyio

AGAIN = Collector("a", handle, retry=Retry(max_attempts=2, backoff=5.0, jitter=0.0))


def failed() -> ResultList:
    return ResultList([Error(ConnectionError("refused"), key="a")])


def is_balanced(parts: Parts) -> bool:
    return (parts.permits.busy, parts.totals.unfinished, len(parts.backlogs), len(parts.retries)) == (0, 0, 0, 0)


@pytest.mark.parametrize("is_plain", [True, False])
async def test_an_event_ends_with_its_handler(is_plain: bool) -> None:
    """Permit and place are given back, times are noted, waiters are woken; also where ends need a decision."""
    parts = Parts()
    parts.follow()
    if not is_plain:
        parts.ending.note_deadline()
    event, results = parts.begun(), ResultList([Ok(1, key="a")])
    waiting = asyncio.create_task(event.wait())
    await asyncio.sleep(0)
    parts.ending.ended(event, results)
    assert await waiting is results
    assert event.place is None
    assert is_balanced(parts)
    assert len(parts.totals.service_times) == len(parts.totals.wait_times) == 1


@pytest.mark.parametrize("is_plain", [True, False])
async def test_events_of_workers_end_together(is_plain: bool) -> None:
    """Each with its own result and time in the handler; failures are counted."""
    parts = Parts()
    usage = parts.follow()["a"].usage
    if not is_plain:
        parts.ending.note_deadline()
    events = [parts.begun(number) for number in range(3)]
    outcomes: list[Any] = [Ok(0, key="a"), Error(ValueError("1"), key="a"), Ok(2, key="a")]
    with clock.using(StillTime()):
        parts.ending.ended_many(list(zip(events, outcomes, (0.5, 1.0, 1.5), strict=True)))
    assert [results_of(event) for event in events] == [[outcome] for outcome in outcomes]
    assert usage.errors == 1
    assert is_balanced(parts)
    assert list(parts.totals.service_times) == pytest.approx([0.5, 1.0, 1.5])
    assert [event.service_time() for event in events] == pytest.approx([0.5e9, 1.0e9, 1.5e9])


async def test_an_event_that_is_tried_again_has_not_ended() -> None:
    """It takes a place in the queue again, and moves to the schedule; its permit is free."""
    parts = Parts(1)
    parts.follow(AGAIN, loop=asyncio.get_running_loop())
    event = parts.begun()
    parts.ending.ended(event, failed())
    assert not event.is_done()
    assert event.place is parts.retries
    assert event.started == 0
    assert (parts.permits.busy, len(parts.retries), parts.totals.unfinished) == (0, 1, 1)
    assert parts.gate.room() == 0
    parts.retries.close()


@pytest.mark.parametrize("place", ["here", "remote", "scheduled"])
async def test_a_cancelled_event_that_waits_ends_at_once(place: str) -> None:
    """Wherever it waits, it leaves that place, and the place in the queue is free."""
    parts = Parts(1)
    parts.follow(AGAIN, loop=asyncio.get_running_loop())
    if place == "scheduled":
        event = parts.begun()
        parts.ending.ended(event, failed())
    else:
        event = parts.event()
        backlogs = parts.backlogs
        (backlogs.here if place == "here" else backlogs.of_groups["default"]).push(event)
    assert parts.ending.is_waiting(event)
    assert event.cancel()
    assert isinstance(results_of(event).first().err, EventCancelled)
    assert not parts.ending.is_waiting(event)
    assert is_balanced(parts)
    assert parts.gate.room() == 1
    parts.retries.close()


async def test_the_record_is_told_of_each_end_but_not_of_those_to_come_again() -> None:
    """A record that raises changes nothing: the event has ended."""
    parts, told = Parts(), list[CollectorEvent]()
    parts.follow()

    def record(event: CollectorEvent) -> None:
        told.append(event)
        raise OSError("disk full")

    parts.ending.tell_of_finished(record)
    events = [parts.event(number) for number in (1, 2)]
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda *_: None)
    try:
        parts.ending.conclude(events[0], ResultList())
        parts.ending.conclude(events[1], ResultList(), on_record=False)
        await asyncio.sleep(0)
    finally:
        loop.set_exception_handler(before)
    assert all(event.is_done() for event in events)
    assert told == events[:1]


async def test_times_by_collector_go_to_those_that_answered() -> None:
    """With several collectors an end is not plain."""
    parts = Parts()
    several = [Collector("a", handle), Collector("b", handle)]
    parts.totals.keep_waits(keep_times(several, 5))
    parts.follow(*several)
    assert not parts.ending.is_plain
    parts.ending.ended(parts.begun(), ResultList([Ok(1, key="b")]))
    assert [len(one.usage.waits or ()) for one in several] == [0, 1]
