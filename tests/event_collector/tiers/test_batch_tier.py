"""Batch handlers: when a call begins, what its events get, and what one event may cost the others."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from event_collector import (
    Batch,
    Collector,
    CollectorEvent,
    CollectorQueue,
    ConfigError,
    Context,
    DeadlineExceeded,
    Delivery,
    EncodeError,
    Error,
    EventCancelled,
    HandlerTimeout,
    Payload,
    PayloadTypeError,
    QueueFull,
    QueueShutDown,
    QueueType,
    Retry,
    WorkerCrashed,
)
from event_collector.testing import in_process_workers
from event_collector.tiers.batch_calls import DirectCalls, call_on_loop
from event_collector.tiers.batch_tier import BatchTier
from event_collector.tiers.coroutines.coroutine_tier import IS_EAGER
from tests.event_collector.modes import BOUND, ask, balanced, balanced_all_along, place, running, until
from tests.event_collector.tiers import sample_batches as handlers

MODES: dict[str, Any] = {
    "coroutine": handlers.act_async,
    "thread": handlers.act,
    "thread, with context": handlers.act_with_context,
    "process": handlers.act,
    "process, async def": handlers.act_async,
    "process, with context": handlers.act_with_context,
    "executor of threads": handlers.act,
    "executor of processes": handlers.act,
}
LONG = 60.0
"""Seconds that no test waits: a call that begins all the same does so for another reason."""


@pytest.fixture(scope="module")
def places() -> Iterator[dict[str, Any]]:
    """One executor of each kind for all of this module."""
    with place("executor of threads") as threads, place("executor of processes") as processes:
        yield {"executor of threads": threads, "executor of processes": processes}


def batched(handler: Any, mode: Any = "auto", size: int = 4, wait: float = LONG, **options: Any) -> Collector:
    return Collector("c", handler, mode=mode, batch=Batch(size, wait), **options)


async def send(queue: CollectorQueue, *values: Any) -> list[CollectorEvent]:
    return [await queue.get_publisher().send(Payload(value)) for value in values]


async def outcomes(events: list[CollectorEvent]) -> list[Any]:
    """The values of events, and the errors of those that failed."""
    results = [(await event.wait()).first() for event in events]
    return [result.err if isinstance(result, Error) else result.value for result in results]


@pytest.mark.parametrize("mode", MODES)
async def test_each_event_has_its_result_in_every_mode(mode: str, places: dict[str, Any]) -> None:
    """A full batch is one call; values, Ok, Error and exceptions in it are the results of their events, in order."""
    collector = batched(MODES[mode], places.get(mode, mode.partition(",")[0]), size=5)
    async with running(collector) as queue:
        found = await outcomes(events := await send(queue, "a", "ok", "error", "returned", 3))
        assert found[:3] == [[5, "a"], [5, "ok"], "no"]
        assert isinstance(found[3], KeyError)
        assert found[4] == [5, 3]
        assert all(event.get_result()[0].key == "c" for event in events)  # type: ignore[index]
        assert queue.collector_metrics()["c"].event_count == 5
        assert queue.collector_metrics()["c"].error_count == 2


@pytest.mark.parametrize("mode", MODES)
async def test_a_bad_item_fails_alone(mode: str, places: dict[str, Any]) -> None:
    """If a call raises, each of its events gets a call of its own."""
    collector = batched(MODES[mode], places.get(mode, mode.partition(",")[0]), size=3)
    async with running(collector) as queue:
        first, bad, last = await outcomes(await send(queue, 1, "raise", 2))
    assert (first, last) == ([1, 1], [1, 2])
    assert isinstance(bad, ValueError)
    assert "a bad item" in str(bad)


@pytest.mark.parametrize("mode", ["coroutine", "thread", "process"])
async def test_an_event_that_is_alone_is_called_once(mode: str, tmp_path: Path) -> None:
    """There is nothing to take apart: its exception is its result."""
    count = tmp_path / "count"
    async with running(batched(MODES[mode], mode, size=2, wait=0)) as queue:
        assert isinstance((await outcomes(await send(queue, "raise")))[0], ValueError)
        counted = ["count", str(count)]
        found = await outcomes(await send(queue, counted, "raise"))
    assert found[0] == [1, counted]
    assert count.read_text().split() == ["2", "1"]


@pytest.mark.parametrize("mode", ["coroutine", "thread", "process"])
async def test_a_wrong_number_of_results_is_not_tried_again(mode: str, tmp_path: Path) -> None:
    """It is a mistake of the handler, which may have done its work: every event has the error, and no second call."""
    count = tmp_path / "count"
    async with running(batched(MODES[mode], mode, size=2)) as queue:
        found = await outcomes(await send(queue, ["count", str(count)], "lose one"))
    assert [type(error) for error in found] == [ConfigError, ConfigError]
    assert "returned a list of 1 for a batch of 2" in str(found[0])
    assert found[0] is not found[1]
    assert count.read_text().split() == ["2"]


# When a call begins


async def test_a_call_begins_max_wait_after_its_first_event() -> None:
    """Events that come until then are in it; a later one is in the next."""
    async with running(batched(handlers.act_async, size=100, wait=0.05)) as queue:
        begun = time.monotonic()
        events = await send(queue, 1)
        await asyncio.sleep(0.01)
        events += await send(queue, 2)
        sizes = [size for size, _ in await outcomes(events)]
        assert time.monotonic() - begun >= 0.05
        assert sizes in ([2, 2], [1, 1])  # the second may be late on a busy machine
        assert (await outcomes(await send(queue, 3)))[0] == [1, 3]


async def gathered(count: int, *, size: int, wait: float, is_last: bool = False) -> list[Any]:
    """What events get that arrive in one turn of the loop."""
    collector = batched(handlers.act_async, size=size, wait=wait)
    tier = BatchTier(collector, DirectCalls(collector, call_on_loop), lambda: is_last)
    async with asyncio.timeout(BOUND):
        found = await asyncio.gather(*(tier.run(collector, Payload(number)) for number in range(count)))
    assert "0 gathered, 0 calls" in repr(tier)
    assert (collector.usage.running, collector.usage.completions) == (0, count)
    return found


async def test_without_a_wait_events_of_one_turn_share_a_call() -> None:
    """max_wait=0 delays nothing, and takes what is there."""
    assert await gathered(5, size=100, wait=0) == [[5, number] for number in range(5)]


async def test_a_batch_has_no_more_than_max_size_events() -> None:
    """A full batch is called at once; the rest is the beginning of the next one."""
    assert [size for size, _ in await gathered(7, size=3, wait=0.001)] == [3, 3, 3, 3, 3, 3, 1]


async def test_the_last_events_of_a_turn_do_not_wait() -> None:
    """Those of the same turn are gathered first."""
    assert await gathered(5, size=100, wait=LONG, is_last=True) == [[5, number] for number in range(5)]


async def test_a_batch_does_not_wait_for_events_that_cannot_come() -> None:
    """All permits are taken: more events than these are in no handler before one has ended."""
    async with running(batched(handlers.act_async, size=100), max_consumers=3, autoscale=False) as queue:
        answers = await outcomes(await send(queue, *range(6)))
    assert [number for _, number in answers] == list(range(6))
    # Where tasks are not eager, an event may have its permit and not yet be gathered.
    assert {size for size, _ in answers} == {3} if IS_EAGER else max(size for size, _ in answers) <= 3


async def test_the_shutdown_begins_what_is_gathered() -> None:
    """A part-filled batch is sent at once, also if events follow from the backlog."""
    queue = CollectorQueue([batched(handlers.act_async, size=4)], logging=False)
    async with asyncio.timeout(BOUND), queue:
        events = await send(queue, *range(6))
    assert [event.get_result().first().unwrap()[0] for event in events] == [4, 4, 4, 4, 2, 2]  # type: ignore[union-attr]


async def test_a_queue_has_a_batch_for_each_collector() -> None:
    """An event that goes to two batch handlers waits in both, and has both results."""
    both = [
        Collector("one", handlers.act_async, batch=Batch(2, LONG)),
        Collector("two", handlers.act, mode="thread", batch=Batch(1, LONG)),
    ]
    async with running(*both) as queue:
        events = await send(queue, "a", "b")
        assert [[result.value for result in await event] for event in events] == [
            [[2, "a"], [1, "a"]],
            [[2, "b"], [1, "b"]],
        ]
        keyed = await queue.get_publisher().send(Payload("c", Delivery.KEY, ["two"]))
        assert (await keyed.wait()).unwrap() == [[1, "c"]]


async def test_a_priority_queue_fills_batches_in_its_order() -> None:
    """Events are gathered when they leave the queue: the most urgent ones share the first call."""
    queue = CollectorQueue(
        [batched(handlers.act_async, size=2)], queue_type=QueueType.PRIORITY, max_consumers=2, logging=False
    )
    publisher = queue.get_publisher()
    events = [await publisher.send(Payload(number, priority=number)) for number in (4, 1, 3, 2)]
    ended: list[int] = []
    for event in events:
        event.on_done(lambda event: ended.append(event.payload.value))
    async with asyncio.timeout(BOUND), queue:
        await asyncio.gather(*(event.wait() for event in events))
    assert sorted(ended[:2]) == [1, 2]


# One event and the others


@pytest.mark.parametrize("mode", ["coroutine", "thread", "process"])
async def test_an_event_that_is_cancelled_while_it_is_gathered_leaves(mode: str) -> None:
    """It is in no call, and its place is free for another."""
    async with running(batched(MODES[mode], mode, size=2)) as queue:
        (cancelled,) = await send(queue, "a")
        await until(lambda: queue.accounting().in_handlers == 1, "it is gathered")
        assert cancelled.cancel()
        assert isinstance((await outcomes([cancelled]))[0], EventCancelled)
        assert await outcomes(await send(queue, "b", "c")) == [[2, "b"], [2, "c"]]


@pytest.mark.parametrize("mode", ["coroutine", "thread", "process"])
async def test_a_call_goes_on_without_an_event_that_is_cancelled(mode: str, tmp_path: Path) -> None:
    """Its result is dropped. Its neighbours have theirs, from the same call in the same process."""
    here, count = tmp_path / "here", ["count", str(tmp_path / "count")]
    held = ["wait for", str(here)] if mode == "coroutine" else ["hold", str(here)]
    async with running(batched(MODES[mode], mode, size=2, wait=0.01)) as queue:
        kept, cancelled = await send(queue, count, held)
        await until(lambda: Path(count[1]).exists() or here.exists(), "the handler runs")
        cancelled.cancel()
        assert isinstance((await outcomes([cancelled]))[0], EventCancelled)
        assert not kept.is_done()
        here.touch() if mode == "coroutine" else here.unlink()
        assert await outcomes([kept]) == [[2, count]]
    assert Path(count[1]).read_text().split() == ["2"]


@pytest.mark.parametrize("mode", ["coroutine", "process"])
async def test_a_call_that_nobody_waits_for_is_cancelled(mode: str, tmp_path: Path) -> None:
    """A coroutine gets CancelledError, a worker is killed; then the next events have their turn."""
    here = tmp_path / "here"
    held = ["wait for", str(tmp_path / "never")] if mode == "coroutine" else ["hold", str(here)]
    async with running(batched(MODES[mode], mode, size=2)) as queue:
        events = await send(queue, held, ["touch", str(here)])
        await until(here.exists, "the handler runs")
        for event in events:
            event.cancel()
        assert [type(error) for error in await outcomes(events)] == [EventCancelled, EventCancelled]
        assert await outcomes(await send(queue, 1, 2)) == [[2, 1], [2, 2]]


@pytest.mark.parametrize("mode", ["coroutine", "process"])
async def test_the_next_event_is_tried_if_one_is_cancelled_in_its_call(mode: str, tmp_path: Path) -> None:
    """After a failed call, each event that is left has its own, and can be cancelled in it."""
    here = tmp_path / "here"

    async with running(batched(MODES[mode], mode, size=3)) as queue:
        held = ["wait for", str(tmp_path / "never")] if mode == "coroutine" else ["hold", str(here)]
        bad, stuck, last = await send(queue, "raise", held, 3)
        if mode == "process":
            await until(here.exists, "they are in a call")
            here.unlink()
        assert isinstance((await outcomes([bad]))[0], ValueError)
        if mode == "process":
            await until(here.exists, "it has a call of its own")
        stuck.cancel()
        assert await outcomes([last]) == [[1, 3]]
        assert isinstance((await outcomes([stuck]))[0], EventCancelled)


async def test_a_crash_costs_only_its_event() -> None:
    """A worker that a batch ends is replaced; each event then has a call of its own, and the guilty one fails."""
    async with running(batched(handlers.act, "process", size=3)) as queue, balanced_all_along(queue):
        first, guilty, last = await outcomes(await send(queue, 1, "crash", 2))
        assert (first, last) == ([1, 1], [1, 2])
        assert isinstance(guilty, WorkerCrashed)
        assert (await outcomes(await send(queue, "exit", 4, 5)))[1:] == [[1, 4], [1, 5]]


async def test_an_event_that_has_ended_a_worker_travels_alone() -> None:
    """Its next attempt by `retry=` endangers no other event, and the second crash quarantines it."""
    collector = batched(handlers.act, "process", size=2, wait=0.05, retry=Retry(max_attempts=5, backoff=0))
    async with running(collector) as queue:
        guilty, innocent = await outcomes(await send(queue, "crash", 2))
        assert isinstance(guilty, WorkerCrashed)
        assert innocent == [1, 2]
        (letter,) = queue.dead_letters
        assert (letter.payload.value, letter.reason, letter.attempts) == ("crash", "quarantined", 2)


@pytest.mark.parametrize("mode", ["coroutine", "thread", "process", "executor of processes"])
async def test_the_timeout_is_that_of_a_call(mode: str, places: dict[str, Any], tmp_path: Path) -> None:
    """A call that takes too long fails; then each event has a call of its own, with the same limit."""
    stuck: Any = ["wait for", str(tmp_path / "never")] if mode == "coroutine" else "linger"
    if mode == "thread":
        stuck = ["hold", str(tmp_path / "here")]
    collector = batched(MODES[mode], places.get(mode, mode), size=2, timeout=0.5)
    async with running(collector) as queue:
        late, fine = await outcomes(await send(queue, stuck, "a"))
    (tmp_path / "here").unlink(missing_ok=True)
    assert isinstance(late, HandlerTimeout)
    assert "longer than its timeout of 0.5 s" in str(late)
    assert fine == [1, "a"]


async def test_a_deadline_ends_an_event_that_is_gathered() -> None:
    """No call has begun with it. Its neighbour without a deadline is still gathered."""
    async with running(batched(handlers.act_async, size=3)) as queue:
        late = await queue.get_publisher().send(Payload("late"), deadline=0.02)
        (other,) = await send(queue, "other")
        assert isinstance((await outcomes([late]))[0], DeadlineExceeded)
        assert await outcomes([other, *await send(queue, 1, 2)]) == [[3, "other"], [3, 1], [3, 2]]


async def test_a_deadline_ends_an_event_that_is_gathered_for_another_attempt() -> None:
    """It has failed once, and no call begins with it again."""
    collector = batched(handlers.attempts, "thread", size=2, retry=Retry(backoff=0))
    async with running(collector) as queue:
        late = await queue.send(1, deadline=0.3)
        assert await outcomes([await queue.send(0)]) == [1]
        assert isinstance((await outcomes([late]))[0], DeadlineExceeded)
        (letter,) = queue.dead_letters
        assert (letter.payload.value, letter.attempts) == (1, 2)


async def test_each_event_is_retried_by_itself() -> None:
    """An Error in the list counts as the failed attempt of its event. The next attempt is in another batch."""
    collector = batched(handlers.attempts, "thread", size=4, wait=0.01, retry=Retry(backoff=0))
    async with running(collector) as queue:
        assert await outcomes(await send(queue, *range(4))) == [1, 2, 1, 2]
        assert queue.accounting().dead == 0


async def test_the_queue_is_as_full_as_with_single_events(tmp_path: Path) -> None:
    """Each event of a batch has a permit, and those that wait for one count one by one."""
    collector = batched(handlers.act_async, size=2)
    async with running(collector, max_consumers=2, max_queue_size=1) as queue:
        events = await send(queue, *[["wait for", str(tmp_path / "go")]] * 2)
        await until(lambda: queue.accounting().in_handlers == 2, "both are in a call")
        events.append(queue.get_publisher().send_nowait(Payload(3)))
        with pytest.raises(QueueFull):
            queue.get_publisher().send_nowait(Payload(4))
        (tmp_path / "go").touch()
        assert [size for size, _ in await outcomes([*events, *await send(queue, 4)])] == [2, 2, 2, 2]


# Values


@pytest.mark.parametrize("mode", ["process", "executor of processes"])
async def test_values_are_checked_one_by_one(mode: str, places: dict[str, Any]) -> None:
    """A payload of another type, and one that cannot be encoded, fail alone, without a call for each event."""
    async with running(batched(handlers.move, places.get(mode, mode), size=3)) as queue:
        events = await send(queue, {"x": 1}, object(), {"x": "one"}, handlers.Point(2))
        found = await outcomes(events)
    assert [found[0], found[3]] == [handlers.Point(2), handlers.Point(3)]
    assert isinstance(found[1], EncodeError)
    assert isinstance(found[2], PayloadTypeError)


async def test_a_result_that_cannot_travel_fails_alone() -> None:
    """The handler is not called again for it."""
    async with running(batched(handlers.act, "process", size=2)) as queue:
        found = await outcomes(await send(queue, "object", "a"))
    assert isinstance(found[0], EncodeError)
    assert found[1] == [2, "a"]


@pytest.mark.parametrize("mode", ["coroutine", "thread", "process"])
async def test_log_lines_know_the_collector(mode: str) -> None:
    """A call has no single event, so the context of its log lines has no event_id and no attempt."""
    async with running(batched(MODES[mode], mode, size=1)) as queue:
        ((_, fields),) = [(1, value) for value in await outcomes(await send(queue, "context"))]
    assert fields.pop("worker_pid", 0) > 0 or mode != "process"
    assert fields == {"collector": "c"}


async def test_workers_in_the_test_take_batches() -> None:
    """The testing kit runs them like a worker process."""
    with in_process_workers():
        async with running(batched(handlers.act, "process", size=2)) as queue:
            assert await outcomes(await send(queue, 1, 2)) == [[2, 1], [2, 2]]


# The queue around it


async def test_the_time_of_a_call_is_divided() -> None:
    """The times of its events sum up to the time of the call."""

    async def slow(items: list[int]) -> list[int]:
        await asyncio.sleep(0.2)
        return items

    async with running(batched(slow, size=10), min_consumers=10) as queue:  # a permit for each: one call
        await outcomes(await send(queue, *range(10)))
        metrics = queue.collector_metrics()["c"]
        assert metrics.event_count == 10
        assert 0.19 <= metrics.service_seconds < 10 * 0.2
        assert metrics.service_time.p50 == pytest.approx(metrics.service_seconds / 10)


async def test_a_batch_handler_may_wait_for_events_of_its_own_queue() -> None:
    """All permits are held by the events of the batch; one is lent to the event that their handler waits for."""
    queue: CollectorQueue

    async def nested(items: list[int]) -> list[int]:
        inner = await queue.get_publisher().send(Payload(sum(items), Delivery.KEY, ["inner"]))
        total = (await inner.wait()).first().unwrap()
        return [total] * len(items)

    async def inner(number: int) -> int:
        await asyncio.sleep(0)
        return number

    collectors = [batched(nested, size=3), Collector("inner", inner)]
    async with running(*collectors, min_consumers=3, max_consumers=3) as queue:
        events = [await queue.get_publisher().send(Payload(n, Delivery.KEY, ["c"])) for n in range(3)]
        assert await outcomes(events) == [3, 3, 3]


async def test_a_batch_handler_may_end_its_queue() -> None:
    """The call returns at once, since the shutdown waits for the handler."""
    queue: CollectorQueue

    async def last(items: list[int]) -> list[int]:
        await queue.shut_down_queue()
        return items

    queue = CollectorQueue([batched(last, size=2)], logging=False)
    async with asyncio.timeout(BOUND), queue:
        assert await outcomes(await send(queue, 1, 2)) == [1, 2]


@pytest.mark.parametrize("mode", ["coroutine", "thread", "process"])
async def test_a_shutdown_that_gives_up_ends_every_event(mode: str, tmp_path: Path) -> None:
    """Events in a call and events that are gathered end with QueueShutDown, and no task is left."""
    stuck: Any = ["wait for", str(tmp_path / "never")] if mode == "coroutine" else "linger"
    if mode == "thread":
        stuck = ["hold", str(tmp_path / "here")]
    queue = CollectorQueue(
        [batched(MODES[mode], mode, size=2)], logging=False, max_workers=1, consumer_shutdown_timeout=0.2
    )
    async with asyncio.timeout(BOUND), queue:
        events = await send(queue, stuck, ["touch", str(tmp_path / "begun")], "gathered")
        await until((tmp_path / "begun").exists, "the handler runs")
    (tmp_path / "here").unlink(missing_ok=True)
    errors = await outcomes(events)
    assert [type(error) for error in errors[:2]] == [QueueShutDown, QueueShutDown]
    balanced(queue)
    assert queue.accounting().finished == 3
    names = [task.get_name() for task in asyncio.all_tasks()]
    assert "event batch" not in names


async def test_a_handler_that_ignores_its_cancellation_is_left() -> None:
    """The queue ends a second later, and its events have ended."""
    stubborn = asyncio.Event()

    async def ignore(items: list[int]) -> list[int]:
        while not stubborn.is_set():
            try:
                await stubborn.wait()
            except asyncio.CancelledError:
                continue
        return items

    queue = CollectorQueue([batched(ignore, size=2)], logging=False, consumer_shutdown_timeout=0.05)
    async with asyncio.timeout(BOUND), queue:
        events = await send(queue, 1, 2)
    assert [type(error) for error in await outcomes(events)] == [QueueShutDown, QueueShutDown]
    stubborn.set()
    await until(lambda: all(task.get_name() != "event batch" for task in asyncio.all_tasks()), "it has ended")


async def test_a_batch_handler_that_cancels_itself_has_failed() -> None:
    """CancelledError of the handler is the error of the call, as any exception."""

    async def cancelled(items: list[int]) -> list[int]:
        if 2 in items:
            raise asyncio.CancelledError("by itself")
        return items

    async with running(batched(cancelled, size=2)) as queue:
        first, second = await outcomes(await send(queue, 1, 2))
    assert first == 1
    assert isinstance(second, asyncio.CancelledError)


async def test_a_plain_function_on_the_event_loop_is_an_error() -> None:
    """What cannot be awaited is a mistake of the handler: it is called once."""
    calls: list[int] = []
    collector = batched(lambda items: calls.append(len(items)), "coroutine", size=2)
    async with running(collector) as queue:
        found = await outcomes(await send(queue, 1, 2))
    assert [type(error) for error in found] == [ConfigError, ConfigError]
    assert calls == [2]


async def test_a_lifecycle_surrounds_the_calls() -> None:
    """The context is shared by lifecycle and handler, as for single events."""

    async def use(payloads: list[Payload[int]], ctx: Context) -> list[int]:
        return [ctx.factor * payload.value for payload in payloads]

    async with running(batched(use, size=2, ctx=Context({"factor": 3}))) as queue:
        assert await outcomes(await send(queue, 1, 2)) == [3, 6]


async def test_a_collector_belongs_to_one_queue() -> None:
    """Its events would be gathered for two queues. Without a queue it runs nothing."""
    collector = batched(handlers.act_async)
    with pytest.raises(ConfigError, match="only a running CollectorQueue provides"):
        await collector.process(Payload(1))
    async with running(collector):
        with pytest.raises(ConfigError, match="belongs to another running queue"):
            async with CollectorQueue([collector], logging=False):
                pass
    async with running(collector, max_consumers=1) as queue:
        assert (await ask(queue, 1)).unwrap() == [1, 1]
