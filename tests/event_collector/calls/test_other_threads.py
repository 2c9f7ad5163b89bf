"""Calls from other threads than that of the event loop."""

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest

from event_collector import CallTimeout, Collector, CollectorQueue, ConfigError, QueueShutDown, collector
from event_collector.calls.other_threads import CallFuture
from tests.event_collector.calls.test_stream import Gated
from tests.event_collector.modes import BOUND, MODES, place, running, until


@collector
async def square(number: int) -> int:
    return number * number


@collector
async def invert(number: int) -> float:
    return 1 / number


async def in_thread(function: Any, *arguments: Any, **options: Any) -> Any:
    return await asyncio.to_thread(function, *arguments, **options)


@pytest.mark.parametrize("mode", MODES)
async def test_another_thread_calls_a_handler_of_every_mode(mode: str) -> None:
    with place(mode) as where:
        act = Collector("act", MODES[mode], mode=where)
        async with running(act) as queue:
            assert await in_thread(queue.call_threadsafe, act, ["echo", 7]) == 7
            with pytest.raises(KeyError):
                await in_thread(queue.call_threadsafe, "act", ["raise", "key"])
            future = await in_thread(queue.submit_threadsafe, "act", ["echo", 8])
            assert await asyncio.wrap_future(future) == 8


async def test_many_threads_call_at_once() -> None:
    async with running(square) as queue:
        with ThreadPoolExecutor(8) as threads:
            calls = [threads.submit(queue.call_threadsafe, square, number) for number in range(500)]
            answers = await asyncio.gather(*map(asyncio.wrap_future, calls))
        assert answers == [number * number for number in range(500)]


async def test_an_error_of_a_handler_comes_out_of_the_future() -> None:
    async with running(invert) as queue:
        future = await in_thread(queue.submit_threadsafe, invert, 0)
        with pytest.raises(ZeroDivisionError):
            await asyncio.wrap_future(future)


async def test_cancelling_the_future_cancels_the_event() -> None:
    gated = Gated()
    async with running(gated.collector) as queue:
        future = await in_thread(queue.submit_threadsafe, gated.collector, 1)
        await until(lambda: gated.began == [1], "it has begun")
        assert await in_thread(future.cancel)
        await until(lambda: gated.cancelled == [1], "its handler is cancelled")
        assert future.cancelled()


async def test_a_call_has_a_timeout() -> None:
    gated = Gated()
    async with running(gated.collector) as queue:
        with pytest.raises(CallTimeout, match="did not answer"):
            await in_thread(queue.call_threadsafe, gated.collector, 1, timeout=0.02)
        await until(lambda: gated.cancelled == [1], "its handler is cancelled")


async def test_an_interrupted_wait_cancels_the_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Ctrl-C does in the main thread."""
    gated = Gated()
    async with running(gated.collector) as queue:

        def interrupted(_: CallFuture[Any]) -> None:
            while not gated.began:
                time.sleep(0.005)
            raise KeyboardInterrupt

        monkeypatch.setattr(CallFuture, "result", interrupted)
        with ThreadPoolExecutor(1) as threads:
            call_there = threads.submit(queue.call_threadsafe, gated.collector, 1)
            await until(call_there.done, "it is interrupted")
        assert isinstance(call_there.exception(), KeyboardInterrupt)
        await until(lambda: gated.cancelled == [1], "its handler is cancelled")


async def test_the_thread_of_the_loop_is_refused_at_once() -> None:
    async with running(square) as queue:
        for call in (queue.call_threadsafe, queue.submit_threadsafe):
            with pytest.raises(ConfigError, match=r"cannot wait for itself: use await queue.call\(\)"):
                call(square, 7)
        assert queue.accounting().accepted == 0


async def test_a_thread_handler_calls_another_handler() -> None:
    """Also if it holds the only place: it waits for the event that it has sent."""
    queue: CollectorQueue

    def outer(number: int) -> Any:
        return queue.call_threadsafe("square", number) + 1

    async with running(Collector("outer", outer, mode="thread"), square, min_consumers=1, max_consumers=1) as queue:
        assert await queue.call("outer", 7) == 50


async def test_the_context_of_the_thread_reaches_the_handler() -> None:
    name: ContextVar[str] = ContextVar("name", default="none")

    async def look(number: int) -> str:
        return name.get()

    def call() -> Any:
        name.set("thread")
        return queue.call_threadsafe("look", 1)

    async with running(Collector("look", look)) as queue:
        assert await in_thread(call) == "thread"


def test_a_queue_that_does_not_run_is_refused() -> None:
    queue = CollectorQueue([square], logging=False)
    for call in (queue.call_threadsafe, queue.submit_threadsafe):
        with pytest.raises(ConfigError, match="the queue has no event loop yet"):
            call(square, 7)

    async def start_and_end() -> None:
        async with queue:
            pass
        with pytest.raises(QueueShutDown, match="takes no more events"):
            await in_thread(queue.call_threadsafe, square, 7)

    asyncio.run(start_and_end())
    with pytest.raises(QueueShutDown, match="is closed"):
        queue.call_threadsafe(square, 7)


def test_a_wait_ends_with_the_event_loop() -> None:
    """The event loop may end under a waiting thread; no call hangs."""
    gated, waiting = Gated(), []

    @asynccontextmanager
    async def abandoned() -> AsyncIterator[CollectorQueue]:
        queue = CollectorQueue([gated.collector], logging=False)
        await queue.init_queue()
        yield queue

    async def leave(threads: ThreadPoolExecutor) -> None:
        async with abandoned() as queue:
            waiting.append(threads.submit(queue.call_threadsafe, gated.collector, 1))
            waiting.append(await in_thread(queue.submit_threadsafe, gated.collector, 2))
            await until(lambda: sorted(gated.began) == [1, 2], "both have begun")

    with ThreadPoolExecutor(1) as threads:
        asyncio.run(leave(threads))
        with pytest.raises(QueueShutDown):
            waiting[0].result(BOUND)
        with pytest.raises((CancelledError, QueueShutDown)):
            waiting[1].result(BOUND)


@pytest.mark.parametrize(
    ("target", "value", "options", "message"),
    [
        ("other", 1, {}, "is no collector of this queue"),
        ("square", 1, {"timeout": 0}, "timeout takes"),
        ("square", 1, {"deadline": -1}, "deadline takes"),
    ],
)
async def test_wrong_arguments_are_refused(target: str, value: Any, options: Any, message: str) -> None:
    async with running(square) as queue:
        with pytest.raises(ConfigError, match=message):
            await in_thread(partial(queue.call_threadsafe, target, value, **options))


async def test_many_threads_wait_for_one_future() -> None:
    gated = Gated()
    async with running(gated.collector, invert) as queue:
        future = await in_thread(queue.submit_threadsafe, gated.collector, 7)
        with pytest.raises(TimeoutError):
            await in_thread(future.result, 0.01)
        with pytest.raises(TimeoutError):
            await in_thread(future.exception, 0)
        with ThreadPoolExecutor(4) as threads:
            waits = [threads.submit(future.result, BOUND) for _ in range(4)]
            gated.let_go(7)
            answers = await asyncio.gather(*map(asyncio.wrap_future, waits))
        assert answers == [7] * 4
        assert future.exception() is None
        future = await in_thread(queue.submit_threadsafe, invert, 0)
        assert type(await in_thread(future.exception, BOUND)) is ZeroDivisionError
