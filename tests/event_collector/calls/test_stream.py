"""Streams: the order, the bound, the ends, in every mode."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from event_collector import Collector, ConfigError, Error, QueueShutDown, collector
from tests.event_collector import sample_handlers as handlers
from tests.event_collector.modes import MODES, assert_alive, place, running, until


@collector
async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


@collector
async def instant(number: int) -> int:
    return 2 * number


class Gated:
    """A handler in which each value stays until it is let go."""

    def __init__(self) -> None:
        self.began: list[int] = []
        self.cancelled: list[int] = []
        self._gates: dict[int, asyncio.Event] = {}
        self.collector = Collector("gated", self.handle)

    def gate(self, number: int) -> asyncio.Event:
        return self._gates.setdefault(number, asyncio.Event())

    async def handle(self, number: int) -> int:
        self.began.append(number)
        try:
            await self.gate(number).wait()
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        return number

    def let_go(self, *numbers: int) -> None:
        for number in numbers:
            self.gate(number).set()


class Source:
    """Values that count how many were taken, and know whether they were closed."""

    def __init__(self, count: int, *, fail_at: int | None = None) -> None:
        self.taken = 0
        self._count, self._fail_at = count, fail_at

    def __iter__(self) -> Iterator[int]:
        for number in range(self._count):
            if number == self._fail_at:
                raise OSError("the source is broken")
            self.taken += 1
            yield number

    async def __aiter__(self) -> AsyncIterator[int]:
        for number in self.__iter__():
            await asyncio.sleep(0)
            yield number


class AsyncSource(Source):
    """The same, to be read with `async for` only."""

    __iter__ = None  # type: ignore[assignment]

    async def __aiter__(self) -> AsyncIterator[int]:
        for number in Source.__iter__(self):
            await asyncio.sleep(0)
            yield number


async def collect(results: Any) -> list[Any]:
    return [result.unwrap() async for result in results]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("ordered", [True, False])
async def test_each_value_has_a_result_in_every_mode(mode: str, ordered: bool) -> None:
    with place(mode) as where:
        act = Collector("act", MODES[mode], mode=where)
        async with running(act) as queue:
            values = [["echo", number] for number in range(50)] + [["raise", "key"]]
            results = [result async for result in queue.stream(act, values, ahead=8, ordered=ordered)]
            failed = [result for result in results if isinstance(result, Error)]
            assert [type(result.err) for result in failed] == [KeyError]
            answers = [result.value for result in results if result.ok()]
            assert (answers if ordered else sorted(answers)) == list(range(50))
            await assert_alive(queue)


@pytest.mark.parametrize("source", [range(100), iter(range(100)), AsyncSource(100), Source(100)])
@pytest.mark.parametrize("collector", [double, instant])
async def test_values_come_from_any_iterable(source: Any, collector: Any) -> None:
    if isinstance(source, Iterator):
        source = iter(range(100))  # an iterator serves one test
    async with running(collector) as queue:
        assert await collect(queue.stream(collector, source, ahead=7)) == list(range(0, 200, 2))


async def test_an_empty_stream_ends() -> None:
    async with running(double) as queue:
        assert await collect(queue.stream(double, [])) == []


async def test_ordered_results_wait_for_the_first_and_others_do_not() -> None:
    gated = Gated()
    async with running(gated.collector) as queue:
        async with aclosing(queue.stream(gated.collector, range(3))) as ordered:
            first = asyncio.ensure_future(anext(ordered))
            await until(lambda: gated.began == [0, 1, 2], "all have begun")
            gated.let_go(2, 1)
            await asyncio.sleep(0.01)
            assert not first.done()
            gated.let_go(0)
            assert (await first).unwrap() == 0
            assert await collect(ordered) == [1, 2]
        gated.began.clear()
        async with aclosing(queue.stream(gated.collector, range(3, 6), ordered=False)) as unordered:
            last = asyncio.ensure_future(anext(unordered))
            await until(lambda: gated.began == [3, 4, 5], "all have begun")
            gated.let_go(5)
            assert (await last).unwrap() == 5
            gated.let_go(3, 4)
            assert sorted(await collect(unordered)) == [3, 4]


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("collector", [double, instant])
@pytest.mark.parametrize("make", [Source, AsyncSource])
async def test_no_more_values_are_taken_than_allowed(ordered: bool, collector: Any, make: Any) -> None:
    source, seen = make(100), 0
    async with running(collector) as queue:
        async for _ in queue.stream(collector, source, ahead=5, ordered=ordered):
            seen += 1
            assert source.taken - seen < 5
            await asyncio.sleep(0)
            assert source.taken - seen <= 5
    assert seen == 100


async def test_a_slow_source_holds_up_no_result() -> None:
    more = asyncio.Event()

    async def values() -> AsyncIterator[int]:
        yield 1
        await more.wait()
        yield 2

    async with running(double) as queue, aclosing(queue.stream(double, values())) as results:
        assert (await anext(results)).unwrap() == 2
        more.set()
        assert (await anext(results)).unwrap() == 4


@pytest.mark.parametrize("ordered", [True, False])
async def test_leaving_the_loop_withdraws_what_has_not_begun(ordered: bool) -> None:
    gated, source = Gated(), Source(1000)
    gated.let_go(0)
    tasks = asyncio.all_tasks()
    async with running(gated.collector, min_consumers=2, max_consumers=2) as queue:
        async with aclosing(queue.stream(gated.collector, source, ahead=10, ordered=ordered)) as results:
            async for result in results:
                assert result.unwrap() == 0
                break
            await until(lambda: len(gated.began) == 3, "two more have begun")
        assert queue.accounting().queued == 0
        assert gated.cancelled == []  # what has begun goes on
        gated.let_go(*gated.began)
        await queue.get_publisher().wait()
        assert len(gated.began) == 3
        assert source.taken <= 11
        assert not [task for task in asyncio.all_tasks() - tasks if task.get_name() == "stream"]


async def test_a_loop_that_is_just_left_withdraws_as_well() -> None:
    gated = Gated()
    gated.let_go(0)
    async with running(gated.collector, min_consumers=1, max_consumers=1) as queue:
        async for _ in queue.stream(gated.collector, range(100)):
            break
        await until(lambda: queue.accounting().queued == 0, "the queue is empty")
        gated.let_go(*range(100))


async def test_what_a_worker_has_not_begun_is_withdrawn_and_what_it_has_goes_on(tmp_path: Path) -> None:
    act, mark = Collector("act", handlers.act), tmp_path / "mark"
    async with running(act, min_workers=1, max_workers=1) as queue:
        pid = await queue.call(act, ["pid", None])
        values = [["echo", 0], ["hold", str(mark)], *[["echo", number] for number in range(500)]]
        async with aclosing(queue.stream(act, values)) as results:
            assert (await anext(results)).unwrap() == 0
            await until(lambda: mark.exists() and queue.accounting().accepted > 400, "a worker is held up")
        assert queue.accounting()[1:] == (queue.accounting().accepted - 1, 1, 0, 0, 0)  # all but one have ended
        mark.unlink()
        assert await queue.call(act, ["pid", None]) == pid  # nobody was killed


async def test_cancelling_the_task_ends_the_stream() -> None:
    gated = Gated()
    async with running(gated.collector, min_consumers=1, max_consumers=1) as queue:
        task = asyncio.create_task(collect(queue.stream(gated.collector, range(100))))
        await until(lambda: gated.began == [0] and queue.accounting().queued == 99, "the first has begun")
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        await until(lambda: queue.accounting().queued == 0, "the queue is empty")
        gated.let_go(0)
    assert gated.began == [0]


@pytest.mark.parametrize("make", [Source, AsyncSource])
@pytest.mark.parametrize("ordered", [True, False])
async def test_an_error_of_the_source_is_raised(make: Any, ordered: bool) -> None:
    gated = Gated()
    async with running(gated.collector, min_consumers=1, max_consumers=1) as queue:
        with pytest.raises(OSError, match="the source is broken"):
            await collect(queue.stream(gated.collector, make(10, fail_at=5), ordered=ordered))
        assert gated.began == [0]
        assert queue.accounting().queued == 0
        gated.let_go(0)


async def test_a_queue_that_ends_ends_the_stream() -> None:
    async def endless() -> AsyncIterator[int]:
        while True:
            await asyncio.sleep(0)
            yield 1

    async with running(double) as queue:
        results = queue.stream(double, endless())
        assert (await anext(results)).unwrap() == 2
        await queue.shut_down_queue()
        with pytest.raises(QueueShutDown):
            await collect(results)


async def test_map_yields_values_and_raises_the_first_error() -> None:
    @collector
    async def invert(number: int) -> float:
        return 1 / number

    async with running(invert) as queue:
        assert [value async for value in queue.map(invert, [1, 2, 4])] == [1, 0.5, 0.25]
        values = queue.map(invert, [1, 2, 0, 4])
        assert [await anext(values), await anext(values)] == [1, 0.5]
        with pytest.raises(ZeroDivisionError):
            await anext(values)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (5, {}, "takes an iterable or async iterable of values, not int"),
        ([], {"ahead": 0}, "ahead takes a whole number of values, at least 1, not 0"),
        ([], {"ahead": 1.5}, "ahead takes a whole number"),
        ([], {"ahead": True}, "ahead takes a whole number"),
    ],
)
async def test_wrong_arguments_are_refused_at_the_call(values: Any, options: Any, message: str) -> None:
    async with running(double) as queue:
        with pytest.raises(ConfigError, match=message):
            queue.stream(double, values, **options)
        with pytest.raises(ConfigError, match="is no collector of this queue"):
            queue.stream("other", [])
