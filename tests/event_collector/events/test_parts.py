"""Handlers that yield: their parts reach one reader, in every mode in which they run, or end in an error."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from event_collector import (
    Collector,
    CollectorQueue,
    ConfigError,
    Delivery,
    EncodeError,
    Error,
    EventCancelled,
    HandlerTimeout,
    Payload,
    QueueShutDown,
    Retry,
    WorkerCrashed,
)
from event_collector.events.event import CollectorEvent
from event_collector_workers.job import PARTS_AHEAD
from tests.event_collector import sample_parts as handlers
from tests.event_collector.modes import running, until
from tests.event_collector.sample_types import Order

MODES: dict[str, Any] = {
    "coroutine": handlers.count_async,
    "thread": handlers.count,
    "process": handlers.count,
    "process, async def": handlers.count_async,
}


def counting(mode: str, **options: Any) -> Collector[Any, Any]:
    return Collector("count", MODES[mode], mode=mode.partition(",")[0], **options)


async def read(event: CollectorEvent, into: list[Any] | None = None) -> list[Any]:
    """Return all parts of an event, which are in `into` if it fails."""
    parts = [] if into is None else into
    async for part in event.parts():
        parts.append(part)
    return parts


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("count", [0, 1, PARTS_AHEAD, 100])
async def test_parts_come_in_order_and_the_return_value_is_the_result(mode: str, count: int) -> None:
    async with running(counting(mode)) as queue:
        event = queue.submit("count", {"count": count, "return": "all"})
        assert await read(event) == list(range(count))
        assert await event.value() == ("all" if MODES[mode] is handlers.count else None)


@pytest.mark.parametrize("mode", MODES)
async def test_a_suspended_handler_holds_up_no_other(mode: str, tmp_path: Path) -> None:
    """It has given as many parts as may wait, and neither its worker nor its thread waits with it."""
    async with running(counting(mode), max_threads=1) as queue:
        waiting = [queue.submit("count", {"count": 50, "notes": str(tmp_path / name)}) for name in "abc"]
        for name in "abc":
            await until(lambda name=name: len(handlers.notes(tmp_path / name)) >= PARTS_AHEAD, "it is suspended")
        assert await read(queue.submit("count", {"count": 50})) == list(range(50))
        assert [len(handlers.notes(tmp_path / name)) for name in "abc"] == [PARTS_AHEAD] * 3
        assert queue.accounting().in_handlers == 3
        assert [await read(event) for event in waiting] == [list(range(50))] * 3


@pytest.mark.parametrize("mode", MODES)
async def test_an_error_comes_after_the_parts_before_it(mode: str) -> None:
    async with running(counting(mode, retry=Retry(max_attempts=5, backoff=0.0))) as queue:
        parts: list[int] = []
        with pytest.raises(KeyError, match="late"):
            await read(queue.submit("count", {"count": 30, "then": "raise"}), parts)
        assert parts == list(range(30))
        assert queue.dead_letters.events == 1  # not tried again: its parts are with the reader


@pytest.mark.parametrize("mode", ["process", "process, async def"])
@pytest.mark.parametrize("count", [3, 100])
async def test_a_crash_loses_no_part_that_was_yielded(mode: str, count: int) -> None:
    async with running(counting(mode)) as queue:
        parts: list[int] = []
        with pytest.raises(WorkerCrashed):
            await read(queue.submit("count", {"count": count, "then": "crash"}), parts)
        assert parts == list(range(count))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("taken", [1, 20])
async def test_a_reader_that_leaves_closes_the_handler(mode: str, taken: int, tmp_path: Path) -> None:
    """Its `finally` runs, before the event ends without an error."""
    async with running(counting(mode)) as queue:
        event = queue.submit("count", {"count": 10**9, "notes": str(tmp_path / "notes"), "return": "all"})
        async with aclosing(event.parts()) as parts:
            async for part in parts:
                if part == taken:
                    break
        assert await event.value() is None
        assert handlers.notes(tmp_path / "notes")[-1] == "closed"


async def test_parts_have_one_reader() -> None:
    async with running(counting("coroutine")) as queue:
        event = queue.submit("count", {"count": 3})
        assert await read(event) == [0, 1, 2]
        with pytest.raises(ConfigError, match="have a reader already"):
            await read(event)


@pytest.mark.parametrize("mode", MODES)
async def test_a_wait_without_a_reader_drops_the_parts(mode: str, tmp_path: Path) -> None:
    """The event ends. A reader that comes later gets all parts, or is told that they are gone."""
    async with running(counting(mode)) as queue:
        few = queue.submit("count", {"count": 10})
        await few.wait()
        assert await read(few) == list(range(10))

        early, late = (queue.submit("count", {"count": 500, "notes": str(tmp_path / name)}) for name in ("e", "l"))
        waiting = asyncio.create_task(early.wait())
        await until(lambda: len(handlers.notes(tmp_path / "l")) >= PARTS_AHEAD, "it is suspended")
        await asyncio.gather(waiting, late.wait())
        for event in (early, late):
            with pytest.raises(ConfigError, match="were dropped"):
                await read(event)
        assert handlers.notes(tmp_path / "l")[-2:] == ["499", "closed"]


@pytest.mark.parametrize("mode", ["thread", "process"])
async def test_an_attempt_that_has_given_no_part_is_tried_again(mode: str) -> None:
    retry = Retry(max_attempts=3, backoff=0.0)
    async with running(Collector("flaky", handlers.flaky, mode=mode, retry=retry)) as queue:
        assert await read(queue.submit("flaky", 0)) == [102]
        parts: list[int] = []
        with pytest.raises(KeyError, match="first"):
            await read(queue.submit("flaky", 2), parts)
        assert parts == [0, 1]


@pytest.mark.parametrize("mode", ["process", "process, async def"])
async def test_a_timeout_ends_a_handler_after_its_parts(mode: str) -> None:
    async with running(counting(mode, timeout=0.3)) as queue:
        parts: list[int] = []
        with pytest.raises(HandlerTimeout):
            await read(queue.submit("count", {"count": 20, "then": "sleep"}), parts)
        assert parts == list(range(20))


@pytest.mark.parametrize("mode", MODES)
async def test_the_time_limit_leaves_out_the_wait_for_the_reader(mode: str, tmp_path: Path) -> None:
    async with running(counting(mode, timeout=0.5)) as queue:
        event = queue.submit("count", {"count": 40, "notes": str(tmp_path / "notes")})
        await until(lambda: len(handlers.notes(tmp_path / "notes")) >= PARTS_AHEAD, "it is suspended")
        await asyncio.sleep(0.8)
        assert await read(event) == list(range(40))


@pytest.mark.parametrize("mode", MODES)
async def test_a_suspended_handler_is_closed_when_its_event_is_cancelled(mode: str, tmp_path: Path) -> None:
    """Its worker lives on, with the other handlers that are suspended in it."""
    here = Collector("pid", handlers.pid, mode="process")
    async with running(counting(mode), here, autoscale=False) as queue:  # else an idle worker is replaced
        pid = await queue.call("pid", None)
        other, event = (queue.submit("count", {"count": 50, "notes": str(tmp_path / name)}) for name in "oe")
        for each in (other, event):
            await until(lambda each=each: each.open_parts().count == PARTS_AHEAD, "it is suspended")
        assert event.cancel()
        with pytest.raises(EventCancelled):
            await read(event)
        await until(lambda: handlers.notes(tmp_path / "e")[-1] == "closed", "its finally has run")
        assert await read(other) == list(range(50))
        assert await queue.call("pid", None) == pid


@pytest.mark.parametrize("mode", ["thread", "process"])
async def test_a_running_handler_is_closed_at_its_next_yield(mode: str, tmp_path: Path) -> None:
    """Not only when it has given all parts that it may, so its worker need not be killed."""
    here = Collector("pid", handlers.pid, mode="process")
    async with running(Collector("slowly", handlers.slowly, mode=mode), here, autoscale=False) as queue:
        pid = await queue.call("pid", None)
        for leave in (CollectorEvent.cancel, None):
            closed = tmp_path / f"{leave}"
            event = queue.submit("slowly", str(closed))
            async with aclosing(event.parts()) as parts:
                assert await anext(parts) == 0
                if leave is not None:
                    leave(event)
            await until(closed.exists, "its finally has run")
            assert event.open_parts().count < PARTS_AHEAD
        assert await queue.call("pid", None) == pid


async def test_a_worker_that_is_replaced_keeps_its_suspended_handlers() -> None:
    async with running(counting("process"), max_events_per_worker=2) as queue:
        events = [queue.submit("count", {"count": 60}) for _ in range(6)]
        assert [await read(event) for event in events] == [list(range(60))] * 6


async def test_a_shutdown_drops_what_nobody_reads_and_waits_for_readers() -> None:
    queue = CollectorQueue([counting("coroutine")], logging=False)
    await queue.init_queue()
    read_event, unread, never = (queue.submit("count", {"count": 100, "return": 1}) for _ in range(3))
    reading = asyncio.create_task(read(read_event))
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await queue.shut_down_queue()
    assert await reading == list(range(100))
    assert [await event.value() for event in (unread, never)] == [None, None]


async def test_a_handler_that_never_ends_is_closed_by_the_shutdown(tmp_path: Path) -> None:
    queue = CollectorQueue([counting("process")], logging=False, consumer_shutdown_timeout=0.1)
    await queue.init_queue()
    event = queue.submit("count", {"count": 10**9, "notes": str(tmp_path / "notes")})
    parts = event.parts()
    assert await anext(parts) == 0
    async with asyncio.timeout(30):
        await queue.shut_down_queue()
    with pytest.raises(QueueShutDown):
        async for _ in parts:
            pass


async def test_parts_of_a_worker_have_the_annotated_type() -> None:
    async with running(Collector("orders", handlers.orders, mode="process")) as queue:
        assert await read(queue.submit("orders", ["a", "b"])) == [Order(0, ["a"]), Order(1, ["b"])]
        parts: list[Any] = []
        with pytest.raises(EncodeError, match="does not fit"):
            await read(queue.submit("orders", ["a", "", "c"]), parts)
        assert parts == [Order(0, ["a"])]


async def test_large_and_small_parts_keep_their_order() -> None:
    async with running(Collector("mixed", handlers.mixed, mode="process")) as queue:
        assert await read(queue.submit("mixed", 100_000)) == list(handlers.mixed(100_000))


@pytest.mark.parametrize("mode", ["thread", "process"])
async def test_a_part_is_the_value_of_an_ok_and_an_error_is_a_part(mode: str) -> None:
    async with running(Collector("wrapped", handlers.wrapped, mode=mode)) as queue:
        first, error, last = await read(queue.submit("wrapped", None))
        assert (first, last) == (1, 2)
        assert isinstance(error, Error)
        assert error.err == "odd"


@pytest.mark.parametrize("mode", ["coroutine", "thread", "process", "process, async def"])
async def test_context_variables_stay_over_each_yield(mode: str) -> None:
    handler: Any = handlers.colours if mode in ("thread", "process") else handlers.colours_async
    async with running(Collector("colours", handler, mode=mode.partition(",")[0])) as queue:
        red, blue = queue.submit("colours", "red"), queue.submit("colours", "blue")
        parts = [red.parts(), blue.parts()]
        for _ in range(40):
            assert [list(await anext(each)) for each in parts] == [["red", "colours"], ["blue", "colours"]]
        assert handlers.colour.get() == "none"
        await asyncio.gather(*(anext(each, None) for each in parts))


async def test_one_collector_gives_the_parts_of_an_event() -> None:
    second = Collector("second", handlers.count, mode="thread")
    async with running(counting("coroutine"), second) as queue:
        event = await queue.send({"count": 3})
        assert await read(event) == [0, 1, 2]
        results = await event.wait()
        assert results[0].ok()
        with pytest.raises(ConfigError, match="collector 'count' gives the parts of this event"):
            results[1].unwrap()
        alone = await queue.send(Payload({"count": 2}, Delivery.KEY, ["second"]))
        assert await read(alone) == [0, 1]


async def test_an_event_of_an_ordinary_handler_has_no_parts() -> None:
    async def plain(number: int) -> int:
        return number

    async with running(Collector("plain", plain)) as queue:
        with pytest.raises(ConfigError, match="no handler of this event yields"):
            await read(queue.submit("plain", 7))


def test_what_cannot_bring_parts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="yields parts, which mode='adaptive' cannot bring"):
        Collector("count", handlers.count, mode="adaptive")
    with ThreadPoolExecutor(1) as threads, pytest.raises(ConfigError, match=r"yields parts, which .* cannot bring"):
        Collector("count", handlers.count, mode=threads)
    with pytest.raises(ConfigError, match="would block the event loop"):
        Collector("count", handlers.count, mode="coroutine")
    with pytest.raises(ConfigError, match="which a journal cannot keep"):
        CollectorQueue([counting("process")], logging=False, journal=tmp_path / "journal")


async def test_calls_and_streams_refuse_handlers_that_yield() -> None:
    async with running(counting("coroutine")) as queue:
        with pytest.raises(ConfigError, match="yields parts, and a call or a stream"):
            await queue.call("count", {"count": 3})
        with pytest.raises(ConfigError, match="yields parts, and a call or a stream"):
            queue.stream("count", [])


async def test_parts_need_an_event() -> None:
    with pytest.raises(ConfigError, match="yields parts, which only an event takes"):
        await counting("coroutine").process(Payload({"count": 3}))
