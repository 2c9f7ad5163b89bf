"""A handler that waits, as the place of its event."""

import asyncio

import pytest

from event_collector import CollectorEvent, EventCancelled, Payload
from event_collector.tiers.coroutines.running_handler import RunningHandler

pytestmark = pytest.mark.anyio


def running(event: CollectorEvent) -> RunningHandler:
    return RunningHandler(asyncio.create_task(asyncio.sleep(3600)), event)


async def test_it_is_the_place_of_its_event() -> None:
    handler = running(event := CollectorEvent(5, Payload(None)))
    assert event.place is handler
    assert repr(handler) == "<RunningHandler event=5 error=None>"
    assert handler.task.cancelling() == 0
    handler.task.cancel()


async def test_cancelling_the_event_cancels_the_task_once() -> None:
    """The handler may go on after that; a second call must not disturb its cleanup."""
    handler = running(event := CollectorEvent(5, Payload(None)))
    assert event.cancel()
    assert event.cancel()
    assert handler.task.cancelling() == 1
    assert isinstance(handler.error, EventCancelled)


async def test_an_event_that_was_cancelled_in_its_first_step_is_cancelled_here() -> None:
    event = CollectorEvent(5, Payload(None))
    event.note_cancelled()
    handler = running(event)
    assert handler.task.cancelling() == 1
    assert isinstance(handler.error, EventCancelled)


async def test_the_end_of_a_queue_cancels_with_its_own_error() -> None:
    handler, error = running(CollectorEvent(5, Payload(None))), RuntimeError("over")
    handler.cancel_with(error)
    assert handler.error is error
    with pytest.raises(asyncio.CancelledError):
        await handler.task
