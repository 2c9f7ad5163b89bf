"""What happens when a bounded queue is full: senders wait, or events are dropped, and all of it is counted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from event_collector import (
    Collector,
    CollectorEvent,
    CollectorQueue,
    ConfigError,
    Context,
    Delivery,
    EventDropped,
    Payload,
    QueueFull,
    QueueType,
    Retry,
)
from tests.event_collector import sample_attempts as handlers
from tests.event_collector.modes import balanced, balanced_all_along, running, until


class Held:
    """A queue whose one consumer is held up by one event."""

    def __init__(self, queue: CollectorQueue, gate: asyncio.Event) -> None:
        self.queue = queue
        self.publisher = queue.get_publisher()
        self._gate = gate

    def release(self) -> None:
        self._gate.set()


@asynccontextmanager
async def held(**options: Any) -> AsyncIterator[Held]:
    gate = asyncio.Event()

    async def handler(payload: Payload[Any], ctx: Context) -> Any:
        await gate.wait()
        return payload.value

    collector = Collector("c", handler)
    async with running(collector, max_consumers=1, autoscale=False, **options) as queue, balanced_all_along(queue):
        await queue.get_publisher().send(Payload("holds"))
        await until(lambda: queue.accounting().in_handlers == 1, "it has begun")
        yield Held(queue, gate)


async def outcomes(events: list[CollectorEvent]) -> list[Any]:
    """Return the value of each event, or the class of its error."""
    results = [(await event.wait()).first() for event in events]
    return [result.unwrap() if result.ok() else type(result.err) for result in results]  # type: ignore[union-attr]


async def test_senders_wait_first_come_first_served() -> None:
    """Senders get room in the order in which they came, and what they send is processed in that order."""
    async with held(max_queue_size=2) as it:
        order: list[int] = []

        async def send(number: int) -> CollectorEvent:
            event = await it.publisher.send(Payload(number))
            order.append(number)
            return event

        senders = [asyncio.create_task(send(number)) for number in range(20)]
        await asyncio.sleep(0.01)
        assert order == [0, 1]
        with pytest.raises(QueueFull):
            it.publisher.send_nowait(Payload("no"))
        it.release()
        events = [await sender for sender in senders]
        assert order == list(range(20))
        assert await outcomes(events) == list(range(20))
        assert it.queue.dropped == 0


async def test_senders_that_are_cancelled_lose_and_double_nothing() -> None:
    """Cancelling any of the senders that wait, also at the moment of their turn, leaves the others theirs."""
    async with held(max_queue_size=1) as it:
        senders = [asyncio.create_task(it.publisher.send(Payload(number))) for number in range(30)]
        await asyncio.sleep(0)
        for number in range(1, 30, 3):
            senders[number].cancel()
        it.release()
        await asyncio.sleep(0)
        for number in range(2, 30, 6):
            senders[number].cancel()
        done = await asyncio.gather(*senders, return_exceptions=True)
        events = [event for event in done if isinstance(event, CollectorEvent)]
        assert len(events) + sum(isinstance(event, asyncio.CancelledError) for event in done) == 30
        assert it.queue.accounting().accepted == 1 + len(events)
        assert await outcomes(events) == [event.payload.value for event in events]
        it.publisher.send_nowait(Payload("there is room again"))


@pytest.mark.parametrize("bulk", [False, True])
@pytest.mark.parametrize("queue_type", [QueueType.FIFO, QueueType.LIFO])
async def test_the_oldest_is_dropped(queue_type: QueueType, bulk: bool) -> None:
    """With overflow="drop_oldest" nobody waits; the event that has waited longest makes room for each new one."""
    async with held(max_queue_size=3, overflow="drop_oldest", queue_type=queue_type) as it:
        events = await send(it, range(10), bulk=bulk)
        assert [event.is_done() for event in events] == [True] * 7 + [False] * 3
        assert it.queue.accounting().queued == 3
        assert it.queue.dropped == 7
        it.release()
        assert await outcomes(events) == [EventDropped] * 7 + [7, 8, 9]


@pytest.mark.parametrize("bulk", [False, True])
@pytest.mark.parametrize("queue_type", QueueType)
async def test_the_newest_is_dropped(queue_type: QueueType, bulk: bool) -> None:
    """With overflow="drop_newest" a new event that finds the queue full ends at once."""
    async with held(max_queue_size=3, overflow="drop_newest", queue_type=queue_type) as it:
        events = await send(it, range(10), bulk=bulk)
        assert [event.is_done() for event in events] == [False] * 3 + [True] * 7
        assert it.queue.dropped == 7
        it.release()
        assert await outcomes(events) == [0, 1, 2] + [EventDropped] * 7


async def send(it: Held, values: Any, *, bulk: bool) -> list[CollectorEvent]:
    payloads = [Payload(value) for value in values]
    if bulk:
        return await it.publisher.send_many(payloads)
    return [
        it.publisher.send_nowait(payload) if number % 2 else await it.publisher.send(payload)
        for number, payload in enumerate(payloads)
    ]


async def test_the_least_urgent_is_dropped() -> None:
    """In a PRIORITY queue the oldest of the least urgent events makes room, even if that is the new one."""
    async with held(max_queue_size=3, overflow="drop_oldest", queue_type=QueueType.PRIORITY) as it:
        events = [await it.publisher.send(Payload(p, priority=p)) for p in (5, 1, 5, 3, 9, 2)]
        assert [event.is_done() for event in events] == [True, False, True, False, True, False]
        it.release()
        await outcomes(events)


async def test_the_oldest_of_both_lines_is_dropped() -> None:
    """Events for workers and for the event loop share the bound, and the oldest of all makes room."""
    gate = asyncio.Event()

    async def handler(payload: Payload[Any], ctx: Context) -> Any:
        await gate.wait()
        return payload.value

    collectors = [Collector("c", handler, topics=["c"]), Collector("p", handlers.echo, topics=["p"])]
    async with (
        running(*collectors, max_consumers=1, autoscale=False, max_queue_size=2, overflow="drop_oldest") as queue,
        balanced_all_along(queue),
    ):
        publisher = queue.get_publisher()
        events = [await publisher.send(Payload(0, Delivery.TOPIC, topics=["c"]))]
        await until(lambda: queue.accounting().in_handlers == 1, "it has begun")
        for n, topic in enumerate("cpcpcc", 1):
            events.append(await publisher.send(Payload(n, Delivery.TOPIC, topics=[topic])))
        assert queue.accounting().queued <= 2
        gate.set()
        values = await outcomes(events)
        assert values.count(EventDropped) == queue.dropped == 4
        assert values[0] == 0
        assert values[-2:] == [5, 6]


async def test_events_that_wait_for_another_attempt_hold_their_places() -> None:
    """The bound covers them: a queue whose handler keeps failing does not grow."""
    policy = Retry(max_attempts=2, backoff=60.0, jitter=0.0)
    async with (
        running(Collector("c", handlers.succeed_at_async, retry=policy), max_queue_size=3, max_consumers=1) as queue,
        balanced_all_along(queue),
    ):
        publisher = queue.get_publisher()
        events = [await publisher.send(Payload([2, "refuse"])) for _ in range(3)]
        await until(lambda: queue.accounting().scheduled == 3, "all are scheduled")
        with pytest.raises(QueueFull):
            publisher.send_nowait(Payload([1, "refuse"]))
        sender = asyncio.create_task(publisher.send(Payload([1, "refuse"])))
        await asyncio.sleep(0)
        assert not sender.done()
        assert events[0].cancel()
        assert (await (await sender).wait()).first().ok()
        await queue.shut_down_queue()
        assert await outcomes(events[1:]) == [[2, "ConnectionError: attempt 1"]] * 2


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
async def test_a_handler_that_keeps_failing_does_not_fill_the_memory(overflow: str) -> None:
    """Where events between two attempts fill the queue, new ones are dropped, though a consumer is free for them."""
    policy = Retry(max_attempts=2, backoff=60.0, jitter=0.0)
    async with (
        running(Collector("c", handlers.succeed_at_async, retry=policy), max_queue_size=3, overflow=overflow) as queue,
        balanced_all_along(queue),
    ):
        for _ in range(20):
            await queue.get_publisher().send(Payload([2, "refuse"]))
            await until(lambda: queue.accounting()[2:4] == (0, 0), "it has its turn")
        assert queue.accounting().scheduled == 3
        assert queue.dropped == 17
        await queue.shut_down_queue()


async def test_dropped_events_do_not_overtake_the_counts() -> None:
    """A storm of senders, cancellations and drops leaves the bound exactly where it was."""
    async with held(max_queue_size=5, overflow="drop_oldest") as it:
        for round_ in range(50):
            events = [it.publisher.send_nowait(Payload(n)) for n in range(8)]
            for event in events[round_ % 3 :: 2]:
                event.cancel()
            balanced(it.queue)
            assert it.queue.accounting().queued <= 5
        before = it.queue.dropped
        live = it.queue.accounting().queued
        for _ in range(5 - live):
            it.publisher.send_nowait(Payload("fits"))
        assert it.queue.dropped == before
        it.publisher.send_nowait(Payload("does not"))
        assert it.queue.dropped == before + 1
        it.release()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overflow": "drop"}, "overflow is one of"),
        ({"overflow": "drop_oldest"}, "needs a bound"),
        ({"overflow": "drop_newest", "max_queue_size": 0}, "needs a bound"),
        ({"max_dead_letters": "many"}, "max_dead_letters takes a number"),
    ],
)
def test_bad_settings_are_refused(options: dict[str, Any], message: str) -> None:
    """A policy that does not exist, or that has no bound to act at, is refused."""
    with pytest.raises(ConfigError, match=message):
        CollectorQueue([Collector("c", handlers.echo_async)], logging=False, **options)
