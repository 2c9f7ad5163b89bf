"""Chunks of a stream: many values in one job, with the promises of single events."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from event_collector import (
    Collector,
    CollectorQueue,
    EncodeError,
    Error,
    EventCancelled,
    HandlerTimeout,
    HeartbeatTimeout,
    PayloadTypeError,
    QueueShutDown,
    QueueType,
    Result,
    Retry,
    WorkerCrashed,
    WorkerLimits,
)
from event_collector.dispatch.chunks import Chunks
from tests.event_collector.calls import chunk_handlers as handlers
from tests.event_collector.modes import BOUND, balanced, balanced_all_along, running, until


def chunks_of(queue: CollectorQueue) -> Chunks:
    return queue._dispatcher.chunks


def jobs_of(queue: CollectorQueue) -> int:
    """Return how many jobs the pool has got."""
    workers = queue._engine._tiers.workers.groups["default"]
    return workers.statistics().submitted


def process(handler: Any, **options: Any) -> Collector:
    return Collector("act", handler, mode="process", **options)


def acts(folder: Path, count: int, what: dict[int, str]) -> list[list[Any]]:
    return [[str(folder), number, what.get(number, "")] for number in range(count)]


async def results_of(stream: Any) -> list[Result[Any]]:
    return [result async for result in stream]


def check_others(folder: Path, results: list[Result[Any]], odd: int) -> None:
    """Each value was begun once, and all but one have their results."""
    assert handlers.begun(folder) == list(range(len(results)))
    assert [result.value for result in results] == [number if number != odd else None for number in range(len(results))]


@pytest.mark.parametrize("memory", [None, 0])
@pytest.mark.parametrize("limits", [None, WorkerLimits(open_files=16)], ids=["free", "few files"])
async def test_chunks_travel_in_shared_memory(memory: int | None, limits: WorkerLimits | None) -> None:
    """Some hundred kilobytes of values do; a platform or a worker that cannot have any gets them all the same."""
    act = process(handlers.describe)
    values: list[Any] = [chr(97 + number % 26) * 4000 for number in range(1000)]
    values[500] = values[500].encode()
    async with running(act, max_shared_memory=memory, worker_limits=limits) as queue:
        for _ in range(2):
            found = [value async for value in queue.map(act, values, chunk=100)]
            assert found == [f"{type(value).__name__} {value[0]} {len(value)}" for value in values]
        if limits is None:
            assert bool(queue.snapshot().shared_memory) is (memory is None)
        assert queue.accounting().finished == 2000


async def test_short_values_share_jobs() -> None:
    """Thousands of values need some dozen jobs, and count as events."""
    act = process(handlers.increase)
    async with running(act) as queue, balanced_all_along(queue):
        assert [value async for value in queue.map(act, range(5000))] == list(range(1, 5001))
        assert jobs_of(queue) < 1000
        account = queue.accounting()
        assert account.accepted == account.finished == 5000
        figures = queue.collector_metrics()["act"]
        assert (figures.event_count, figures.error_count, figures.running) == (5000, 0, 0)
        assert figures.service_time.p50 < 1.0
        assert not chunks_of(queue).feeds


async def test_another_stream_begins_with_the_size_that_was_measured() -> None:
    """A collector's chunks do not begin with one value each time."""
    act = process(handlers.increase)
    async with running(act) as queue:
        jobs = []
        for _ in range(2):
            before = jobs_of(queue)
            async for _ in queue.map(act, range(3000)):
                pass
            jobs.append(jobs_of(queue) - before)
    assert jobs[1] < jobs[0]


async def test_a_handler_that_does_more_than_compute_is_run_in_chunks_too() -> None:
    """Large integers, context variables, coroutines and errors among plain results: each has its own outcome."""
    act = process(handlers.vary)
    async with running(act) as queue:
        results = await results_of(queue.stream(act, range(60), chunk=20))
    for number, result in enumerate(results):
        match number % 5:
            case 0 | 3:
                assert result.value == number
            case 1:
                assert result.value == 2**70 + number
            case 2:
                assert result.value == f"{number}, before: None"
            case 4:
                assert type(result.err) is KeyError


@pytest.mark.parametrize("chunk", [None, 1, 7, 10_000, "auto"])
@pytest.mark.parametrize("ordered", [True, False])
async def test_the_size_of_chunks_changes_no_result(chunk: Any, ordered: bool) -> None:
    act = process(handlers.increase)
    async with running(act, max_workers=2) as queue:
        results = [v async for v in queue.map(act, iter(range(500)), chunk=chunk, ordered=ordered, ahead=100)]
        assert (results if ordered else sorted(results)) == list(range(1, 501))
        assert jobs_of(queue) == (500 if chunk in (None, 1) else jobs_of(queue))


@pytest.mark.parametrize("handler", [handlers.act, handlers.act_async])
@pytest.mark.parametrize(
    ("what", "error"), [("raise", KeyError), ("object", EncodeError), ("die", WorkerCrashed), ("leave", WorkerCrashed)]
)
async def test_a_failure_costs_the_value_that_it_hits(tmp_path: Path, handler: Any, what: str, error: Any) -> None:
    """Values before it are kept, those behind it run elsewhere, and none runs twice."""
    act = process(handler)
    async with running(act) as queue, balanced_all_along(queue):
        results = await results_of(queue.stream(act, acts(tmp_path, 60, {31: what}), chunk=20))
        check_others(tmp_path, results, odd=31)
        assert isinstance(results[31], Error)
        assert isinstance(results[31].err, error)
        assert results[31].key == "act"
        assert results[31].details["args"][0].value[1] == 31  # type: ignore[index]
        assert queue.collector_metrics()["act"].error_count == 1


async def test_an_error_that_is_returned_is_a_result(tmp_path: Path) -> None:
    act = process(handlers.act)
    async with running(act) as queue:
        results = await results_of(queue.stream(act, acts(tmp_path, 9, {4: "error"}), chunk=9))
        check_others(tmp_path, results, odd=4)
        assert isinstance(results[4], Error)
        assert results[4].err == 4


async def test_a_time_limit_is_that_of_each_value(tmp_path: Path) -> None:
    """The values of a chunk may take longer than the limit together; one that does alone fails alone."""
    act = process(handlers.act, timeout=1.0)
    async with running(act) as queue, balanced_all_along(queue):
        values = acts(tmp_path, 100, {**dict.fromkeys(range(100), "slow"), 90: "stay"})
        results = await results_of(queue.stream(act, values, chunk=100))
        check_others(tmp_path, results, odd=90)
        assert isinstance(results[90], Error)
        assert isinstance(results[90].err, HandlerTimeout)


async def test_a_heartbeat_is_that_of_each_value(tmp_path: Path) -> None:
    """A value that reports may take longer than the heartbeat; one that is silent for so long fails alone."""
    act = process(handlers.act, heartbeat=1.0)
    async with running(act) as queue, balanced_all_along(queue):
        results = await results_of(queue.stream(act, acts(tmp_path, 60, {20: "report", 40: "stay"}), chunk=60))
        check_others(tmp_path, results, odd=40)
        assert isinstance(results[40], Error)
        assert isinstance(results[40].err, HeartbeatTimeout)


async def test_values_behind_a_slow_one_go_to_another_worker(tmp_path: Path) -> None:
    """The first value of a chunk waits for a later one of the same chunk, which another worker begins."""
    act = process(handlers.act)
    async with running(act, max_workers=2, min_workers=2) as queue, balanced_all_along(queue):
        results = await results_of(queue.stream(act, acts(tmp_path, 40, {0: "wait for next"}), chunk=40))
        check_others(tmp_path, results, odd=-1)


async def test_results_do_not_wait_for_a_slow_value_behind_them(tmp_path: Path) -> None:
    """The consumer has the results of finished values while a later one of their chunk still runs."""
    act = process(handlers.act)
    async with running(act) as queue:
        results = queue.map(act, acts(tmp_path, 40, {25: "wait for go"}), chunk=40)
        assert [await anext(results) for _ in range(25)] == list(range(25))
        (tmp_path / "go").touch()
        assert [value async for value in results] == list(range(25, 40))
        assert handlers.begun(tmp_path) == list(range(40))


async def test_a_failed_value_is_tried_again_alone(tmp_path: Path) -> None:
    act = process(handlers.fail_first, retry=Retry(max_attempts=3, backoff=0.001))
    async with running(act) as queue, balanced_all_along(queue):
        values = acts(tmp_path, 50, {7: "fail", 8: "fail", 33: "fail"})
        assert [value async for value in queue.map(act, values, chunk=25)] == list(range(50))
        assert Counter(handlers.begun(tmp_path)) == {n: 2 if n in (7, 8, 33) else 1 for n in range(50)}


async def test_a_value_that_fails_for_good_has_a_dead_letter(tmp_path: Path) -> None:
    act = process(handlers.act, retry=Retry(max_attempts=2, backoff=0.001))
    async with running(act) as queue, balanced_all_along(queue):
        results = await results_of(queue.stream(act, acts(tmp_path, 30, {5: "raise", 20: "die"}), chunk=15))
        assert [number for number, result in enumerate(results) if result.is_error] == [5, 20]
        assert sorted(letter.payload.value[1] for letter in queue.dead_letters) == [5, 20]
        assert queue.accounting().dead == 2


async def test_values_and_results_of_another_type_fail_alone() -> None:
    wrong = process(handlers.increase_wrongly)
    async with running(wrong) as queue:
        values: list[Any] = [*range(40), "four", *range(41, 60)]
        results = await results_of(queue.stream(wrong, values, chunk=30))
        failed = {number: type(result.err) for number, result in enumerate(results) if isinstance(result, Error)}
        assert failed == {**dict.fromkeys((3, 13, 23, 33, 43, 53), EncodeError), 40: PayloadTypeError}
        assert [r.value for r in results if r.ok()] == [v + 1 for v in values if v != "four" and v % 10 != 3]


async def test_a_value_that_cannot_be_encoded_fails_alone() -> None:
    act = process(handlers.keys_of, payload_type=Any)
    async with running(act) as queue:
        results = await results_of(queue.stream(act, [1, 2, object(), 4], chunk=4))
        assert [result.is_error for result in results] == [False, False, True, False]
        assert isinstance(results[2], Error)
        assert isinstance(results[2].err, EncodeError)


@pytest.mark.parametrize("handler", [handlers.letters, handlers.zeros])
async def test_results_of_any_size_arrive_in_order(handler: Any) -> None:
    """Small results share a record, large ones have one of their own; their order is that of the values."""
    act = process(handler)
    sizes = [0, 10, 70_000, 3, 1_000_000, *[20_000] * 30, 65_535, 65_536, 65_537, 5] * 2
    async with running(act) as queue:
        assert [len(value) async for value in queue.map(act, sizes, chunk=40)] == sizes


async def test_handlers_see_what_they_see_in_events() -> None:
    """The payload, the running event, and no context variable of another value."""
    collectors = [
        Collector(f.__name__, f, mode="process") for f in (handlers.keys_of, handlers.event_id, handlers.leak)
    ]
    async with running(*collectors) as queue:
        seen = [value async for value in queue.map("keys_of", range(3), chunk=3)]
        assert seen == [[number, ["keys_of"], "KEY", 1] for number in range(3)]
        ids = [value async for value in queue.map("event_id", range(5), chunk=5)]
        assert [one[1:] for one in ids] == [["event_id", 1, True]] * 5
        assert [one[0] - ids[0][0] for one in ids] == list(range(5))
        event = await queue.send(0)
        assert event.id > ids[-1][0]
        assert [value async for value in queue.map("leak", range(6), chunk=3)] == [-1] * 6
        await event


async def test_leaving_the_loop_withdraws_what_has_not_begun(tmp_path: Path) -> None:
    """The value in its handler goes on; the others never begin; nothing is left of the stream."""
    act = process(handlers.act)
    async with running(act) as queue, balanced_all_along(queue):
        async with aclosing(queue.stream(act, acts(tmp_path, 400, {10: "wait for go"}), chunk=50)) as results:
            assert [(await anext(results)).value for _ in range(10)] == list(range(10))
        assert queue.accounting().in_handlers == 1
        (tmp_path / "go").touch()
        await until(lambda: queue.accounting().finished == queue.accounting().accepted, "all have results")
        assert handlers.begun(tmp_path) == list(range(11))
        assert not chunks_of(queue).feeds
        assert chunks_of(queue).values == chunks_of(queue).jobs == 0


async def test_an_error_of_the_source_withdraws_what_has_not_begun(tmp_path: Path) -> None:
    def source() -> Any:
        yield from acts(tmp_path, 50, {0: "wait for go"})
        raise OSError("the source is broken")

    act = process(handlers.act)
    async with running(act) as queue:
        with pytest.raises(OSError, match="the source is broken"):
            await results_of(queue.stream(act, source(), chunk=25))
        (tmp_path / "go").touch()
        await until(lambda: queue.accounting().finished == queue.accounting().accepted, "all have results")
        assert handlers.begun(tmp_path) in ([], [0])


async def test_a_shutdown_finishes_the_values_that_were_taken(tmp_path: Path) -> None:
    """The stream ends with QueueShutDown, and nothing is left of it."""
    act = process(handlers.act)

    async def consume() -> None:
        values = ([str(tmp_path), number, ""] for number in itertools.count())
        async for _ in queue.stream(act, values, ahead=100):
            pass

    async with running(act) as queue:
        stream = asyncio.create_task(consume())
        await until(lambda: len(handlers.begun(tmp_path)) > 50, "it runs")
        await queue.shut_down_queue()
        with pytest.raises(QueueShutDown):
            await stream
        balanced(queue)
        assert queue.accounting().finished == queue.accounting().accepted
        assert len(set(handlers.begun(tmp_path))) == len(handlers.begun(tmp_path))


async def test_a_shutdown_that_takes_too_long_ends_every_value(tmp_path: Path) -> None:
    act = process(handlers.act)
    queue = CollectorQueue([act], logging=False, max_workers=1, consumer_shutdown_timeout=0.2)
    async with asyncio.timeout(BOUND):
        await queue.init_queue()
        stream = asyncio.create_task(results_of(queue.stream(act, acts(tmp_path, 100, {20: "stay"}), chunk=50)))
        await until(lambda: 20 in handlers.begun(tmp_path), "it is in its handler")
        await queue.shut_down_queue()
        results = await stream
    balanced(queue)
    assert queue.accounting().finished == 100
    assert [result.value for result in results[:20]] == list(range(20))
    assert all(isinstance(result, Error) and isinstance(result.err, QueueShutDown) for result in results[20:])
    assert handlers.begun(tmp_path) == list(range(21))


@pytest.mark.parametrize(
    "options",
    [
        {"max_queue_size": 5},
        {"max_queue_size": 5, "overflow": "drop_oldest"},
        {"queue_type": QueueType.PRIORITY},
        {"queue_type": QueueType.LIFO},
        {"max_events_per_worker": 30},
    ],
)
async def test_results_are_the_same_in_every_kind_of_queue(options: dict[str, Any]) -> None:
    """Where each value needs a place or a number of its own, values travel alone or in smaller chunks."""
    act = process(handlers.increase)
    async with running(act, **options) as queue, balanced_all_along(queue):
        ahead = 4 if "overflow" in options else 40
        assert [v async for v in queue.map(act, range(200), ahead=ahead)] == list(range(1, 201))


async def test_a_journal_records_each_value(tmp_path: Path) -> None:
    act = process(handlers.increase)
    async with running(act, journal=tmp_path / "journal") as queue:
        assert [v async for v in queue.map(act, range(50))] == list(range(1, 51))
        assert jobs_of(queue) == 50


async def test_a_collector_that_moves_takes_its_values_along() -> None:
    """Values that wait for workers go to the event loop, and come back."""
    act = Collector("act", handlers.increase, mode="adaptive")
    async with running(act, autoscale=False) as queue, balanced_all_along(queue):
        results: list[int] = []
        async for value in queue.map(act, range(2000), ahead=300):
            results.append(value)
            if len(results) % 300 == 0:
                act.move_to("thread" if act.place == "process" else "process")
                queue._engine.pauses.redirect()
        assert results == list(range(1, 2001))


async def test_events_and_streams_share_the_workers() -> None:
    """Neither waits for the end of the other, and streams do not wait for each other."""
    act = process(handlers.increase)
    async with running(act, max_workers=2) as queue, balanced_all_along(queue):
        async with (
            aclosing(queue.map(act, itertools.count())) as first,
            aclosing(queue.map(act, itertools.count())) as second,
        ):
            for number in range(2000):
                assert await anext(first) == await anext(second) == number + 1
                if number % 100 == 0:
                    assert await queue.call(act, 1) == 2
        events = [await queue.send(number) for number in range(3000)]
        assert [v async for v in queue.map(act, range(100))] == list(range(1, 101))
        for event in events:
            await event.value()


async def test_values_of_an_async_source_that_come_together_share_jobs() -> None:
    async def source() -> AsyncIterator[int]:
        for number in range(3000):
            if number % 1000 == 0:
                await asyncio.sleep(0)
            yield number

    act = process(handlers.increase)
    async with running(act) as queue:
        assert [v async for v in queue.map(act, source())] == list(range(1, 3001))
        assert jobs_of(queue) < 1000


async def test_no_more_values_are_taken_than_ahead() -> None:
    taken = 0

    def source() -> Any:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield number

    act, yielded = process(handlers.increase), 0
    async with running(act) as queue:
        async for _ in queue.stream(act, source(), ahead=64):
            assert taken - yielded <= 64
            yielded += 1
        assert taken == yielded == 1000


async def test_a_stream_before_the_start_begins_with_it() -> None:
    act = process(handlers.increase)
    queue = CollectorQueue([act], logging=False, max_workers=1)
    stream = asyncio.create_task(results_of(queue.stream(act, range(100), ahead=10)))
    await asyncio.sleep(0)
    async with asyncio.timeout(BOUND), queue:
        assert [result.value for result in await stream] == list(range(1, 101))


async def test_many_streams_of_crashing_values_stay_balanced(tmp_path: Path) -> None:
    """Streams that end in every way at once, with crashes between them, leave nothing behind."""
    act = process(handlers.act)
    async with running(act, max_workers=2) as queue, balanced_all_along(queue):

        async def consume(number: int) -> None:
            folder = tmp_path / str(number)
            folder.mkdir()
            values = acts(folder, 60, {number * 7: "die", 50: "raise"})
            async with aclosing(queue.stream(act, values, chunk=10 + number, ordered=bool(number % 2))) as results:
                seen = 0
                async for result in results:
                    seen += 1
                    assert result.ok() or isinstance(result.err, (WorkerCrashed, KeyError, EventCancelled))
                    if number % 3 == 2 and seen == 40:
                        return
            assert seen == 60
            assert handlers.begun(folder) == list(range(60))

        await asyncio.gather(*(consume(number) for number in range(6)))
        await until(lambda: not chunks_of(queue).feeds, "no stream is left")
        assert queue.accounting().accepted == queue.accounting().finished
