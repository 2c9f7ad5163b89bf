"""Seconds per event of the bulk forms of sending and waiting, and of the loops they replace."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from event_collector import CollectorEvent, EventPublisher, Ok, Payload

from .queues import check, no_op, running_queue, sizes
from .stopwatch import Stopwatch

__all__ = ["sending", "waiting"]


async def _suspend(payload: Payload, _ctx: Any) -> Ok:
    await asyncio.sleep(0)
    return Ok(payload.value)


async def _send_many(publisher: EventPublisher, events: int) -> list[CollectorEvent]:
    return await publisher.send_many([Payload(number) for number in range(events)])


async def _send(publisher: EventPublisher, events: int) -> list[CollectorEvent]:
    return [await publisher.send(Payload(number)) for number in range(events)]


async def _send_nowait(publisher: EventPublisher, events: int) -> list[CollectorEvent]:
    return [publisher.send_nowait(Payload(number)) for number in range(events)]


async def _as_completed(publisher: EventPublisher, sent: list[CollectorEvent]) -> list[Any]:
    return [event.get_result() async for event in publisher.as_completed(sent)]


async def _wait(_publisher: EventPublisher, sent: list[CollectorEvent]) -> list[Any]:
    return [await event.wait() for event in sent]


async def _asyncio_as_completed(_publisher: EventPublisher, sent: list[CollectorEvent]) -> list[Any]:
    return [await done for done in asyncio.as_completed([event.wait() for event in sent])]


_SENDING: dict[str, Callable[[EventPublisher, int], Awaitable[list[CollectorEvent]]]] = {
    "send_many": _send_many,
    "send": _send,
    "send_nowait": _send_nowait,
}
_WAITING: dict[str, Callable[[EventPublisher, list[CollectorEvent]], Awaitable[list[Any]]]] = {
    "as_completed": _as_completed,
    "wait": _wait,
    "asyncio.as_completed": _asyncio_as_completed,
}


async def sending(form: str, events: int, autoscale: bool) -> dict[str, float]:
    """Send no-op events in one form, wait for all, and return what an event took."""
    async with running_queue(no_op, **sizes(autoscale, 64)) as publisher:
        watch = Stopwatch()
        sent = await _SENDING[form](publisher, events)
        await publisher.wait()
        took = watch.per_event(events)
    check([(await event.wait()).first().value for event in sent], list(range(events)))
    return took


async def waiting(form: str, events: int, autoscale: bool) -> dict[str, float]:
    """Wait in one form for events whose handlers suspend once; return what an event took, sent and awaited."""
    async with running_queue(_suspend, **sizes(autoscale, 64)) as publisher:
        watch = Stopwatch()
        sent = await _send(publisher, events)
        results = await _WAITING[form](publisher, sent)
        took = watch.per_event(events)
    check(sorted(result.first().value for result in results), list(range(events)))
    return took
