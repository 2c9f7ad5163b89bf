"""First steps of handlers, which run inside `send()`: in the name of a task of their own, never of the sender's."""

import asyncio
import contextvars
import sys
import types
from collections.abc import Awaitable, Callable, Generator
from decimal import getcontext
from typing import Any

import pytest

from event_collector import Collector, CollectorQueue, Context, Error, Payload

BOUND = 10.0
LEVEL = contextvars.ContextVar("LEVEL", default="none")


def queue_of(handler: Any, **options: Any) -> CollectorQueue:
    return CollectorQueue([Collector("a", handler)], logging=False, **options)


async def started(queue: CollectorQueue) -> Any:
    """Return the publisher of a running queue whose first consumer is parked."""
    publisher = queue.get_publisher()
    await (await publisher.send(Payload("warm-up"))).wait()
    await asyncio.sleep(0)
    return publisher


async def test_a_first_step_runs_within_send_in_a_task_of_its_own() -> None:
    """When send() returns, the handler has come to its first wait; its current task is not the sender's."""
    seen: list[asyncio.Task[Any] | None] = []
    go_on = asyncio.Event()

    async def handler(payload: Payload[Any], ctx: Context) -> Any:
        seen.append(asyncio.current_task())
        if payload.value == "wait":
            await go_on.wait()
            seen.append(asyncio.current_task())
        return payload.value

    async with queue_of(handler) as queue:
        publisher = await started(queue)
        sender = asyncio.current_task()
        seen.clear()
        event = await publisher.send(Payload("wait"))
        if sys.version_info < (3, 12):  # without eager tasks it takes a turn of the loop
            await asyncio.sleep(0)
        assert len(seen) == 1
        assert asyncio.current_task() is sender
        go_on.set()
        await event.wait()
    assert seen[0] is seen[1] is not sender


async def test_a_handler_that_cancels_its_task_in_its_first_step_is_cancelled_where_it_waits() -> None:
    """What it waits for is cancelled too, as in any task; the next event meets another task."""
    inner: list[asyncio.Task[Any]] = []

    async def forever() -> None:
        await asyncio.Event().wait()

    async def handler(payload: Payload[Any], ctx: Context) -> Any:
        task = asyncio.current_task()
        assert task is not None
        if payload.value == "cancel":
            task.cancel()
            inner.append(asyncio.create_task(forever()))
            await inner[0]
        return task.cancelling()

    async with queue_of(handler) as queue:
        publisher = await started(queue)
        async with asyncio.timeout(BOUND):
            results = await (await publisher.send(Payload("cancel"))).wait()
            assert isinstance(results.first().err, asyncio.CancelledError)
            assert (await (await publisher.send(Payload("next"))).wait()).first().unwrap() == 0
            await asyncio.wait(inner)
    assert inner[0].cancelled()


async def test_a_cancellation_left_behind_by_a_first_step_does_not_reach_the_next_event() -> None:
    """A handler that cancels its task and returns has ended well; the next one waits undisturbed."""

    async def handler(payload: Payload[Any], ctx: Context) -> Any:
        if payload.value == "cancel":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        else:
            await asyncio.sleep(0)
        return payload.value

    async with queue_of(handler) as queue:
        publisher = await started(queue)
        events = [await publisher.send(Payload(value)) for value in ("cancel", "next", "cancel", "next")]
        async with asyncio.timeout(BOUND):
            assert [(await event.wait()).first().unwrap() for event in events] == [
                event.payload.value for event in events
            ]


async def test_context_variables_hold_across_waits_and_stay_with_their_event() -> None:
    """A handler starts in the sender's variables, keeps what it sets while it waits, and leaves nothing behind."""
    seen: list[str] = []

    async def handler(payload: Payload[Any], ctx: Context) -> Any:
        seen.append(LEVEL.get())
        LEVEL.set(payload.value)
        await asyncio.sleep(0)
        seen.append(LEVEL.get())
        child = asyncio.create_task(asyncio.sleep(0, LEVEL.get()))
        return await child

    async with queue_of(handler) as queue:
        publisher = await started(queue)
        seen.clear()
        await (await publisher.send(Payload("first"))).wait()
        LEVEL.set("sender's")
        await (await publisher.send(Payload("second"))).wait()
        assert LEVEL.get() == "sender's"
    assert seen == ["none", "first", "sender's", "second"]


async def test_each_event_has_a_task_of_its_own() -> None:
    """Nothing that a handler leaves in its task or its context variables meets the next event."""
    tasks: set[asyncio.Task[Any] | None] = set()

    async def handler(payload: Payload[Any], ctx: Context) -> Any:
        getcontext().prec = 5
        tasks.add(asyncio.current_task())

    async with queue_of(handler) as queue:
        publisher = await started(queue)
        tasks.clear()
        for value in range(20):
            await (await publisher.send(Payload(value))).wait()
    assert len(tasks) == 20


async def test_a_handler_does_not_see_the_exception_that_the_sender_handles() -> None:
    """Neither sys.exception() nor the context of its own exception shows what the sender is in the middle of."""

    async def handler(payload: Payload[Any], ctx: Context) -> Any:
        assert sys.exception() is None
        raise KeyError("handler's")

    async with queue_of(handler) as queue:
        publisher = await started(queue)
        try:
            raise ValueError("sender's")
        except ValueError:
            event = await publisher.send(Payload(1))
            result = (await event.wait()).first()
    assert isinstance(result.err, KeyError)
    assert result.err.__context__ is None


async def test_events_sent_by_a_first_step_wait_for_its_end() -> None:
    """No handler runs inside another: what a handler sends is queued, in order."""
    order: list[str] = []
    publisher: Any = None

    async def handler(payload: Payload[Any], ctx: Context) -> Any:
        order.append(f"begin {payload.value}")
        if payload.value == "outer":
            for name in ("x", "y"):
                await publisher.send(Payload(name))
        order.append(f"end {payload.value}")

    async with queue_of(handler) as queue:
        publisher = await started(queue)
        order.clear()
        await publisher.send(Payload("outer"))
        await publisher.wait()
    assert order == [f"{step} {name}" for name in ("outer", "x", "y") for step in ("begin", "end")]


@types.coroutine
def old_style() -> Generator[Any, Any, str]:
    yield
    return "generator"


class Promise:
    """Something to await that is no coroutine."""

    def __await__(self) -> Generator[Any, Any, str]:
        return asyncio.sleep(0, "promise").__await__()


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        (lambda: asyncio.sleep(0, "coroutine"), "coroutine"),
        (lambda: asyncio.ensure_future(asyncio.sleep(0, "task")), "task"),
        (Promise, "promise"),
        (old_style, "generator"),
    ],
)
async def test_whatever_can_be_awaited_is_seen_through(answer: Callable[[], Awaitable[Any]], value: str) -> None:
    """A coroutine, a future, an object with __await__, a generator marked as a coroutine: as `await` takes them."""

    class Handler:
        async def __call__(self, payload: Payload[Any], ctx: Context) -> Any:
            return None

    collector = Collector("a", Handler().__call__)
    collector.processor = lambda payload, ctx: answer()
    async with CollectorQueue([collector], logging=False) as queue:
        async with asyncio.timeout(BOUND):
            for _ in range(2):
                assert (await (await queue.get_publisher().send(Payload(1))).wait()).first().unwrap() == value
        collector.processor = lambda payload, ctx: 3  # type: ignore[assignment,return-value]
        result = (await (await queue.get_publisher().send(Payload(1))).wait()).first()
        assert isinstance(result, Error)
        assert "can't be used in 'await' expression" in str(result.err)


async def test_a_timeout_around_the_handlers_own_wait_is_its_own() -> None:
    """asyncio.timeout() that begins in the first step ends the handler's wait, not the sender."""

    async def handler(payload: Payload[Any], ctx: Context) -> Any:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            async with asyncio.TaskGroup() as group:
                child = group.create_task(asyncio.sleep(0, "late"))
            return child.result()

    async with queue_of(handler) as queue:
        publisher = await started(queue)
        async with asyncio.timeout(BOUND):
            assert (await (await publisher.send(Payload(1))).wait()).first().unwrap() == "late"


async def test_a_parked_task_that_is_cancelled_from_outside_is_replaced() -> None:
    """Whoever cancels all tasks, as test frameworks do, ends parked consumers too; the queue goes on."""

    async def handler(payload: Payload[Any], ctx: Context) -> Any:
        return payload.value

    async with queue_of(handler) as queue:
        publisher = await started(queue)
        for task in asyncio.all_tasks():
            if task.get_name() == "event consumer":
                task.cancel()
        async with asyncio.timeout(BOUND):
            assert (await (await publisher.send(Payload(1))).wait()).first().unwrap() == 1
            await asyncio.sleep(0)
            assert (await (await publisher.send(Payload(2))).wait()).first().unwrap() == 2


async def test_asyncio_shows_what_a_consumer_is_doing() -> None:
    """repr() and print_stack() of a consumer's task work, parked or busy."""
    go_on = asyncio.Event()

    async def handler(payload: Payload[Any], ctx: Context) -> Any:
        if payload.value == "wait":
            await go_on.wait()

    async with queue_of(handler) as queue:
        publisher = await started(queue)
        await publisher.send(Payload("wait"))
        for task in asyncio.all_tasks():
            assert repr(task)
            task.print_stack()
        go_on.set()


async def test_senders_in_a_flood_take_turns_and_can_be_cancelled_while_they_wait() -> None:
    """Senders that have to wait for a turn of the loop all get it; one that is cancelled there has sent nothing."""
    sent = 0

    async def handler(payload: Payload[Any], ctx: Context) -> Any:
        return payload.value

    async with queue_of(handler) as queue:
        publisher = await started(queue)

        async def sender(count: int) -> None:
            nonlocal sent
            for value in range(count):
                await publisher.send(Payload(value))
                sent += 1

        senders = [asyncio.create_task(sender(50)) for _ in range(300)]
        while not queue._dispatcher.gate.crowded:
            await asyncio.sleep(0)
        for task in senders[::3]:
            task.cancel()
        async with asyncio.timeout(60):
            await asyncio.gather(*senders, return_exceptions=True)
            await publisher.wait()
        assert queue.accounting().accepted == sent + 1
        assert queue.accounting().finished == sent + 1
    assert all(not task.cancelled() for task in senders[1::3])
