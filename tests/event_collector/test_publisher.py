"""Events and their publisher: sending, waiting, results and times."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from event_collector import (
    Collector,
    CollectorEvent,
    CollectorQueue,
    Context,
    EventPublisher,
    Ok,
    Payload,
    QueueType,
    ResultList,
)
from event_collector.exceptions import EventCollectorException

BOUND = 10.0


class Gate:
    """A handler that holds every event until it is opened."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.entered = 0

    async def __call__(self, payload: Payload[Any], ctx: Context) -> Any:
        self.entered += 1
        await self.opened.wait()
        return payload.value


async def echo(payload: Payload[Any], ctx: Context) -> Any:
    return payload.value


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(BOUND):
        while not condition():
            await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def running(handler: Any = echo, **options: Any) -> AsyncIterator[EventPublisher]:
    """Run a queue of one collector and give its publisher."""
    async with CollectorQueue([Collector("a", handler)], logging=False, **options) as queue:
        yield queue.get_publisher()


async def test_send_gives_an_event_for_the_payload() -> None:
    """The event knows its payload, the same object, and is not done before its handler is."""
    gate, payload = Gate(), Payload({"a": 1})
    async with running(gate) as publisher:
        event = await publisher.send(payload)
        assert isinstance(event, CollectorEvent)
        assert event.payload is payload
        assert isinstance(event.id, int)
        assert not event.is_done()
        assert event.get_result() is None
        gate.opened.set()
        await event.wait()
        assert event.is_done()


async def test_ids_are_unique_and_increase() -> None:
    """Later events have higher ids, also across the queues of a program."""
    async with running() as one, running() as two:
        events = [await publisher.send(Payload(1)) for publisher in (one, two, one, two)]
    ids = [event.id for event in events]
    assert ids == sorted(set(ids))


async def test_wait_gives_the_result_list() -> None:
    """wait() and get_result() give the same ResultList."""
    async with running() as publisher:
        event = await publisher.send(Payload("value"))
        results = await event.wait()
        assert isinstance(results, ResultList)
        assert [result.unwrap() for result in results] == ["value"]
        assert event.get_result() is results


async def test_one_payload_can_be_sent_many_times() -> None:
    """Each send is an event of its own."""
    payload = Payload("value")
    async with running() as publisher:
        events = [await publisher.send(payload) for _ in range(3)]
        assert len({event.id for event in events}) == 3
        assert [(await event.wait()).first().unwrap() for event in events] == ["value"] * 3


async def test_any_number_of_waiters_get_the_same_result() -> None:
    """Everyone who waits gets the result, at once and again later."""
    gate = Gate()
    async with running(gate) as publisher:
        event = await publisher.send(Payload(1))
        waiters = [asyncio.ensure_future(event.wait()) for _ in range(5)]
        await until(lambda: gate.entered == 1)
        gate.opened.set()
        results = await asyncio.gather(*waiters)
        results += [await event.wait(), await event.wait()]
    assert all(result is event.get_result() for result in results)


async def test_an_event_can_be_asked_after_the_queue_has_ended() -> None:
    """Results outlive the queue."""
    async with running() as publisher:
        event = await publisher.send(Payload(1))
    assert (await event.wait()).first().unwrap() == 1


async def test_cancelling_a_waiter_leaves_the_event_and_the_others_alone() -> None:
    """Only the cancelled waiter stops waiting."""
    gate = Gate()
    async with running(gate) as publisher:
        event = await publisher.send(Payload(1))
        waiters = [asyncio.ensure_future(event.wait()) for _ in range(3)]
        await until(lambda: gate.entered == 1)
        waiters[1].cancel()
        await asyncio.wait([waiters[1]])
        assert not event.is_done()
        gate.opened.set()
        assert (await waiters[0]).first().unwrap() == 1
        assert (await waiters[2]).first().unwrap() == 1
    assert waiters[1].cancelled()


async def test_a_timeout_around_a_waiter_leaves_the_event_alone() -> None:
    """A program may lose its patience and ask again."""
    gate = Gate()
    async with running(gate) as publisher:
        event = await publisher.send(Payload(1))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(event.wait(), 0.01)
        assert not event.is_done()
        gate.opened.set()
        assert (await event.wait()).first().unwrap() == 1


async def test_times_are_zero_until_the_event_is_done() -> None:
    """There is nothing to report about an event that is queued or running."""
    gate = Gate()
    async with running(gate) as publisher:
        event = await publisher.send(Payload(1))
        assert (event.service_time(), event.wait_time()) == (0, 0)
        await until(lambda: gate.entered == 1)
        assert (event.service_time(), event.wait_time()) == (0, 0)
        gate.opened.set()


async def test_times_are_nanoseconds_of_handling_and_of_the_whole_stay() -> None:
    """service_time() is what the handler took, wait_time() all the time from send to result."""

    async def nap(payload: Payload[Any], ctx: Context) -> None:
        await asyncio.sleep(0.02)

    async with running(nap, max_consumers=1) as publisher:
        first, second = [await publisher.send(Payload(i)) for i in range(2)]
        await publisher.wait()
    for event in (first, second):
        assert isinstance(event.service_time(), int)
        assert 15_000_000 < event.service_time() <= event.wait_time() < BOUND * 1e9
    assert second.wait_time() > second.service_time() + 10_000_000


async def test_the_first_result_of_an_event_counts() -> None:
    """A second set_result() changes nothing, so whoever was first has decided."""
    async with running() as publisher:
        event = await publisher.send(Payload(1))
        results = await event.wait()
        event.set_result(ResultList([Ok("too late")]))
        assert event.get_result() is results
        assert await event.wait() is results


async def test_a_program_may_answer_an_event_itself() -> None:
    """set_result() ends the wait of everyone, and what the handler returns later is ignored."""
    gate, answer = Gate(), ResultList([Ok("mine")])
    async with running(gate) as publisher:
        event = await publisher.send(Payload(1))
        waiter = asyncio.ensure_future(event.wait())
        await until(lambda: gate.entered == 1)
        event.set_result(answer)
        assert event.is_done()
        assert await waiter is answer
        gate.opened.set()
        await publisher.wait()
    assert event.get_result() is answer


async def test_publisher_wait_blocks_until_everything_is_processed() -> None:
    """It ends when the last of all events sent so far is done, and not before."""
    gate = Gate()
    async with running(gate) as publisher:
        events = [await publisher.send(Payload(i)) for i in range(20)]
        waiter = asyncio.ensure_future(publisher.wait())
        await until(lambda: gate.entered >= 1)
        assert not waiter.done()
        gate.opened.set()
        await waiter
        assert all(event.is_done() for event in events)


async def test_publisher_wait_returns_at_once_when_nothing_was_sent() -> None:
    """There is nothing to wait for, before the start and after it."""
    queue = CollectorQueue([Collector("a", echo)], logging=False)
    async with asyncio.timeout(BOUND):
        await queue.get_publisher().wait()
        async with queue:
            await queue.get_publisher().wait()


async def test_cancelling_publisher_wait_harms_nothing() -> None:
    """After a timeout the events are still processed, and one can wait for them again."""
    gate = Gate()
    async with running(gate) as publisher:
        event = await publisher.send(Payload(1))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(publisher.wait(), 0.01)
        gate.opened.set()
        await publisher.wait()
        assert event.is_done()


@pytest.mark.parametrize("queue_type", QueueType)
async def test_events_sent_before_the_start_are_kept(queue_type: QueueType) -> None:
    """A publisher works before its queue does: the events are processed after the start."""
    queue = CollectorQueue([Collector("a", echo)], queue_type=queue_type, logging=False)
    events = [await queue.get_publisher().send(Payload(i)) for i in range(3)]
    assert [event.is_done() for event in events] == [False] * 3
    async with queue:
        assert [(await event.wait()).first().unwrap() for event in events] == [0, 1, 2]


async def test_sending_after_the_end_is_an_error() -> None:
    """A queue that has ended accepts nothing that it would never process."""
    async with running() as publisher:
        pass
    with pytest.raises(EventCollectorException):
        await publisher.send(Payload(1))


@pytest.mark.skipif(sys.version_info < (3, 13), reason="asyncio has QueueShutDown since Python 3.13")
async def test_sending_after_the_end_is_the_error_that_asyncio_knows() -> None:
    """A program that expects asyncio.QueueShutDown, as asyncio's own queues raise it, catches ours."""
    async with running() as publisher:
        pass
    with pytest.raises(asyncio.QueueShutDown):  # type: ignore[attr-defined, unused-ignore]
        await publisher.send(Payload(1))


async def test_handlers_may_send_events() -> None:
    """A handler can publish more work to its own queue and give the event away."""

    async def countdown(payload: Payload[int], ctx: Context) -> Any:
        return await ctx.publisher.send(Payload(payload.value - 1)) if payload.value else "done"

    collector = Collector("a", countdown)
    async with CollectorQueue([collector], logging=False) as queue:
        collector.ctx.publisher = queue.get_publisher()
        found: Any = await queue.get_publisher().send(Payload(5))
        for _ in range(6):
            found = (await found.wait()).first().unwrap()
    assert found == "done"


async def test_a_handler_may_wait_for_events_that_it_sends() -> None:
    """The pool grows for them while the handler that waits is still busy."""

    async def sum_below(payload: Payload[int], ctx: Context) -> Any:
        if payload.value == 0:
            return 0
        event = await ctx.publisher.send(Payload(payload.value - 1))
        return payload.value + (await event.wait()).first().unwrap()

    collector = Collector("a", sum_below)
    async with asyncio.timeout(BOUND), CollectorQueue([collector], logging=False) as queue:
        collector.ctx.publisher = queue.get_publisher()
        event = await queue.get_publisher().send(Payload(5))
        assert (await event.wait()).first().unwrap() == 15


async def test_another_thread_may_send_through_the_loop() -> None:
    """run_coroutine_threadsafe() brings events in and their results out."""

    def ask(loop: asyncio.AbstractEventLoop, publisher: EventPublisher) -> Any:
        async def ask_there() -> Any:
            return (await (await publisher.send(Payload("value"))).wait()).first().unwrap()

        return asyncio.run_coroutine_threadsafe(ask_there(), loop).result(BOUND)

    async with running() as publisher:
        assert await asyncio.to_thread(ask, asyncio.get_running_loop(), publisher) == "value"


async def test_many_tasks_may_send_at_once() -> None:
    """Every sender gets the result of its own event."""
    async with running() as publisher:

        async def ask(value: int) -> Any:
            event = await publisher.send(Payload(value))
            return (await event.wait()).first().unwrap()

        assert await asyncio.gather(*map(ask, range(200))) == list(range(200))


@pytest.mark.parametrize("queue_type", [QueueType.FIFO, QueueType.LIFO])
async def test_the_priority_of_an_event_is_1000_outside_priority_queues(queue_type: QueueType) -> None:
    """Where priorities have no meaning, neither the payload's nor the queue's default shows."""
    async with running(queue_type=queue_type, default_priority=5) as publisher:
        events = [await publisher.send(Payload(1, priority=priority)) for priority in (None, 3)]
    assert [event.priority for event in events] == [1000, 1000]


async def test_an_event_of_a_priority_queue_has_its_payloads_priority() -> None:
    """A payload without priority gets the queue's default."""
    async with running(queue_type=QueueType.PRIORITY, default_priority=5) as publisher:
        events = [await publisher.send(Payload(1, priority=priority)) for priority in (None, 3, 0, -1)]
    assert [event.priority for event in events] == [5, 3, 0, -1]


async def test_the_repr_of_an_event_says_which_it_is() -> None:
    """A printed event can be found again: its class and its id."""
    async with running() as publisher:
        event = await publisher.send(Payload(1))
        assert "CollectorEvent" in repr(event)
        assert str(event.id) in repr(event)


def test_an_event_can_be_made_by_hand() -> None:
    """Tests of a program's own code need events without a queue."""
    payload = Payload("value")
    event = CollectorEvent(5, payload, priority=3)
    assert (event.id, event.payload, event.priority, event.is_done()) == (5, payload, 3, False)
    results = ResultList([Ok(1)])
    event.set_result(results)
    assert event.is_done()
    assert event.get_result() is results


async def test_events_compare_by_identity_and_hash() -> None:
    """Events can be kept in sets and used as keys."""
    async with running() as publisher:
        events = [await publisher.send(Payload([1])) for _ in range(3)]
    assert len({*events, *events}) == 3
    assert events[0] != events[1]
