"""The consumers of a queue: how many there are, their limits, and the load on them."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from event_collector import Collector, CollectorQueue, Context, Payload, QueueType
from event_collector.queue import Load

BOUND = 10.0


class Gate:
    """A handler that holds every event until it is opened, and counts how many are inside."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.inside = 0
        self.peak = 0

    async def __call__(self, payload: Payload[Any], ctx: Context) -> Any:
        self.inside += 1
        self.peak = max(self.peak, self.inside)
        try:
            await self.opened.wait()
        finally:
            self.inside -= 1
        return payload.value


async def echo(payload: Payload[Any], ctx: Context) -> Any:
    return payload.value


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(BOUND):
        while not condition():
            await asyncio.sleep(0.001)


def queue_of(handler: Any = echo, **options: Any) -> CollectorQueue:
    return CollectorQueue([Collector("a", handler)], logging=False, **options)


@pytest.mark.parametrize(("minimum", "maximum", "started"), [(0, 5, 1), (-3, 5, 1), (4, 2, 4), (0, 1, 1), (3, 3, 3)])
async def test_limits_too_low_are_raised(minimum: int, maximum: int, started: int) -> None:
    """There is at least one consumer, and the maximum is at least the minimum."""
    async with queue_of(min_consumers=minimum, max_consumers=maximum) as queue:
        assert queue.consumer_count() == started
        event = await queue.get_publisher().send(Payload(1))
        assert (await event.wait()).first().unwrap() == 1


@pytest.mark.parametrize(("autoscale", "started"), [(True, 2), (False, 7)])
async def test_the_start_is_at_the_minimum_or_without_autoscaling_at_the_maximum(autoscale: bool, started: int) -> None:
    """A queue that scales starts small; one that does not starts whole."""
    async with queue_of(autoscale=autoscale, min_consumers=2, max_consumers=7) as queue:
        assert queue.consumer_count() == started


async def test_without_autoscaling_the_pool_stays_as_it_is() -> None:
    """Neither a burst nor idleness changes the number of consumers."""
    gate = Gate()
    async with queue_of(gate, autoscale=False, max_consumers=5, avg_load_interval=1.0) as queue:
        for value in range(20):
            await queue.get_publisher().send(Payload(value))
        await until(lambda: gate.inside == 5)
        assert queue.consumer_count() == 5
        gate.opened.set()
        await queue.get_publisher().wait()
        assert queue.consumer_count() == 5
    assert gate.peak == 5


@pytest.mark.parametrize("autoscale", [True, False])
async def test_forty_waiting_events_come_to_run_at_once(autoscale: bool) -> None:
    """While the maximum allows it, no event waits for another."""
    gate = Gate()
    async with queue_of(gate, autoscale=autoscale, max_consumers=100) as queue:
        for value in range(40):
            await queue.get_publisher().send(Payload(value))
        await until(lambda: gate.inside == 40)
        gate.opened.set()


@pytest.mark.parametrize("autoscale", [True, False])
@pytest.mark.parametrize("most", [1, 3, 10, 33])
async def test_never_more_than_the_maximum_are_in_handlers(autoscale: bool, most: int) -> None:
    """The limit is reached and held; the rest waits in the queue."""
    gate = Gate()
    async with queue_of(gate, autoscale=autoscale, min_consumers=1, max_consumers=most) as queue:
        for value in range(50):
            await queue.get_publisher().send(Payload(value))
        await until(lambda: gate.inside == most)
        for _ in range(20):
            await asyncio.sleep(0)
        assert (gate.inside, queue.consumer_count(), queue.current_load().qsize) == (most, most, 50 - most)
        gate.opened.set()
        await queue.get_publisher().wait()
    assert gate.peak == most


async def test_an_idle_pool_shrinks_to_its_minimum() -> None:
    """When the burst is over, the consumers that it needed go."""
    gate = Gate()
    async with queue_of(gate, min_consumers=2, max_consumers=50, avg_load_interval=1.0) as queue:
        for value in range(30):
            await queue.get_publisher().send(Payload(value))
        await until(lambda: gate.inside == 30)
        assert queue.consumer_count() >= 30
        gate.opened.set()
        await queue.get_publisher().wait()
        await until(lambda: queue.consumer_count() == 2)


async def test_current_load_shows_queue_handlers_and_consumers() -> None:
    """The ratio is what has to be done by what can do it: (queued + busy) / consumers."""
    gate = Gate()
    async with queue_of(gate, max_consumers=2) as queue:
        assert queue.current_load() == Load(qsize=0, busy=0, consumers=1)
        for value in range(5):
            await queue.get_publisher().send(Payload(value))
        await until(lambda: gate.inside == 2)
        load = queue.current_load()
        assert (load.qsize, load.busy, load.consumers, load.ratio) == (3, 2, 2, 2.5)
        gate.opened.set()
        await queue.get_publisher().wait()
        await until(lambda: queue.current_load().busy == 0)
        assert queue.current_load().ratio == 0


async def test_the_load_can_be_asked_for_at_any_time() -> None:
    """Before the start and after the end there is no division by no consumer."""
    queue = queue_of()
    await queue.get_publisher().send(Payload(1))
    assert (queue.current_load().qsize, queue.current_load().busy) == (1, 0)
    async with queue:
        pass
    assert (queue.current_load().qsize, queue.current_load().ratio) == (0, 0)


def test_a_load_computes_its_ratio() -> None:
    """Load(qsize, busy, consumers) can be made by hand."""
    assert Load(1, 2, 3).ratio == 1.0
    assert Load(qsize=3, busy=1, consumers=2).ratio == 2.0


async def test_the_limits_can_be_read_back() -> None:
    """What a queue was configured with, after correction, shows in its attributes."""
    queue = queue_of(autoscale=False, min_consumers=0, max_consumers=1, queue_type=QueueType.LIFO)
    assert (queue.autoscale, queue.queue_type) == (False, QueueType.LIFO)
    assert (queue.min_consumers, queue.max_consumers) == (1, 1)
