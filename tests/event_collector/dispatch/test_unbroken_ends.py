"""The end of an event: no exception of the application leaves it half done.

Each test raises in one of the calls between the end of a handler and the result of its event.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from event_collector import Collector, CollectorEvent, CollectorQueue, Ok, Payload, ResultList, Retry, Router
from event_collector.events.dead_letters import DeadLetter
from event_collector.handlers.attempt import Attempt
from event_collector.remote.codec import encode_raised
from event_collector.testing import in_process_workers
from event_collector_workers.limits import explain
from tests.event_collector.dispatch.sample_ends import (
    ANSWERS,
    ODD,
    UNMADE,
    Unmade,
    answer,
    end,
    end_async,
    end_later,
    without_attributes,
    without_class,
    without_equals,
)
from tests.event_collector.modes import BOUND, balanced, place

AT_ONCE = Retry(max_attempts=2, backoff=0.0)
AFTER = 3
"""Events that have to finish after each bad one."""
AT_LAST = 200
"""Events that have to finish in the end."""


class Rough:
    """A recorder of which every method raises that is told of accepted events; also a log that raises."""

    def accept(self, event: CollectorEvent) -> None:
        return None

    def withdrawn(self, event: CollectorEvent) -> None:
        raise OSError("disk full")

    def started(self, event: CollectorEvent) -> None:
        raise OSError("disk full")

    def retrying(self, event: CollectorEvent, attempts: Mapping[str, Attempt], delay: float) -> None:
        raise OSError("disk full")

    def finished(self, event: CollectorEvent) -> None:
        raise OSError("disk full")

    def dead_letter_added(self, letter: DeadLetter) -> None:
        raise OSError("disk full")

    def dead_letter_removed(self, letter: DeadLetter) -> None:
        raise OSError("disk full")


class BrokenLog:
    """A log that raises as soon as the queue runs."""

    def __init__(self) -> None:
        self.is_broken = False

    def __getattr__(self, level: str) -> Any:
        def write(event: str, **fields: Any) -> None:
            if self.is_broken:
                raise OSError(f"cannot write {event!r}")

        return write


def break_down(*_: object) -> None:
    """Raise."""
    raise RuntimeError("an odd callback")


@contextmanager
def mode_of(name: str) -> Iterator[tuple[list[Collector], dict[str, Any]]]:
    """Yield what makes a collector of a mode, without its options: handler and mode."""
    handlers = {"first step": end_async, "later step": end_later, "timeout": end_later, "router": end_async}
    if name in handlers:
        yield [handlers[name]], {"timeout": BOUND} if name == "timeout" else {}  # type: ignore[list-item]
    elif name == "in-process worker":
        with in_process_workers():
            yield [end], {"mode": "process"}  # type: ignore[list-item]
    else:
        with place(name) as where:
            yield [end], {"mode": where}  # type: ignore[list-item]


MODES = (
    "first step",
    "later step",
    "timeout",
    "router",
    "thread",
    "adaptive",
    "in-process worker",
    "process",
    "executor of threads",
    "executor of processes",
)


@pytest.mark.parametrize("name", ODD)
def test_a_worker_encodes_every_exception(name: str) -> None:
    """What a handler raises in a worker crosses the process boundary, or is replaced by its description."""
    assert is_encodable(ODD[name])


def is_encodable(make: Callable[[], BaseException]) -> bool:
    """Return whether a worker can send an exception. It must not reach pytest, which could not show it."""
    try:
        raise make()
    except BaseException as exc:
        try:
            explain(exc)
            encode_raised(exc)
        except BaseException:
            return False
    return True


POLICIES: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    # options of the collectors, options of the queue, whether a recorder raises
    "plain": ({}, {}, False),
    "retry": ({"retry": AT_ONCE}, {"max_dead_letters": 3}, False),
    "recorder": ({}, {}, True),
    "retry and recorder": ({"retry": AT_ONCE}, {"max_dead_letters": 3, "max_queue_size": 50}, True),
}


@asynccontextmanager
async def broken_loop() -> AsyncIterator[None]:
    """Have the exception handler of the event loop raise, as one does whose log cannot be written."""
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(break_down)
    logging.getLogger("asyncio").disabled = True  # it would write what the handler raises
    try:
        yield
    finally:
        loop.set_exception_handler(before)
        logging.getLogger("asyncio").disabled = False


@asynccontextmanager
async def queue_of(collectors: list[Collector], *, recorder: bool = False, **options: Any) -> AsyncIterator[Any]:
    """Run a queue all of whose surroundings raise, and check in the end that it has kept its books."""
    log = BrokenLog()
    queue = CollectorQueue(collectors, log=log, max_workers=1, **options)
    if recorder:
        queue._attach_recorder(Rough())
    async with asyncio.timeout(4 * BOUND), broken_loop(), queue:
        log.is_broken = True
        yield queue
        await finish_many(queue, AT_LAST)
        log.is_broken = False
    assert queue.accounting().in_handlers == queue.accounting().queued == queue.accounting().scheduled == 0
    balanced(queue)


async def finish_many(queue: CollectorQueue, count: int) -> None:
    """Have events finish that nothing is wrong with."""
    events = await queue.get_publisher().send_many(Payload(number) for number in range(count))
    results = [await event.wait() for event in events]
    assert [[result.unwrap() for result in each] for each in results] == [[n] * len(results[0]) for n in range(count)]


async def see_end(queue: CollectorQueue, value: Any, **options: Any) -> ResultList:
    """Send one event, have its waiters raise, and check that it ends with one list of results."""
    event = await queue.get_publisher().send(Payload(value), **options)
    woken: list[ResultList | None] = []
    if not event.is_done():
        for call in (break_down, lambda event: woken.append(event.get_result()), break_down):
            event.on_done(call)
    try:
        async with asyncio.timeout(BOUND):
            results = await event.wait()
    except TimeoutError:
        pytest.fail(f"{value!r}: no result, {event.place!r}, {queue.accounting()}")
    assert event.get_result() is results, value
    assert woken in ([], [results]), value
    assert len(results) == len(queue.collectors), value
    assert event.place is None, value
    assert queue.accounting().in_handlers == 0, value
    balanced(queue)
    return results


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("mode", MODES)
async def test_exceptions_that_fail_whoever_looks_at_them_end_their_event(mode: str, policy: str) -> None:
    """Whatever a handler raises or returns, its event has one list of results, and the queue goes on."""
    collector_options, queue_options, recorder = POLICIES[policy]
    with mode_of(mode) as ((handler,), options):
        collectors = [Collector("a", handler, **options, **collector_options)]
        if mode == "router":
            collectors.append(Collector("b", end_later, **collector_options))
        async with queue_of(collectors, recorder=recorder, **queue_options) as queue:
            for value in (*ODD, *ANSWERS):
                results = await see_end(queue, value)
                assert value in ANSWERS or all(result.is_error for result in results), value
                await finish_many(queue, AFTER)


@pytest.mark.parametrize("mode", MODES)
async def test_a_deadline_changes_nothing_about_that(mode: str) -> None:
    """Events with a deadline, which is far away, end as others do."""
    with mode_of(mode) as ((handler,), options):
        async with queue_of([Collector("a", handler, **options, retry=AT_ONCE)]) as queue:
            for value in list(ODD)[::3]:
                await see_end(queue, value, deadline=1000.0)


def odd_results() -> dict[str, Callable[[], Any]]:
    """Return what a router may answer although it should not."""
    return {
        "no list": lambda: 5,
        "nothing": lambda: None,
        "an exception": lambda: ValueError("answered"),
        "no results": lambda: [1, None],
        "a result without class": lambda: [without_class(Exception, RuntimeError)()],
        "a result without attributes": lambda: [without_attributes(Exception, RuntimeError)()],
        "a result without equals": lambda: [without_equals(Exception, RuntimeError)()],
        "a key without hash": lambda: ResultList([Ok(1, key=["a"])]),  # type: ignore[arg-type]
        "an odd key": lambda: ResultList([Ok(1, key=without_equals(Exception, RuntimeError)())]),  # type: ignore[arg-type]
    }


class OddRouter(Router):
    """Answers what the payload says."""

    async def handle_event(self, payload: Payload[Any]) -> Any:
        if isinstance(payload.value, int):
            return ResultList([Ok(payload.value, key=key) for key in self.collectors])
        return odd_results()[payload.value]()


@pytest.mark.parametrize("recorder", [False, True])
@pytest.mark.parametrize("keys", ["a", "ab"])
async def test_routers_may_answer_anything(keys: str, recorder: bool) -> None:
    """A router's answer that is no list of results, or one of odd ones, ends its event."""
    collectors = [Collector(key, end_async) for key in keys]
    async with queue_of(collectors, recorder=recorder, router=OddRouter) as queue:
        for value in odd_results():
            event = await queue.get_publisher().send(Payload(value))
            async with asyncio.timeout(BOUND):
                assert isinstance(await event.wait(), ResultList)
            assert queue.accounting().in_handlers == 0, value
            balanced(queue)
            await finish_many(queue, AFTER)


async def test_results_of_other_collectors_survive_a_record_that_fails() -> None:
    """A recorder that raises before the next attempt of one collector costs the others nothing."""
    calls: list[int] = []

    async def fail(payload: Payload[Any], ctx: Any) -> Any:
        calls.append(payload.attempt)
        recorder.is_broken = len(calls) > 1
        raise ConnectionError("refused")

    class Breaking(Rough):
        is_broken = False

        def retrying(self, event: CollectorEvent, attempts: Mapping[str, Attempt], delay: float) -> None:
            if self.is_broken:
                raise OSError("disk full")

    recorder = Breaking()
    collectors = [Collector("a", fail, retry=Retry(5, 0.0)), Collector("b", end_async)]
    queue = CollectorQueue(collectors, logging=False)
    queue._attach_recorder(recorder)
    async with asyncio.timeout(BOUND), broken_loop(), queue:
        results = await (await queue.get_publisher().send(Payload(1))).wait()
        assert [(result.key, result.is_error) for result in results] == [("a", True), ("b", False)]
        assert calls == [1, 2]


class Uncopied(Payload[Any]):
    """A payload that cannot be copied for another attempt."""

    def __copy__(self) -> Any:
        raise RuntimeError("no copy")


@pytest.mark.parametrize("number", [1, 2])
async def test_a_payload_that_cannot_be_copied_is_the_end_of_its_event(number: int) -> None:
    """An event whose payload has no copy for the next attempt ends with that error instead of waiting for ever."""
    collectors = [Collector(key, end_async, retry=AT_ONCE) for key in "ab"[:number]]
    async with queue_of(collectors) as queue:
        event = await queue.get_publisher().send(Uncopied("frozen"))
        results = await event.wait()
        assert len(results) == number
        assert "no copy" in str(results.first().err)  # type: ignore[union-attr]
        balanced(queue)


async def test_a_future_of_a_closed_loop_keeps_no_one_waiting() -> None:
    """A waiter whose loop is closed cannot be woken; those behind it are."""
    closed = asyncio.new_event_loop()
    waiters = [closed.create_future() for _ in range(2)]
    for waiter in waiters:
        waiter.add_done_callback(lambda _: None)  # to be scheduled in its loop, which raises
    closed.close()
    async with queue_of([Collector("a", end_later)]) as queue:
        event = await queue.get_publisher().send(Payload(1))
        event.add_waiter(waiters[0])
        waiting = asyncio.ensure_future(event.wait())
        await asyncio.sleep(0)
        event.add_waiter(waiters[1])
        assert (await waiting).first().unwrap() == 1


async def test_callbacks_that_raise_cost_other_events_of_a_batch_nothing() -> None:
    """A worker answers in batches: all their events end although the callback of each one raises."""
    async with queue_of([Collector("a", end, mode="process")]) as queue:
        events = await queue.get_publisher().send_many(Payload(number) for number in range(500))
        for event in events:
            if not event.is_done():
                event.on_done(break_down)
        assert [(await event.wait()).first().unwrap() for event in events] == list(range(500))
        balanced(queue)


@pytest.mark.parametrize("retry", [None, AT_ONCE])
@pytest.mark.parametrize("mode", ["in-process worker", "process", "executor of processes"])
async def test_results_that_raise_when_they_are_made_cost_their_own_event_only(mode: str, retry: Retry | None) -> None:
    """Decoding a reply runs code of the application. It may raise even what would end the program."""
    with mode_of(mode) as (_, options):
        collector = Collector("a", answer, result_type=Unmade, retry=retry, **options)
        async with asyncio.timeout(4 * BOUND), CollectorQueue([collector], logging=False, max_workers=1) as queue:
            numbers = [*UNMADE, *range(200), *UNMADE]
            events = await queue.get_publisher().send_many(map(Payload, numbers))
            results = [(await event.wait()).first() for event in events]
            assert [result.is_error for result in results] == [number < 0 for number in numbers]
            balanced(queue)
