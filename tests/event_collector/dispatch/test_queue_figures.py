"""The figures of a queue: sizes of the places, read from those who own them."""

import asyncio

import pytest

from event_collector import Collector, DeadLetter, Error, Ok, Payload, ResultList, Retry
from event_collector.dispatch.queue_figures import Figures
from event_collector_workers.environment import DEFAULT_GROUP
from tests.event_collector.dispatch.parts import Parts, handle

pytestmark = pytest.mark.anyio


async def test_each_event_is_counted_in_one_place() -> None:
    """Accepted events are finished, in handlers, queued, scheduled or dead, whatever has become of each."""
    parts = Parts()
    figures = Figures(parts.totals, parts.permits, parts.backlogs, parts.retries, parts.chunks)
    parts.follow(Collector("a", handle, retry=Retry(2, 5.0)), loop=asyncio.get_running_loop())
    failed = ResultList([Error(ConnectionError("refused"), key="a")])
    parts.ending.ended(parts.begun(1), ResultList([Ok(1, key="a")]))
    parts.ending.ended(parts.begun(2), failed)
    parts.begun(3)
    parts.begun(4)
    for number in (5, 6, 7):
        parts.backlogs.here.push(parts.event(number))
    for number in (8, 9, 10, 11):
        parts.backlogs.of_groups[DEFAULT_GROUP].push(parts.event(number))
    assert figures.accounting() == (11, 1, 2, 7, 1, 0)
    assert (figures.qsize, figures.ready_remote, figures.busy, figures.active) == (7, 4, 2, 9)
    assert (figures.unfinished, figures.attempts, figures.size) == (10, 2, 9)
    assert figures.counts() == (11, 1, 7, 2, 9)
    assert figures.service_total == parts.totals.service_total
    parts.retries.close()


async def test_an_event_that_has_failed_for_good_is_dead() -> None:
    """It has its results, and does not count as finished. Letters of an earlier program count as accepted and dead."""
    parts = Parts()
    figures = Figures(parts.totals, parts.permits, parts.backlogs, parts.retries, parts.chunks)
    parts.follow(Collector("a", handle, retry=Retry(1)), loop=asyncio.get_running_loop())
    event = parts.begun(1)
    parts.ending.ended(event, ResultList([Error(ConnectionError("refused"), key="a")]))
    assert event.is_done()
    assert figures.accounting() == (1, 0, 0, 0, 0, 1)
    parts.letters.restore(DeadLetter(99, "a", Payload(1), 1, "limit", "an error", "", 0.0))
    assert figures.accounting() == (2, 0, 0, 0, 0, 2)
    parts.totals.drop()
    assert figures.dropped == 1
    parts.retries.close()
