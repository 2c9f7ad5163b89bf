"""The counts and times of a queue's events, and those who wait for the last of them."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from event_collector.dispatch.totals import Totals
from event_collector.events.event import CollectorEvent
from event_collector.values.payload import Payload
from event_collector.values.results import Ok, ResultList
from tests.event_collector.modes import BOUND

pytestmark = pytest.mark.anyio


def totals_of(accepted: int) -> Totals:
    meter: Any = SimpleNamespace(service_times=[], wait_times=[])
    totals = Totals(meter)
    for _ in range(accepted):
        totals.accept()
    return totals


def event_at(created: float, started: float) -> CollectorEvent:
    event = CollectorEvent(1, Payload(None), 0, created)
    event.begin(started)
    return event


def test_an_attempt_adds_its_times() -> None:
    """Seconds in the handler, and seconds from sending to the end, one of each for an attempt."""
    totals = totals_of(2)
    totals.note_attempt(event_at(10.0, 12.0), 15.0)
    totals.note_attempt(event_at(10.0, 10.5), 11.0)
    assert list(totals.service_times) == [3.0, 0.5]
    assert list(totals.wait_times) == [5.0, 1.0]
    assert totals.service_total == 3.5
    assert totals.unfinished == 2  # an attempt is not the end of an event


async def test_a_finished_event_is_in_no_place_and_has_its_results() -> None:
    totals, event, results = totals_of(1), event_at(0.0, 0.0), ResultList([Ok(7)])
    totals.finish(event, results)
    assert (totals.finished, totals.unfinished) == (1, 0)
    assert event.place is None
    assert await event.wait() == results


def test_waits_go_to_the_collectors_that_answered() -> None:
    """What a router has answered instead of results of these collectors counts for none of them."""
    waited: dict[str, list[float]] = {"a": [], "b": []}
    totals = totals_of(0)
    usages: Any = {key: SimpleNamespace(waited=times.append) for key, times in waited.items()}
    totals.keep_waits(usages)
    strange: Any = [Ok(1, key="a"), "no result", Ok(2, key="c")]
    totals.note_waits(strange, 2.5)
    assert waited == {"a": [2.5], "b": []}


async def test_join_ends_with_the_last_event() -> None:
    """And not before it, for all who wait; one who gives up leaves nothing behind."""
    totals = totals_of(2)
    joining = [asyncio.create_task(totals.join()) for _ in range(3)]
    await asyncio.sleep(0)
    totals.finish(event_at(0.0, 0.0), ResultList())
    await asyncio.sleep(0)
    assert [task.done() for task in joining] == [False] * 3
    joining[0].cancel()
    await asyncio.sleep(0)
    assert len(totals.joiners) == 2
    totals.finish(event_at(0.0, 0.0), ResultList())
    async with asyncio.timeout(BOUND):
        await asyncio.gather(*joining[1:])
        await totals.join()  # nothing is unfinished
    assert not totals.joiners
