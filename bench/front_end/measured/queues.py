"""The two kinds of queue that are compared: a CollectorQueue of either library, and a bare asyncio.Queue."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

from event_collector import Collector, CollectorQueue, EventPublisher, Ok, Payload, QueueType

__all__ = ["BareQueue", "Handler", "WrongResultsError", "bare_queue", "check", "no_op", "running_queue", "sizes"]

Handler: TypeAlias = Callable[[Payload, Any], Awaitable[Any]]
BareQueue: TypeAlias = "asyncio.Queue[tuple[int, asyncio.Future[int]]]"


class WrongResultsError(Exception):
    """The results of the events are not what they must be: the time they took means nothing."""


def check(found: object, expected: object) -> None:
    """Raise WrongResultsError unless both are equal."""
    if found != expected:
        raise WrongResultsError(f"expected {str(expected)[:200]}, found {str(found)[:200]}")


async def no_op(payload: Payload, _ctx: Any) -> Ok:
    return Ok(payload.value)


def sizes(autoscale: bool, consumers: int) -> dict[str, Any]:
    """Return the settings of an autoscaled queue as it comes, or of one with so many consumers."""
    return {} if autoscale else {"autoscale": False, "max_consumers": consumers}


@contextlib.asynccontextmanager
async def running_queue(
    handler: Handler = no_op, queue_type: str = "FIFO", **settings: Any
) -> AsyncIterator[EventPublisher]:
    """Run a CollectorQueue with one collector."""
    queue = CollectorQueue(
        [Collector("measured", handler)], queue_type=QueueType[queue_type], logging=False, **settings
    )
    await queue.init_queue()
    try:
        yield queue.get_publisher()
    finally:
        await queue.shut_down_queue()


async def _bare_no_op(value: int) -> int:
    return value


async def _work(queue: BareQueue) -> None:
    while True:
        value, future = await queue.get()
        result = await _bare_no_op(value)
        if not future.done():
            future.set_result(result)


@contextlib.asynccontextmanager
async def bare_queue(workers: int) -> AsyncIterator[BareQueue]:
    """Run an asyncio.Queue with worker tasks: no payload, no Result, no error handling, no counts."""
    queue: BareQueue = asyncio.Queue()
    tasks = [asyncio.create_task(_work(queue)) for _ in range(workers)]
    try:
        yield queue
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
