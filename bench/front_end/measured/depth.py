"""Seconds and bytes that an event costs when many wait before it."""

import asyncio
import random
import tracemalloc
from typing import Any

from event_collector import EventPublisher, Ok, Payload

from .queues import check, running_queue
from .stopwatch import Stopwatch

__all__ = ["depth", "memory"]

LEAST_EVENTS = 100_000
"""Shallow queues are filled and drained again until so many events have passed."""


class Gate:
    """A handler whose first event keeps the only consumer until the gate opens; the others note their value."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.closed = asyncio.Event()
        self.seen: list[int] = []

    async def __call__(self, payload: Payload, _ctx: Any) -> Ok:
        if payload.value is None:
            self.closed.set()
            await self.open.wait()
        else:
            self.seen.append(payload.value)
        return Ok(None)

    async def close(self, publisher: EventPublisher) -> None:
        """Keep the consumer from taking more events."""
        self.open.clear()
        self.closed.clear()
        self.seen = []
        await publisher.send(Payload(None))
        await self.closed.wait()


def _priorities(queue_type: str, distinct: int, count: int) -> list[int | None]:
    if queue_type != "PRIORITY":
        return [None] * count
    return random.Random(count).choices(range(distinct), k=count)


def _order(queue_type: str, priorities: list[Any]) -> list[int]:
    numbers = list(range(len(priorities)))
    if queue_type == "PRIORITY":
        return sorted(numbers, key=priorities.__getitem__)
    return numbers[::-1] if queue_type == "LIFO" else numbers


async def depth(queue_type: str, count: int, distinct: int) -> dict[str, float]:
    """Fill a queue with `count` events, drain it, check the order, and return what an event took."""
    priorities = _priorities(queue_type, distinct, count)
    expected = _order(queue_type, priorities)
    gate, total = Gate(), {"seconds": 0.0, "cpu seconds": 0.0}
    repetitions = max(1, LEAST_EVENTS // count)
    async with running_queue(gate.__call__, queue_type, autoscale=False, max_consumers=1) as publisher:
        for _ in range(repetitions):
            await gate.close(publisher)
            watch = Stopwatch()
            for number, priority in enumerate(priorities):
                await publisher.send(Payload(number, priority=priority))
            gate.open.set()
            await publisher.wait()
            for figure, seconds in watch.per_event(repetitions * count).items():
                total[figure] += seconds
            check(gate.seen, expected)
    return total


async def memory(count: int) -> dict[str, float]:
    """Return the bytes that a queued event and its payload take, without the value that is sent."""
    gate = Gate()
    values = list(range(count))
    async with running_queue(gate.__call__, autoscale=False, max_consumers=1) as publisher:
        await gate.close(publisher)
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        for value in values:
            await publisher.send(Payload(value))
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        gate.open.set()
        await publisher.wait()
    check(gate.seen, values)
    return {"bytes": (after - before) / count}
