"""Pipelines with stages that yield: none or several results of a value, and still a bound."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from event_collector import Collector, ConfigError, Error, QueueShutDown, collector
from tests.event_collector.calls.test_pipeline import collect, double, increase, outcomes, tasks
from tests.event_collector.calls.test_stream import AsyncSource, Gated, Source
from tests.event_collector.modes import running, until


@collector
async def count(number: int) -> AsyncIterator[int]:
    for part in range(number):
        yield part


@collector
async def count_and_fail(number: int) -> AsyncIterator[int]:
    for part in range(number):
        yield part
    raise OSError("broken")


class Endless:
    """A handler that yields as good as for ever, counts its parts, and notes that it was closed."""

    def __init__(self, most: int = 10**9) -> None:
        self._most = most
        self.given = self.closed = self.open = 0
        self.collector = Collector("endless", self.handle)

    async def handle(self, number: int) -> AsyncIterator[int]:
        self.open += 1
        try:
            for _ in range(self._most):
                self.given += 1
                yield self.given
        finally:
            self.open -= 1
            self.closed += 1


def parts_of(numbers: Any) -> list[int]:
    return [part for number in numbers for part in range(number)]


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("source", [[3, 0, 40, 1], AsyncSource(20), range(20)])
async def test_the_next_stage_gets_each_part(source: Any, ordered: bool) -> None:
    """A value has none or several results. Without order the parts of several values may be mixed."""
    numbers = source if isinstance(source, list) else range(20)
    async with running(count, double) as queue:
        results = await collect(queue.pipeline(count, double, ahead=10, ordered=ordered).stream(source))
        expected = [2 * part for part in parts_of(numbers)]
        assert (results if ordered else sorted(results)) == (expected if ordered else sorted(expected))
    assert tasks() == set()


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ([count], [0, 1, 2, 3]),
        ([increase, count], [0, 1, 2, 3, 4]),
        ([count, count], [0, 0, 1, 0, 1, 2]),
        ([count, increase, count, double], [0, 0, 2, 0, 2, 4, 0, 2, 4, 6]),
    ],
)
async def test_a_stage_that_yields_may_stand_anywhere(stages: list[Any], expected: list[int], ordered: bool) -> None:
    async with running(count, double, increase) as queue:
        for ahead in (3 * stages.count(count) + 1, 100):
            results = await collect(queue.pipeline(*stages, ahead=ahead, ordered=ordered).stream([4]))
            assert (results if ordered else sorted(results)) == (expected if ordered else sorted(expected))


@pytest.mark.parametrize("ordered", [True, False])
async def test_a_handler_that_fails_after_some_parts_has_an_error_after_them(ordered: bool) -> None:
    async with running(count_and_fail, double) as queue:
        pipeline = queue.pipeline(count_and_fail, double, ordered=ordered)
        results = [result async for result in pipeline.stream([2])]
        assert [result.value for result in results if not result.is_error] == [0, 2]
        (failed,) = [result for result in results if isinstance(result, Error)]
        assert (type(failed.err), failed.key) == (OSError, "count_and_fail")
        if ordered:
            assert results[-1] is failed


async def test_an_error_passes_by_all_later_stages() -> None:
    @collector
    async def fail(number: int) -> int:
        raise OSError("broken") if number == 1 else LookupError

    async with running(fail, count, double) as queue:
        results = [result async for result in queue.pipeline(fail, count, double, count).stream([1])]
        assert [(type(result.err), result.key) for result in results] == [(OSError, "fail")]


@pytest.mark.parametrize("ordered", [True, False])
async def test_a_million_parts_are_held_back_by_a_slow_stage(ordered: bool) -> None:
    """At most `ahead` are in the pipeline, and 16 for each value whose parts wait to be read."""
    endless, gated, source = Endless(), Gated(), Source(1000)
    async with running(endless.collector, gated.collector, min_consumers=50) as queue:
        pipeline = queue.pipeline(endless.collector, gated.collector, ahead=10, ordered=ordered)
        async with aclosing(pipeline.stream(source)) as results:
            first = asyncio.ensure_future(anext(results))
            await until(lambda: len(gated.began) == (4 if ordered else 3), "the last stage is full")
            for _ in range(20):
                await asyncio.sleep(0)
            assert source.taken <= 10
            assert endless.given <= 17 * source.taken + 10
            assert len(gated.began) <= 10
            gated.let_go(*range(1000))
            await first
            for _ in range(100):
                await anext(results)
        assert source.taken <= 10
        await until(lambda: not endless.open, "all handlers are closed")
        assert endless.closed <= 10
        assert tasks() == set()
        await until(lambda: not queue.accounting().in_handlers, "all have ended")


@pytest.mark.parametrize("ordered", [True, False])
async def test_values_that_wait_for_their_turn_to_yield_are_closed_too(ordered: bool) -> None:
    """What was suspended without a reader ends, and what has not begun is withdrawn."""
    endless = Endless()
    async with running(endless.collector, double, min_consumers=3, max_consumers=30) as queue:
        async with aclosing(queue.pipeline(endless.collector, ahead=40, ordered=ordered).stream(range(100))) as results:
            for _ in range(50):
                await anext(results)
        await until(lambda: not endless.open and not queue.accounting().in_handlers, "all are closed")
        assert queue.accounting().queued == 0
        assert await queue.call(double, 1) == 2


async def test_without_order_several_values_yield_at_the_same_time() -> None:
    began: set[int] = set()
    both = asyncio.Event()

    @collector
    async def meet(number: int) -> AsyncIterator[int]:
        for part in range(20):  # more than may wait to be read
            yield part
        began.add(number)
        if len(began) == 2:
            both.set()
        await both.wait()
        yield 20

    async with running(meet, double, min_consumers=10) as queue:
        assert len(await collect(queue.pipeline(meet, double, ordered=False).stream([1, 2]))) == 42


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("make", [Source, AsyncSource])
async def test_an_error_of_the_source_is_raised(make: Any, ordered: bool) -> None:
    """At once; in order it comes after the parts of the value that is read."""
    endless = Endless(100 if ordered else 10**9)
    async with running(endless.collector, double, min_consumers=20) as queue:
        with pytest.raises(OSError, match="the source is broken"):
            await collect(queue.pipeline(endless.collector, double, ordered=ordered).stream(make(10, fail_at=5)))
        await until(lambda: not endless.open and not queue.accounting().in_handlers, "all are closed")
    assert tasks() == set()


@pytest.mark.parametrize("ordered", [True, False])
async def test_cancelling_the_task_ends_the_pipeline(ordered: bool) -> None:
    endless, gated = Endless(), Gated()
    async with running(endless.collector, gated.collector, min_consumers=50) as queue:
        pipeline = queue.pipeline(endless.collector, gated.collector, ordered=ordered)
        task = asyncio.create_task(collect(pipeline.stream(range(20))))
        await until(lambda: gated.began, "the last stage has begun")
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert tasks() == set()
        gated.let_go(*range(10_000))
        await until(lambda: not endless.open and not queue.accounting().in_handlers, "all are closed")


@pytest.mark.parametrize("ordered", [True, False])
async def test_a_queue_that_ends_ends_the_pipeline(ordered: bool) -> None:
    endless = Endless()
    async with running(endless.collector, double, min_consumers=20, consumer_shutdown_timeout=0.05) as queue:
        results = queue.pipeline(endless.collector, double, ahead=10, ordered=ordered).stream(Source(10**9))
        await anext(results)
        ending = asyncio.create_task(queue.shut_down_queue())
        with pytest.raises(QueueShutDown):
            await outcomes(results)
        await ending
    assert tasks() == set()
    assert not endless.open


async def test_map_raises_the_failure_of_a_stage_that_yields() -> None:
    async with running(count_and_fail, double) as queue:
        values = queue.pipeline(count_and_fail, double).map([2])
        assert [await anext(values), await anext(values)] == [0, 2]
        with pytest.raises(OSError, match="broken") as raised:
            await anext(values)
        assert raised.value.__notes__ == ["in stage 'count_and_fail' of the pipeline"]


@pytest.mark.parametrize(("ordered", "least"), [(True, 5), (False, 7)])
async def test_too_small_a_bound_is_refused(ordered: bool, least: int) -> None:
    async with running(count, double) as queue:
        with pytest.raises(ConfigError, match=f"ahead takes at least {least} for these stages, .'count'. yield"):
            queue.pipeline(count, count, ahead=least - 1, ordered=ordered)
        assert await collect(queue.pipeline(count, count, ahead=least, ordered=ordered).stream([3])) == [0, 0, 1]


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize(("stages", "consumers"), [([count, double], 3), ([count, double, count, double], 5)])
async def test_handlers_that_are_suspended_leave_a_place_to_later_stages(
    stages: list[Any], consumers: int, ordered: bool
) -> None:
    async with running(count, double, max_consumers=consumers) as queue:
        values = queue.pipeline(*stages, ahead=100, ordered=ordered).map([20, 30, 20, 25])
        assert len([value async for value in values]) >= 95
    async with running(count, double, max_consumers=consumers - 1) as queue:
        with pytest.raises(ConfigError, match=f"needs max_consumers of at least {consumers}, not {consumers - 1}"):
            queue.pipeline(*stages)


def count_plain(number: int) -> Iterator[int]:
    yield from range(number)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("mode", ["thread", "process"])
async def test_handlers_outside_of_the_loop_yield(mode: str, ordered: bool) -> None:
    """With one worker or one thread, too: a handler that is suspended leaves it to the others."""
    stages = [Collector("count", count_plain, mode=mode), Collector("double", echo_double, mode=mode)]
    async with running(*stages, max_workers=1, max_threads=1) as queue:
        values = queue.pipeline(*stages, ahead=50, ordered=ordered).map([40, 50, 60] * 5)
        results = [value async for value in values]
        expected = [2 * part for part in parts_of([40, 50, 60] * 5)]
        assert (results if ordered else sorted(results)) == (expected if ordered else sorted(expected))
        async with aclosing(queue.pipeline(*stages, ahead=50, ordered=ordered).stream([10**9] * 100)) as parts:
            for _ in range(100):
                await anext(parts)
        await until(lambda: not queue.accounting().in_handlers, "all are closed")
        assert await queue.call("double", 4) == 8


def echo_double(number: int) -> int:
    return 2 * number
