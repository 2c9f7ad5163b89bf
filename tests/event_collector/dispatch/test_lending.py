"""Handlers that wait for events of their own queue: they never hold all its places for ever."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from event_collector import (
    Collector,
    CollectorEvent,
    CollectorQueue,
    ConfigError,
    Context,
    Delivery,
    Payload,
    QueueType,
    Retry,
)
from tests.event_collector.modes import until

BOUND = 30.0

Handler = Callable[[Payload[int], Context], Coroutine[Any, Any, int]]


def to(key: str, value: int = 1) -> Payload[int]:
    return Payload(value, Delivery.KEY, keys=[key])


async def ask(ctx: Context) -> int:
    event = await ctx.publisher.send(to("inner"))
    return int((await event.wait()).first().unwrap())


async def one(_payload: Payload[int], ctx: Context) -> int:
    return await ask(ctx)


async def several_at_once(_payload: Payload[int], ctx: Context) -> int:
    return sum(await asyncio.gather(*[ask(ctx) for _ in range(3)])) - 4


async def in_a_group(_payload: Payload[int], ctx: Context) -> int:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(asyncio.wait_for(ask(ctx), BOUND))
    return task.result()


async def as_they_end(_payload: Payload[int], ctx: Context) -> int:
    events = await ctx.publisher.send_many([to("inner") for _ in range(4)])
    return len([event async for event in ctx.publisher.as_completed(events)]) - 2


async def from_a_thread(_payload: Payload[int], ctx: Context) -> int:
    loop = asyncio.get_running_loop()
    return await asyncio.to_thread(lambda: asyncio.run_coroutine_threadsafe(ask(ctx), loop).result(BOUND))


async def sends_only(_payload: Payload[int], ctx: Context) -> int:
    for _ in range(5):
        await ctx.publisher.send(to("inner"))
    return 2


async def double(payload: Payload[int], _ctx: Context) -> int:
    await asyncio.sleep(0)
    return 2 * payload.value


def double_in_a_worker(value: int) -> int:
    return 2 * value


async def double_at_the_second_attempt(payload: Payload[int], _ctx: Context) -> int:
    if payload.attempt == 1:
        raise ConnectionError
    return 2 * payload.value


@asynccontextmanager
async def nested(outer: Handler, inner: Any = double, retry: Retry | None = None, **options: Any) -> AsyncIterator[Any]:
    ctx = Context()
    collectors = [Collector("outer", outer, ctx=ctx), Collector("inner", inner, retry=retry)]
    queue = CollectorQueue(collectors, logging=False, consumer_shutdown_timeout=1, **options)
    async with asyncio.timeout(BOUND), queue:
        ctx["publisher"] = queue.get_publisher()
        yield queue
        await queue.get_publisher().wait()
        permits = queue._dispatcher.permits
        assert (permits.busy, permits.lent, len(queue._dispatcher.gate.waits)) == (0, 0, 0)


async def send_and_wait(queue: CollectorQueue, count: int = 8) -> list[int]:
    async def send() -> int:
        return int((await (await queue.get_publisher().send(to("outer"))).wait()).first().unwrap())

    return list(await asyncio.gather(*[send() for _ in range(count)]))


@pytest.mark.parametrize("outer", [one, several_at_once, in_a_group, as_they_end, from_a_thread, sends_only])
@pytest.mark.parametrize(
    "options",
    [
        {"max_consumers": 1},
        {"max_consumers": 2, "max_queue_size": 1},
        {"max_consumers": 3, "max_queue_size": 4, "queue_type": QueueType.PRIORITY},
        {"max_consumers": 2, "autoscale": False, "queue_type": QueueType.LIFO},
    ],
    ids=str,
)
async def test_handlers_may_wait_for_events_of_their_queue(outer: Handler, options: dict[str, Any]) -> None:
    """More such handlers than places, in whatever way they wait, for results or for room: all events end."""
    async with nested(outer, **options) as queue:
        assert await send_and_wait(queue) == [2] * 8


@pytest.mark.parametrize("options", [{}, {"max_queue_size": 1}], ids=str)
async def test_what_they_wait_for_may_be_in_a_worker(options: dict[str, Any]) -> None:
    """The place of a handler is lent to an event for a worker process, too."""
    async with nested(as_they_end, double_in_a_worker, max_consumers=1, max_workers=1, **options) as queue:
        assert await send_and_wait(queue) == [2] * 8


async def test_what_they_wait_for_may_need_several_attempts() -> None:
    """An event that waits for its next attempt gets a place for that, too."""
    async with nested(one, double_at_the_second_attempt, Retry(2, backoff=0.01), max_consumers=1) as queue:
        assert await send_and_wait(queue) == [2] * 8


async def test_what_they_wait_for_may_be_on_record(tmp_path: Path) -> None:
    """An event that runs ahead of its turn is finished in the journal, like any other."""
    for _ in range(2):  # the second run would find what the first has left
        async with nested(one, max_consumers=1, max_queue_size=2, journal=tmp_path / "journal") as queue:
            assert queue.accounting().accepted == 0
            assert await send_and_wait(queue) == [2] * 8


async def test_a_handler_may_call_itself_deeper_than_there_are_places() -> None:
    """Each event waits for the next one."""

    async def count_down(payload: Payload[int], ctx: Context) -> int:
        if payload.value == 0:
            return 0
        event = await ctx.publisher.send(to("outer", payload.value - 1))
        return 1 + int((await event.wait()).first().unwrap())

    async with nested(count_down, max_consumers=2) as queue:
        event = await queue.get_publisher().send(to("outer", 50))
        assert (await event.wait()).first().unwrap() == 50


async def test_no_more_handlers_than_places_do_something() -> None:
    """A place is lent only while its handler waits."""
    active = most = 0

    async def work() -> None:
        nonlocal active, most
        active += 1
        most = max(most, active)
        await asyncio.sleep(0.001)
        active -= 1

    async def outer(payload: Payload[int], ctx: Context) -> int:
        await work()
        outcome = await one(payload, ctx)
        await work()
        return outcome

    async def inner(payload: Payload[int], _ctx: Context) -> int:
        await work()
        return 2 * payload.value

    async with nested(outer, inner, max_consumers=2) as queue:
        assert await send_and_wait(queue, 20) == [2] * 20
    assert most == 2


async def test_nothing_is_lent_while_a_handler_does_something_else() -> None:
    """The events keep their order then: what a handler waits for has its turn after those before it."""
    release, begun = asyncio.Event(), asyncio.Event()
    sent: list[CollectorEvent] = []

    async def outer(payload: Payload[int], ctx: Context) -> int:
        if payload.value == 0:
            begun.set()
            await release.wait()
            return 2
        sent.append(await ctx.publisher.send(to("inner")))
        return int((await sent[0].wait()).first().unwrap())

    async with nested(outer, max_consumers=2) as queue:
        busy = await queue.get_publisher().send(to("outer", 0))
        await begun.wait()
        waiting = await queue.get_publisher().send(to("outer", 1))
        await until(lambda: len(sent) == 1, "it has sent an event")
        for _ in range(20):
            await asyncio.sleep(0)
        assert (queue.accounting().in_handlers, queue.accounting().queued) == (2, 1)
        release.set()
        assert [(await event.wait()).first().unwrap() for event in (busy, waiting)] == [2, 2]


async def test_a_task_that_outlives_its_handler_lends_nothing() -> None:
    """Its wait holds no place."""
    left: list[asyncio.Task[int]] = []
    go, begun, release = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def ask_later(ctx: Context) -> int:
        await go.wait()
        return await ask(ctx)

    async def outer(payload: Payload[int], ctx: Context) -> int:
        if payload.value == 1:
            left.append(asyncio.create_task(ask_later(ctx)))
        else:
            begun.set()
            await release.wait()
        return 2

    async with nested(outer, max_consumers=1) as queue:
        publisher = queue.get_publisher()
        await (await publisher.send(to("outer", 1))).wait()
        await publisher.send(to("outer", 0))
        await begun.wait()
        go.set()
        await until(lambda: queue.accounting().queued == 1, "the task has sent an event")
        for _ in range(20):
            await asyncio.sleep(0)
        assert (queue.accounting().in_handlers, queue.accounting().queued) == (1, 1)
        release.set()
        assert await left[0] == 2


async def test_a_handler_that_waits_for_its_own_event_is_told() -> None:
    """It would wait for ever. A task that it leaves behind may wait, as may others."""
    events: list[CollectorEvent] = []
    left: list[asyncio.Task[Any]] = []

    async def handler(_payload: Payload[int], _ctx: Context) -> int:
        await asyncio.sleep(0)
        for wait in (events[0].wait, events[0].value, publisher.wait):
            with pytest.raises(ConfigError, match=rf"the handler of event {events[0].id} would wait for its own event"):
                await wait()
        left.extend((asyncio.create_task(events[0].value()), asyncio.create_task(publisher.wait())))
        return 7

    async with asyncio.timeout(BOUND), CollectorQueue([Collector("c", handler)], logging=False) as queue:
        publisher = queue.get_publisher()
        events.append(await publisher.send(Payload(1)))
        assert await events[0].value() == 7
        assert await left[0] == 7
        await left[1]


@pytest.mark.parametrize("hops", [2, 5])
async def test_handlers_of_two_queues_may_wait_for_each_other(hops: int) -> None:
    """Each queue has one place, and its handler waits for an event of the other one, there and back."""
    queues: list[CollectorQueue] = []

    async def hop(left: int) -> int:
        if left == 0:
            return 0
        event = await queues[left % 2].send(left - 1)
        return 1 + int(await event.value())

    queues += [CollectorQueue([Collector("hop", hop)], max_consumers=1, logging=False) for _ in range(2)]
    async with asyncio.timeout(BOUND), queues[0], queues[1]:
        answers = await asyncio.gather(*(queues[0].call("hop", hops) for _ in range(3)))
        assert answers == [hops] * 3
        assert [queue._dispatcher.permits.lent for queue in queues] == [0, 0]
