"""Pipelines: the order, the bound, failures and ends, across modes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any

import pytest

from event_collector import (
    Collector,
    ConfigError,
    Error,
    EventDropped,
    HandlerTimeout,
    Ok,
    Payload,
    QueueShutDown,
    QueueType,
    Retry,
    WorkerCrashed,
    collector,
)
from event_collector.tiers.coroutines.coroutine_tier import IS_EAGER
from tests.event_collector import sample_handlers as handlers
from tests.event_collector.calls.test_stream import AsyncSource, Gated, Source
from tests.event_collector.modes import MODES, place, running, until


@collector
async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


@collector
async def increase(number: int) -> int:
    return number + 1


@collector
async def invert(number: int) -> float:
    return 1 / number


def tasks() -> set[str]:
    return {task.get_name() for task in asyncio.all_tasks()} & {"pipeline", "stream"}


async def collect(results: Any) -> list[Any]:
    return [result.unwrap() async for result in results]


async def outcomes(results: Any) -> list[Any]:
    return [result async for result in results]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("ordered", [True, False])
async def test_values_pass_through_stages_of_every_mode(mode: str, ordered: bool) -> None:
    """A stage of each mode stands between two others."""

    @collector
    async def wrap(number: int) -> list[Any]:
        return ["echo", number] if number != 33 else ["raise", "key"]

    with place(mode) as where:
        act = Collector("act", MODES[mode], mode=where)
        async with running(wrap, act, double) as queue:
            pipeline = queue.pipeline(wrap, "act", double, ahead=8, ordered=ordered)
            results = [result async for result in pipeline.stream(range(50))]
            failed = [result for result in results if isinstance(result, Error)]
            assert [(type(result.err), result.key) for result in failed] == [(KeyError, "act")]
            assert not ordered or results[33].is_error
            answers = [result.value for result in results if result.ok()]
            assert (answers if ordered else sorted(answers)) == [2 * number for number in range(50) if number != 33]


@pytest.mark.parametrize("source", [range(100), AsyncSource(100), Source(100)])
@pytest.mark.parametrize("stages", [[double], [double, increase], [increase, double, increase, double]])
async def test_any_number_of_stages_takes_any_iterable(source: Any, stages: list[Any]) -> None:
    async with running(double, increase) as queue:
        expected = list(range(100))
        for stage in stages:
            expected = [number * 2 if stage is double else number + 1 for number in expected]
        assert await collect(queue.pipeline(*stages, ahead=7).stream(source)) == expected


async def test_an_empty_pipeline_stream_ends() -> None:
    async with running(double) as queue:
        assert await collect(queue.pipeline(double, double).stream([])) == []


async def test_a_value_waits_for_no_other_between_two_stages() -> None:
    """A slow value holds up the results, but not the work on those behind it."""
    first, second = Gated(), Gated()
    first.collector, second.collector = Collector("first", first.handle), Collector("second", second.handle)
    async with running(first.collector, second.collector) as queue:
        results = queue.pipeline("first", "second").stream(range(3))
        one = asyncio.ensure_future(anext(results))
        await until(lambda: first.began == [0, 1, 2], "all are in the first stage")
        first.let_go(2, 1)
        await until(lambda: sorted(second.began) == [1, 2], "two are in the second stage")
        second.let_go(0, 1, 2)
        first.let_go(0)
        assert (await one).unwrap() == 0
        assert await collect(results) == [1, 2]


async def test_all_stages_work_at_the_same_time() -> None:
    gates = [Gated() for _ in range(3)]
    stages = [Collector(f"stage {index}", gate.handle) for index, gate in enumerate(gates)]
    async with running(*stages) as queue:
        done = asyncio.create_task(collect(queue.pipeline(*stages).stream(range(3))))
        gates[0].let_go(0, 1)
        gates[1].let_go(0)
        await until(lambda: [sorted(gate.began) for gate in gates] == [[0, 1, 2], [0, 1], [0]], "each stage has one")
        assert queue.accounting().in_handlers == 3
        for gate in gates:
            gate.let_go(0, 1, 2)
        assert await done == [0, 1, 2]


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("make", [Source, AsyncSource])
async def test_no_more_values_are_in_a_pipeline_than_allowed(ordered: bool, make: Any) -> None:
    """The bound is one for all stages."""
    source, seen = make(100), 0
    async with running(double, increase) as queue:
        async for _ in queue.pipeline(double, increase, double, ahead=5, ordered=ordered).stream(source):
            seen += 1
            assert source.taken - seen < 5
            await asyncio.sleep(0)
            assert source.taken - seen <= 5
            assert queue.accounting().in_handlers + queue.accounting().queued <= 5
    assert seen == 100


async def test_a_full_queue_makes_values_wait_between_stages() -> None:
    async with running(double, increase, max_queue_size=2, min_consumers=1, max_consumers=1) as queue:
        assert await collect(queue.pipeline(double, increase, double, ahead=20).stream(range(200))) == [
            2 * (2 * number + 1) for number in range(200)
        ]


@pytest.mark.parametrize("stage", [0, 1])
async def test_a_failure_names_its_stage(stage: int) -> None:
    stages = [double, double]
    stages.insert(stage, invert)
    async with running(double, invert) as queue:
        results = [result async for result in queue.pipeline(*stages).stream([1, 0, 2])]
        assert [result.is_error for result in results] == [False, True, False]
        assert results[1].key == "invert"
        assert isinstance(results[1].err, ZeroDivisionError)


async def test_a_failure_outside_of_the_handler_names_its_stage_as_well() -> None:
    act = Collector("act", handlers.act)
    slow = Collector("slow", handlers.act_async, timeout=0.05)
    async with running(slow, act) as queue:
        crash = [result async for result in queue.pipeline("act", "act").stream([["echo", ["exit", 1]]])]
        late = [result async for result in queue.pipeline("act", "slow").stream([["echo", ["sleep", 60]]])]
        assert [(type(r.err), r.key) for r in crash] == [(WorkerCrashed, "act")]
        assert [(type(r.err), r.key) for r in late] == [(HandlerTimeout, "slow")]


async def test_what_a_stage_may_not_return_fails_there() -> None:
    @collector
    async def odd(number: int) -> Any:
        return Payload(number) if number == 1 else number

    async with running(odd, double) as queue:
        good, bad = [result async for result in queue.pipeline(odd, double).stream([0, 1])]
        assert (good, bad.key) == (good, "double")
        assert isinstance(bad.err, ConfigError)
        assert "a call takes a value, not a Payload" in str(bad.err)


async def test_results_of_handlers_are_unwrapped_between_stages() -> None:
    @collector
    async def wrapped(number: int) -> Any:
        return Ok(number) if number else Error("nothing")

    async with running(wrapped, double) as queue:
        good, bad = [result async for result in queue.pipeline(wrapped, double).stream([1, 0])]
        assert good.unwrap() == 2
        assert (bad.err, bad.key) == ("nothing", "wrapped")


async def test_each_stage_retries_for_itself() -> None:
    calls: list[int] = []

    async def flaky(number: int) -> int:
        calls.append(number)
        if calls.count(number) < 2:
            raise OSError("not yet")
        return number

    stage = Collector("flaky", flaky, retry=Retry(max_attempts=2, backoff=0))
    async with running(double, stage) as queue:
        assert await collect(queue.pipeline(double, stage, double).stream(range(3))) == [0, 4, 8]
        assert sorted(calls) == [0, 0, 2, 2, 4, 4]


async def test_map_raises_the_first_failure_with_its_stage() -> None:
    async with running(double, invert) as queue:
        values = queue.pipeline(double, invert).map([1, 2, 0, 4])
        assert [await anext(values), await anext(values)] == [0.5, 0.25]
        with pytest.raises(ZeroDivisionError) as raised:
            await anext(values)
        assert raised.value.__notes__ == ["in stage 'invert' of the pipeline"]
        assert tasks() == set()


@pytest.mark.skipif(not IS_EAGER, reason="all values of the first stage come before one of the second")
@pytest.mark.parametrize("ordered", [True, False])
async def test_leaving_the_loop_withdraws_what_has_not_begun(ordered: bool) -> None:
    """What is in a handler comes to the end of that stage, and no further."""
    gated, source = Gated(), Source(1000)
    gated.let_go(0)
    async with running(increase, gated.collector, double, min_consumers=2, max_consumers=2) as queue:
        pipeline = queue.pipeline(gated.collector, increase, double, ahead=10, ordered=ordered)
        async with aclosing(pipeline.stream(source)) as results:
            async for result in results:
                assert result.unwrap() == 2
                break
            await until(lambda: len(gated.began) == 3, "two more have begun")
        assert queue.accounting().queued == 0
        assert gated.cancelled == []
        assert tasks() == set()
        before = queue.accounting().accepted
        gated.let_go(*gated.began)
        await queue.get_publisher().wait()
        assert (len(gated.began), queue.accounting().accepted) == (3, before)
        assert source.taken <= 11


async def test_cancelling_the_task_ends_the_pipeline() -> None:
    gated = Gated()
    async with running(double, gated.collector, min_consumers=1, max_consumers=1) as queue:
        task = asyncio.create_task(collect(queue.pipeline(double, gated.collector).stream(range(100))))
        await until(lambda: gated.began == [0], "the first is in the second stage")
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert queue.accounting().queued == 0
        assert tasks() == set()
        gated.let_go(0)
    assert gated.began == [0]


@pytest.mark.parametrize("make", [Source, AsyncSource])
async def test_an_error_of_the_source_is_raised(make: Any) -> None:
    gated = Gated()
    async with running(double, gated.collector) as queue:
        with pytest.raises(OSError, match="the source is broken"):
            await collect(queue.pipeline(double, gated.collector).stream(make(10, fail_at=5)))
        assert tasks() == set()
        gated.let_go(*range(0, 20, 2))


async def test_a_queue_that_ends_ends_the_pipeline() -> None:
    async def endless() -> AsyncIterator[int]:
        while True:
            await asyncio.sleep(0)
            yield 1

    async with running(double, increase) as queue:
        results = queue.pipeline(double, increase).stream(endless())
        assert (await anext(results)).unwrap() == 3
        await queue.shut_down_queue()
        with pytest.raises(QueueShutDown):
            await collect(results)


async def test_a_value_between_two_stages_of_an_ended_queue_is_an_error() -> None:
    """Each value that was taken has a result, also when its next stage refuses it."""
    gated = Gated()
    async with running(gated.collector, double) as queue:
        results = queue.pipeline(gated.collector, double).stream([1])
        one = asyncio.ensure_future(anext(results))
        await until(lambda: gated.began == [1], "it is in the first stage")
        ending = asyncio.create_task(queue.shut_down_queue())
        await asyncio.sleep(0)
        gated.let_go(1)
        result = await one
        await ending
        assert (type(result.err), result.key) == (QueueShutDown, "double")
        assert await collect(results) == []


async def test_a_dropped_event_leaves_with_its_stage() -> None:
    gated = Gated()
    options: Any = {"max_queue_size": 1, "overflow": "drop_newest", "min_consumers": 1, "max_consumers": 1}
    async with running(gated.collector, **options) as queue:
        done = asyncio.create_task(outcomes(queue.pipeline(gated.collector, gated.collector).stream([1, 2, 3])))
        await until(lambda: queue.dropped == 1, "the last has no room")
        gated.let_go(1, 2)
        assert [(type(result.err), result.key) for result in await done if result.is_error] == [(EventDropped, "gated")]


async def test_one_pipeline_serves_several_streams_at_once() -> None:
    async with running(double, increase) as queue:
        pipeline = queue.pipeline(double, increase, ahead=3)
        one, two = await asyncio.gather(collect(pipeline.stream(range(50))), collect(pipeline.stream(range(50, 100))))
        assert one + two == [2 * number + 1 for number in range(100)]
        assert repr(pipeline) == "<Pipeline double -> increase ahead=3>"


async def test_handlers_of_all_stages_have_the_context_of_the_loop() -> None:
    name: ContextVar[str] = ContextVar("name", default="none")
    seen: list[str] = []

    @collector
    async def look(number: int) -> int:
        seen.append(name.get())
        return number

    async with running(look) as queue:
        name.set("caller")
        assert await collect(queue.pipeline(look, look).stream([1, 2])) == [1, 2]
    assert seen == ["caller"] * 4


async def test_the_priority_holds_at_each_stage() -> None:
    gated, began = Gated(), list[tuple[str, int]]()

    def stage(key: str) -> Collector:
        async def note(number: int) -> int:
            began.append((key, number))
            return number

        return Collector(key, note)

    options: Any = {"queue_type": QueueType.PRIORITY, "min_consumers": 1, "max_consumers": 1}
    async with running(gated.collector, stage("a"), stage("b"), **options) as queue:
        blocker = queue.submit(gated.collector, 0)
        idle = asyncio.create_task(collect(queue.stream("a", [1])))
        urgent = asyncio.create_task(collect(queue.pipeline("a", "b", priority=1).stream([2])))
        await until(lambda: queue.accounting().queued == 2, "both wait")
        gated.let_go(0)
        await asyncio.gather(blocker.wait(), idle, urgent)
    assert began[0] == ("a", 2)


@pytest.mark.parametrize(
    ("stages", "options", "message"),
    [
        ([], {}, "at least one"),
        (["double", "other"], {}, "'other' is no collector of this queue"),
        (["double"], {"ahead": 0}, "ahead takes a whole number of values, at least 1, not 0"),
    ],
)
async def test_a_wrong_pipeline_is_refused_at_once(stages: list[Any], options: Any, message: str) -> None:
    async with running(double) as queue:
        with pytest.raises(ConfigError, match=message):
            queue.pipeline(*stages, **options)


async def test_wrong_values_are_refused_at_the_call() -> None:
    async with running(double) as queue:
        with pytest.raises(ConfigError, match="takes an iterable or async iterable of values, not int"):
            queue.pipeline(double).stream(5)
