"""Seconds per event of a no-op handler, under three patterns of sending, through either kind of queue."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from event_collector import EventPublisher, Payload

from .queues import BareQueue, bare_queue, check, running_queue, sizes
from .stopwatch import Stopwatch

__all__ = ["PATTERNS", "pattern", "send_and_await"]


async def _burst(publisher: EventPublisher, events: int) -> list[Any]:
    sent = [await publisher.send(Payload(number)) for number in range(events)]
    return [await event.wait() for event in sent]


async def _one_at_a_time(publisher: EventPublisher, events: int) -> list[Any]:
    return [await (await publisher.send(Payload(number))).wait() for number in range(events)]


async def _senders(publisher: EventPublisher, events: int, senders: int) -> list[Any]:
    results: list[Any] = [None] * events

    async def sender(numbers: Iterable[int]) -> None:
        for number in numbers:
            event = await publisher.send(Payload(number))
            results[number] = await event.wait()

    await asyncio.gather(*(sender(range(first, events, senders)) for first in range(senders)))
    return results


async def _bare_burst(queue: BareQueue, events: int) -> list[int]:
    loop = asyncio.get_running_loop()
    sent = []
    for number in range(events):
        future = loop.create_future()
        queue.put_nowait((number, future))
        sent.append(future)
    return [await future for future in sent]


async def _bare_one_at_a_time(queue: BareQueue, events: int) -> list[int]:
    loop = asyncio.get_running_loop()
    results = []
    for number in range(events):
        future = loop.create_future()
        queue.put_nowait((number, future))
        results.append(await future)
    return results


async def _bare_senders(queue: BareQueue, events: int, senders: int) -> list[int]:
    loop = asyncio.get_running_loop()
    results = [-1] * events

    async def sender(numbers: Iterable[int]) -> None:
        for number in numbers:
            future = loop.create_future()
            queue.put_nowait((number, future))
            results[number] = await future

    await asyncio.gather(*(sender(range(first, events, senders)) for first in range(senders)))
    return results


PATTERNS: dict[str, tuple[Callable[..., Awaitable[list[Any]]], Callable[..., Awaitable[list[int]]], dict[str, int]]]
PATTERNS = {
    "burst": (_burst, _bare_burst, {}),
    "one-at-a-time": (_one_at_a_time, _bare_one_at_a_time, {}),
    "senders-64": (_senders, _bare_senders, {"senders": 64}),
    "senders-1000": (_senders, _bare_senders, {"senders": 1000}),
}
"""For each pattern: how a library is used, how a bare queue is, and what both are told besides."""


async def send_and_await(name: str, publisher: EventPublisher, events: int) -> dict[str, float]:
    """Send so many events, check their results, and return what an event took."""
    through_library, _, more = PATTERNS[name]
    watch = Stopwatch()
    results = await through_library(publisher, events, **more)
    took = watch.per_event(events)
    check([result.first().value for result in results], list(range(events)))
    return took


async def pattern(name: str, events: int, consumers: int, autoscale: bool, bare: bool) -> dict[str, float]:
    """Measure one pattern once, after a hundredth of it for warmth."""
    if not bare:
        async with running_queue(**sizes(autoscale, consumers)) as publisher:
            await send_and_await(name, publisher, max(1, events // 100))
            return await send_and_await(name, publisher, events)
    _, through_queue, more = PATTERNS[name]
    async with bare_queue(consumers) as queue:
        await through_queue(queue, max(1, events // 100), **more)
        watch = Stopwatch()
        results = await through_queue(queue, events, **more)
        took = watch.per_event(events)
    check(results, list(range(events)))
    return took
