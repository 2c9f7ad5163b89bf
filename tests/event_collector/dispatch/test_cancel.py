"""event.cancel(), in every state of an event and in every mode: one result list, whoever was faster."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from event_collector import Collector, CollectorEvent, Context, Error, EventCancelled, Payload, QueueType, Retry
from tests.event_collector import sample_attempts as handlers
from tests.event_collector.modes import MODES, ask, balanced, balanced_all_along, place, running, until

LONG = Retry(max_attempts=4, backoff=60.0, jitter=0.0)


async def assert_cancelled(event: CollectorEvent) -> None:
    results = await event.wait()
    assert [type(result.err) for result in results] == [EventCancelled]  # type: ignore[union-attr]
    assert not event.cancel()
    assert await event.wait() is results


@pytest.mark.parametrize("retry", [None, LONG])
@pytest.mark.parametrize("mode", MODES)
async def test_an_event_in_its_handler(mode: str, retry: Retry | None, tmp_path: Path) -> None:
    """Wherever that runs, it ends with EventCancelled, is not tried again, and no letter is kept."""
    handler = handlers.wait_for_async if MODES[mode].__name__.endswith("async") else handlers.wait_for
    begun, release = tmp_path / "begun", tmp_path / "release"
    with place(mode) as where:
        collector = Collector("c", handler, mode=where, retry=retry)
        async with running(collector) as queue, balanced_all_along(queue):
            event = await queue.get_publisher().send(Payload([str(begun), str(release)]))
            await until(begun.exists, "the handler has begun")
            assert event.cancel()
            assert event.cancel() or event.is_done()
            await assert_cancelled(event)
            assert not queue.dead_letters
            release.touch()
            assert (await ask(queue, [str(begun), str(release)])).unwrap() == 1


@pytest.mark.parametrize("queue_type", QueueType)
@pytest.mark.parametrize("mode", ["coroutine", "thread", "process"])
async def test_an_event_that_is_queued(mode: str, queue_type: QueueType, tmp_path: Path) -> None:
    """It ends at once, without its handler; those before and behind it are processed in their order."""
    handler = handlers.wait_for_async if mode == "coroutine" else handlers.wait_for
    begun, release = tmp_path / "begun", tmp_path / "release"
    value = [str(begun), str(release)]
    collector = Collector("c", handler, mode=mode)
    async with (
        running(collector, queue_type=queue_type, max_consumers=1, autoscale=False) as queue,
        balanced_all_along(queue),
    ):
        publisher = queue.get_publisher()
        first = await publisher.send(Payload(value))
        await until(begun.exists, "the handler has begun")
        events = await publisher.send_many(Payload(value, priority=n % 2) for n in range(10))
        for number in (0, 9, 4, 5):
            assert events[number].cancel()
            assert events[number].is_done()
            balanced(queue)
            await assert_cancelled(events[number])
        assert queue.accounting().queued == 6
        release.touch()
        for event in [first, *events[1:4], *events[6:9]]:
            assert (await event.wait()).first().unwrap() == 1


async def test_every_queued_event_can_be_cancelled() -> None:
    """Thousands of cancellations from both ends and the middle leave nothing behind, and cost no square of them."""
    gate = asyncio.Event()

    async def handler(payload: Payload[Any], ctx: Context) -> Any:
        await gate.wait()
        return payload.value

    async with running(Collector("c", handler), max_consumers=1, autoscale=False) as queue:
        events = await queue.get_publisher().send_many(Payload(n) for n in range(30_000))
        kept = [event for n, event in enumerate(events) if n % 100 == 0]
        for event in [*events[15_000:], *events[:15_000]]:
            if event.payload.value % 100:
                assert event.cancel()
        balanced(queue)
        assert queue.accounting().queued + queue.accounting().in_handlers == len(kept)
        gate.set()
        assert [(await event.wait()).first().unwrap() for event in kept] == list(range(0, 30_000, 100))


async def test_an_event_that_is_scheduled() -> None:
    """It ends at once, with the results of the collectors that have answered."""
    collectors = [
        Collector("a", handlers.succeed_at_async, retry=LONG),
        Collector("b", handlers.echo_async, retry=LONG),
    ]
    async with running(*collectors) as queue, balanced_all_along(queue):
        event = await queue.get_publisher().send(Payload([2, "refuse"]))
        await until(lambda: queue.accounting().scheduled, "it is scheduled")
        assert event.cancel()
        first, second = await event.wait()
        assert isinstance(first, Error)
        assert isinstance(first.err, EventCancelled)
        assert first.key == "a"
        assert second.unwrap() == [2, "refuse"]
        assert queue.accounting().scheduled == 0
        assert not queue.dead_letters
        assert not event.cancel()


async def test_events_that_a_worker_has_not_started(tmp_path: Path) -> None:
    """Those in the hands of a worker that is busy with another are withdrawn; none is kept as a dead letter."""
    begun, release = tmp_path / "begun", tmp_path / "release"
    collector = Collector("p", handlers.wait_for, retry=LONG)
    async with running(collector) as queue, balanced_all_along(queue):
        publisher = queue.get_publisher()
        first = await publisher.send(Payload([str(begun), str(release)]))
        others = await publisher.send_many(Payload([str(begun), str(release)]) for _ in range(5))
        await until(begun.exists, "the first has begun")
        await until(lambda: queue.accounting().in_handlers > 1, "others are in its hands")
        for event in others:
            assert event.cancel()
            await assert_cancelled(event)
        assert not queue.dead_letters
        release.touch()
        assert (await first.wait()).first().unwrap() == 1


async def test_an_event_of_several_collectors(tmp_path: Path) -> None:
    """Cancelled in its handlers, wherever they run, it ends with one EventCancelled."""
    begun, release = tmp_path / "begun", tmp_path / "release"
    collectors = [
        Collector("a", handlers.wait_for_async),
        Collector("p", handlers.wait_for),
        Collector("t", handlers.wait_for, mode="thread"),
    ]
    async with running(*collectors) as queue, balanced_all_along(queue):
        event = await queue.get_publisher().send(Payload([str(begun), str(release)]))
        await until(begun.exists, "the handlers have begun")
        assert event.cancel()
        await assert_cancelled(event)
        release.touch()
        results = await (await queue.get_publisher().send(Payload([str(begun), str(release)]))).wait()
        assert [result.unwrap() for result in results] == [1, 1, 1]


async def test_an_event_that_is_done() -> None:
    """There is nothing left to cancel; its results stay."""
    async with running(Collector("c", handlers.echo_async)) as queue:
        event = await queue.get_publisher().send(Payload(5))
        results = await event.wait()
        assert not event.cancel()
        assert await event.wait() is results


async def test_a_handler_that_suppresses_it() -> None:
    """What it answers all the same is the result, as with any task."""
    begun = asyncio.Event()

    async def handler(payload: Payload[Any], ctx: Context) -> Any:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        return "all the same"

    async with running(Collector("c", handler, retry=LONG)) as queue:
        event = await queue.get_publisher().send(Payload(0))
        await begun.wait()
        assert event.cancel()
        assert event.cancel()  # asked already
        assert (await event.wait()).first().unwrap() == "all the same"


async def test_a_handler_that_fails_while_it_is_cancelled_is_not_tried_again() -> None:
    """Its own error is the result, and nothing is retried or kept."""
    begun = asyncio.Event()

    async def handler(payload: Payload[Any], ctx: Context) -> Any:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            raise ConnectionError("on the way out")

    async with running(Collector("c", handler, retry=LONG)) as queue:
        event = await queue.get_publisher().send(Payload(0))
        await begun.wait()
        assert event.cancel()
        assert isinstance((await event.wait()).first().err, ConnectionError)  # type: ignore[union-attr]
        assert not queue.dead_letters


async def test_a_handler_can_cancel_its_own_event() -> None:
    """It is cancelled at its next wait."""
    sent: list[CollectorEvent] = []

    async def handler(payload: Payload[Any], ctx: Context) -> Any:
        await asyncio.sleep(0)
        assert sent[0].cancel()
        await asyncio.sleep(60)

    async with running(Collector("c", handler)) as queue:
        sent.append(await queue.get_publisher().send(Payload(0)))
        await assert_cancelled(sent[0])


async def test_an_event_of_a_queue_that_has_not_started() -> None:
    """It is cancelled like any that waits."""
    from event_collector import CollectorQueue

    queue = CollectorQueue([Collector("c", handlers.echo_async)], logging=False)
    event = await queue.get_publisher().send(Payload(0))
    assert event.cancel()
    await assert_cancelled(event)
    balanced(queue)
    async with queue:
        assert (await ask(queue, 1)).unwrap() == 1


async def test_an_event_of_no_queue() -> None:
    """An event made by hand is cancelled too."""
    event = CollectorEvent(1, Payload(0))
    assert event.cancel()
    await assert_cancelled(event)


async def test_a_bounded_queue_has_the_place_again() -> None:
    """The place of a cancelled event goes to the sender who has waited longest."""
    gate = asyncio.Event()

    async def handler(payload: Payload[Any], ctx: Context) -> Any:
        await gate.wait()
        return payload.value

    async with (
        running(Collector("c", handler), max_consumers=1, autoscale=False, max_queue_size=2) as queue,
        balanced_all_along(queue),
    ):
        publisher = queue.get_publisher()
        running_one = await publisher.send(Payload(0))
        await until(lambda: queue.accounting().in_handlers == 1, "it has begun")
        waiting = [await publisher.send(Payload(n)) for n in (1, 2)]
        sender = asyncio.create_task(publisher.send(Payload(3)))
        await asyncio.sleep(0)
        assert not sender.done()
        assert waiting[0].cancel()
        event = await sender
        gate.set()
        assert (await event.wait()).first().unwrap() == 3
        assert (await running_one.wait()).first().unwrap() == 0


async def test_thousands_in_handlers_at_once() -> None:
    """Each handler gets its own cancellation, and the others go on."""

    async def handler(payload: Payload[Any], ctx: Context) -> Any:
        await gate.wait()
        return payload.value

    gate = asyncio.Event()
    async with running(Collector("c", handler)) as queue:
        events = await queue.get_publisher().send_many(Payload(n) for n in range(4000))
        await until(lambda: queue.accounting().in_handlers == 4000, "all have begun")
        for event in events[::2]:
            assert event.cancel()
        for event in events[::2]:
            await assert_cancelled(event)
        gate.set()
        assert [(await event.wait()).first().unwrap() for event in events[1::2]] == list(range(1, 4000, 2))
