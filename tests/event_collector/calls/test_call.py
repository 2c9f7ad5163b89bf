"""Calls of one collector: the answer, the errors, the ways to name it."""

import asyncio
import functools
from pathlib import Path
from typing import Any

import pytest

from event_collector import (
    CallTimeout,
    Collector,
    CollectorQueue,
    ConfigError,
    EventCancelled,
    HandlerTimeout,
    Payload,
    QueueFull,
    QueueShutDown,
    QueueType,
    WorkerCrashed,
    collector,
)
from tests.event_collector import sample_handlers as handlers
from tests.event_collector.calls.chunk_handlers import increase
from tests.event_collector.modes import MODES, place, running, until


def squaring(key: str = "square") -> Collector[Any, Any]:
    async def square(number: int) -> int:
        return number * number

    return Collector(key, square)


def sitting() -> tuple[Collector[Any, Any], list[str]]:
    """A handler that never ends, and what it tells of its course."""
    told: list[str] = []

    async def sit(value: str) -> None:
        told.append(f"{value} began")
        try:
            await asyncio.Event().wait()
        finally:
            told.append(f"{value} ended")

    return Collector("sit", sit), told


@pytest.mark.parametrize("mode", MODES)
async def test_an_answer_and_an_exception_come_from_every_mode(mode: str) -> None:
    with place(mode) as where:
        act = Collector("act", MODES[mode], mode=where)
        async with running(act) as queue:
            assert await queue.call(act, ["echo", 7]) == 7
            with pytest.raises(KeyError):
                await queue.call(act, ["raise", "key"])


async def test_functions_are_made_collectors_of_their_names() -> None:
    """In one list with Collectors; they are called by function or key, and get what is sent to all."""

    async def double(number: int) -> int:
        return 2 * number

    async with CollectorQueue([double, squaring(), increase], max_workers=1, logging=False) as queue:
        assert list(queue.collectors) == ["double", "square", "increase"]
        assert await queue.call(double, 7) == await queue.call("double", 7) == 14
        assert await queue.call(increase, 7) == 8
        assert (await (await queue.send(7))).unwrap() == [14, 49, 8]


def test_two_functions_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="two collectors have the key 'increase'"):
        CollectorQueue([increase, increase])


async def test_a_crash_and_a_timeout_of_the_handler_are_raised() -> None:
    act = Collector("act", handlers.act, timeout=1.0)
    async with running(act) as queue:
        with pytest.raises(WorkerCrashed):
            await queue.call(act, ["exit", 3])
        with pytest.raises(HandlerTimeout):
            await queue.call(act, ["sleep", 60])
        assert await queue.call(act, ["echo", 1]) == 1


async def test_a_collector_is_named_by_itself_its_function_or_its_key() -> None:
    one, other = squaring("one"), squaring("other")
    async with running(one, other) as queue:
        assert await queue.call(one, 3) == 9
        assert await queue.call(one.handler, 3) == 9
        assert await queue.call("one", 3) == 9
        assert one.usage.completions == 3
        assert other.usage.completions == 0


async def test_a_handler_need_not_have_a_hash() -> None:
    class Adds:
        __hash__ = None  # type: ignore[assignment]

        def __init__(self, more: int) -> None:
            self.more = more

        def __eq__(self, other: object) -> bool:
            return self is other

        async def __call__(self, number: int) -> int:
            return number + self.more

    one, two = Adds(1), Adds(2)
    async with running(Collector("one", one), Collector("two", two)) as queue:
        assert [await queue.call(target, 10) for target in (one, two)] == [11, 12]


async def test_what_names_no_collector_or_several_is_refused() -> None:
    square = squaring().handler
    async with running(Collector("a", square), Collector("b", square)) as queue:
        with pytest.raises(ConfigError, match=r"several collectors, \['a', 'b'\]: give the key of one"):
            await queue.call(square, 1)
        with pytest.raises(ConfigError, match=r"'c' is no collector of this queue, which has \['a', 'b'\]"):
            await queue.call("c", 1)
        with pytest.raises(ConfigError, match="is no collector of this queue"):
            await queue.call(squaring("a"), 1)
        assert queue.accounting().accepted == 0


async def test_a_payload_is_no_value_of_a_call() -> None:
    square = squaring()
    async with running(square) as queue:
        with pytest.raises(ConfigError, match=r"not a Payload: give its \.value"):
            await queue.call(square, Payload(1))


async def test_cancelling_the_caller_cancels_the_event() -> None:
    sit, told = sitting()
    async with running(sit) as queue:
        caller = asyncio.create_task(queue.call(sit, "it"))
        await until(lambda: told == ["it began"], "the handler began")
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        await until(lambda: told == ["it began", "it ended"], "the handler was cancelled")


async def test_a_caller_that_waits_for_room_can_be_cancelled() -> None:
    sit, told = sitting()
    async with running(sit, max_consumers=1, min_consumers=1, max_queue_size=1) as queue:
        callers = [asyncio.create_task(queue.call(sit, name)) for name in "abc"]
        await until(lambda: told == ["a began"] and queue.accounting().queued == 1, "the queue is full")
        callers.reverse()  # the last one waits for room: nothing of it was accepted
        for caller in callers:
            caller.cancel()
            await asyncio.wait([caller])
            assert caller.cancelled()
        assert queue.accounting().accepted == 2


async def test_a_call_with_a_timeout_ends_in_time() -> None:
    sit, told = sitting()
    async with running(sit) as queue:
        with pytest.raises(CallTimeout, match=r"'sit' did not answer within 0\.05 s"):
            await queue.call(sit, "it", timeout=0.05)
        await until(lambda: told == ["it began", "it ended"], "the handler was cancelled")


async def test_a_timeout_of_the_handler_is_not_taken_for_the_callers() -> None:
    async def fail(_value: None) -> None:
        raise TimeoutError("of the handler")

    async with running(Collector("fail", fail)) as queue:
        with pytest.raises(TimeoutError, match="of the handler") as caught:
            await queue.call("fail", None, timeout=20)
        assert type(caught.value) is TimeoutError


@pytest.mark.parametrize("timeout", [0, -1, True, "5", float("nan")])
async def test_a_timeout_is_a_number_above_0(timeout: Any) -> None:
    async with running(squaring()) as queue:
        with pytest.raises(ConfigError, match="timeout takes a number of seconds above 0"):
            await queue.call("square", 1, timeout=timeout)
        assert queue.accounting().accepted == 0


async def test_a_handler_that_cancels_itself_does_not_cancel_its_caller() -> None:
    async def give_up(_value: None) -> None:
        raise asyncio.CancelledError

    async with running(Collector("give up", give_up)) as queue:
        with pytest.raises(EventCancelled, match="cancelled itself"):
            await queue.call("give up", None)


async def test_a_queue_that_ends_says_so_to_the_caller() -> None:
    sit, told = sitting()
    queue = CollectorQueue([sit], logging=False, consumer_shutdown_timeout=0.05)
    async with queue:
        caller = asyncio.create_task(queue.call(sit, "it"))
        await until(lambda: bool(told), "the handler began")
    with pytest.raises(QueueShutDown):
        await caller
    with pytest.raises(QueueShutDown):
        await queue.call(sit, "again")


async def test_submit_returns_the_event_at_once() -> None:
    square = squaring()
    async with running(square) as queue:
        event = queue.submit(square, 7)
        assert await event.value() == 49
        assert (await event).of(square).unwrap() == 49  # like event.wait()


async def test_submit_does_not_wait_for_room() -> None:
    sit, told = sitting()
    async with running(sit, max_consumers=1, min_consumers=1, max_queue_size=1) as queue:
        events = [queue.submit(sit, "a")]
        await until(lambda: bool(told), "the handler began")
        events.append(queue.submit(sit, "b"))
        with pytest.raises(QueueFull):
            queue.submit(sit, "c")
        for event in events:
            event.cancel()


async def test_calls_have_priorities() -> None:
    order: list[str] = []
    gate = asyncio.Event()

    async def note(name: str) -> None:
        await gate.wait()
        order.append(name)

    async with running(
        Collector("note", note), queue_type=QueueType.PRIORITY, min_consumers=1, max_consumers=1
    ) as queue:
        calls = [queue.call("note", "first", priority=0)]
        calls += [queue.call("note", name, priority=priority) for name, priority in (("late", 9), ("soon", 1))]
        tasks = [asyncio.create_task(call) for call in calls]
        await until(lambda: queue.accounting().accepted == 3, "all were accepted")
        gate.set()
        await asyncio.gather(*tasks)
    assert order == ["first", "soon", "late"]


async def test_a_call_is_on_record_like_any_event(tmp_path: Path) -> None:
    square = squaring()
    async with running(square, journal=tmp_path / "journal") as queue:
        assert await queue.call(square, 7) == 49
        assert await queue.submit(square, 8).value() == 64


# -- plain values, events and results --


async def test_a_plain_value_goes_to_every_collector() -> None:
    async with running(squaring("one"), squaring("two")) as queue:
        publisher = queue.get_publisher()
        for event in (
            await queue.send(3),
            await publisher.send(3),
            publisher.send_nowait(3),
            *await publisher.send_many([3, 3]),
            await publisher.send(3, deadline=60),
        ):
            assert (await event).unwrap() == [9, 9]
            assert event.payload.value == 3


async def test_a_plain_value_is_recorded(tmp_path: Path) -> None:
    async with running(squaring(), journal=tmp_path / "journal") as queue:
        assert await (await queue.send(3)).value() == 9


async def test_the_value_of_an_event_of_several_collectors_is_refused() -> None:
    async with running(squaring("one"), squaring("two")) as queue:
        event = await queue.send(3)
        with pytest.raises(LookupError, match=r"2 results, of \['one', 'two'\]: take one with of\(\), or all"):
            await event.value()


async def test_unwrap_raises_all_errors_together() -> None:
    async def fail(value: int) -> int:
        raise ValueError(value)

    async with running(squaring(), Collector("a", fail), Collector("b", fail)) as queue:
        results = await (await queue.send(3))
    with pytest.raises(ExceptionGroup, match="2 of 3 collectors failed") as caught:
        results.unwrap()
    assert [type(error) for error in caught.value.exceptions] == [ValueError, ValueError]


# -- the decorator --


def test_the_name_of_the_function_is_the_key() -> None:
    @collector
    async def square(number: int) -> int:
        return number * number

    @collector(timeout=5)
    async def cube(number: int) -> int:
        return number**3

    assert (square.key, cube.key, cube.timeout) == ("square", "cube", 5)
    assert isinstance(square, Collector)


def test_a_function_without_a_name_needs_a_key() -> None:
    async def add(more: int, number: int) -> int:
        return number + more

    with pytest.raises(ConfigError, match="no name to be its key"):
        collector(functools.partial(add, 1))
    assert collector("add")(functools.partial(add, 1)).key == "add"
