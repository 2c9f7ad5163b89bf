"""Workers in the test's own process: as in production, without a process."""

import asyncio
import inspect
import multiprocessing
import re
import threading
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from event_collector import (
    Collector,
    ConfigError,
    EncodeError,
    EventCancelled,
    HandlerTimeout,
    Payload,
    PayloadTypeError,
    QueueShutDown,
    Retry,
    WorkerCrashed,
)
from event_collector.testing import assert_all_ok, assert_error, assert_ok
from event_collector.testing.in_process import InProcessPool
from event_collector.tiers.workers import worker_tier
from event_collector_workers import WorkerStartError
from tests.event_collector.modes import ask, running, until
from tests.testing import sample_handlers as handlers


@pytest.fixture(autouse=True)
def _clean(in_process_workers: None) -> Iterator[None]:
    handlers.STEPS.clear()
    handlers.RELEASED.clear()
    yield
    handlers.RELEASED.set()


def stand_ins() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "in-process worker"]


async def test_a_handler_of_a_worker_runs_in_a_thread_and_no_process_is_started() -> None:
    """A queue with process collectors starts no process, and leaves no thread behind."""
    before = {child.pid for child in psutil.Process().children()}
    where = Collector("where", handlers.where)
    async with running(where, Collector("loop", handlers.wait_a_moment, mode="process")) as queue:
        event = await queue.get_publisher().send(Payload(1))
        answers = assert_all_ok(await event.wait())
        assert answers["where"] == "in-process worker"
        assert answers["loop"]
        assert {child.pid for child in psutil.Process().children()} <= before
        assert not multiprocessing.active_children()
        assert queue.get_metrics().workers == 1
    assert stand_ins() == []


async def test_values_are_encoded_and_decoded() -> None:
    """The handler gets a typed copy, the caller what msgpack makes of the answer."""
    value = {"items": (1, 2)}
    async with running(Collector("echo", handlers.echo)) as queue:
        assert assert_ok(await ask(queue, value)) == {"items": [1, 2]}
        large = bytearray(100_000)
        assert assert_ok(await ask(queue, large)) == bytes(large)
    async with running(Collector("double", handlers.double)) as queue:
        assert assert_ok(await ask(queue, {"number": 21})) == 42
        assert_error(await ask(queue, {"number": "many"}), PayloadTypeError, match="number")


async def test_what_cannot_travel_fails_as_in_production() -> None:
    """Neither a payload nor a result that msgspec does not know gets through; nor does a handler without a name."""
    async with running(Collector("echo", handlers.echo)) as queue:
        assert_error(await ask(queue, object()), EncodeError, match="payload of type object")
    async with running(Collector("back", handlers.send_back_what_cannot_travel)) as queue:
        assert_error(await ask(queue, 1), EncodeError, match="result of type object")
    with pytest.raises(ConfigError, match="lambda"):
        async with running(Collector("c", lambda payload, ctx: 1, mode="process")):
            pass


async def test_an_exception_has_the_trace_of_the_worker() -> None:
    """The exception travels as data, with the traceback as text."""
    async with running(Collector("fail", handlers.fail)) as queue:
        error = assert_error(await ask(queue, 7), ValueError, match="no such order: 7")
    assert "sample_handlers.py" in str(error.__cause__)


@pytest.mark.parametrize("lifecycle", [handlers.lifecycle, handlers.asynchronous_lifecycle])
async def test_lifecycles_are_entered_and_left_in_the_worker(lifecycle: Any) -> None:
    """Once, before the first event and after the last, with the worker's own context."""
    collector = Collector("c", handlers.is_opened, lifecycle=lifecycle)
    async with running(collector) as queue:
        assert assert_ok(await ask(queue, 1)) is True
        assert [step.partition(" ")[0] for step in handlers.STEPS] == ["entered"]
    assert handlers.STEPS[-1] == "left"
    assert "opened" not in collector.ctx


async def test_a_lifecycle_that_fails_fails_the_start() -> None:
    """The start raises WorkerStartError with the reason, and leaves no thread."""
    with pytest.raises(WorkerStartError, match="no database"):
        async with running(Collector("c", handlers.echo, lifecycle=handlers.broken)):
            pass
    await until(lambda: stand_ins() == [], "the thread of a worker that did not start is left")


async def test_a_handler_that_ends_its_worker_is_a_crash() -> None:
    """SystemExit costs the event it was in, and no other; with retry= it is tried again."""
    async with running(Collector("c", handlers.leave)) as queue:
        assert assert_error(await ask(queue, "leave"), WorkerCrashed).exitcode == 3
        assert assert_ok(await ask(queue, "stay")) == "stay"


async def test_a_handler_over_its_timeout_is_given_up() -> None:
    """The event ends with HandlerTimeout, and another worker takes the next one; the end waits for neither."""
    async with running(Collector("c", handlers.hang, timeout=0.5)) as queue:
        events = [await queue.get_publisher().send(Payload(value)) for value in ("hang", "go on")]
        assert_error(await events[0].wait(), HandlerTimeout)
        assert assert_ok(await events[1].wait()) == "go on"
        assert stand_ins() != []
    handlers.RELEASED.set()
    await until(lambda: stand_ins() == [], "the thread has not ended with its handler")


async def test_an_event_can_be_cancelled_in_the_line_and_in_the_handler() -> None:
    """What waits is withdrawn, what has begun is given up; others are not touched."""
    async with running(Collector("c", handlers.hang)) as queue:
        events = await queue.get_publisher().send_many(Payload(value) for value in ("hang", "a", "b"))
        assert events[1].cancel()
        assert events[0].cancel()
        assert_error(await events[0].wait(), EventCancelled)
        assert_error(await events[1].wait(), EventCancelled)
        assert assert_ok(await events[2].wait()) == "b"
        assert not events[2].cancel()


async def test_a_shutdown_that_runs_out_of_time_gives_up() -> None:
    """Every accepted event gets its result, also when a handler hangs."""
    async with running(Collector("c", handlers.hang), consumer_shutdown_timeout=0.05) as queue:
        events = await queue.get_publisher().send_many(Payload(value) for value in ("hang", "a"))
        await queue.shut_down_queue()
        for event in events:
            assert_error(await event.wait(), QueueShutDown)


async def test_attempts_and_many_events_work_as_ever() -> None:
    """Retries, several collectors, hundreds of events, and adaptive collectors."""
    third = Collector("third", handlers.succeed_at_third, retry=Retry(3, 0.0))
    adaptive = Collector("adaptive", handlers.echo, mode="adaptive")
    async with running(third, Collector("echo", handlers.echo), adaptive) as queue:
        events = await queue.get_publisher().send_many(Payload(number) for number in range(200))
        results = [[result.unwrap() for result in await event.wait()] for event in events]
        assert results == [[3, number, number] for number in range(200)]


async def test_two_queues_have_a_worker_each() -> None:
    """Queues in one test do not share a thread."""
    async with running(Collector("a", handlers.hang)) as first, running(Collector("a", handlers.hang)) as second:
        stuck = await first.get_publisher().send(Payload("hang"))
        assert assert_ok(await ask(second, 1)) == 1
        handlers.RELEASED.set()
        assert assert_ok(await asyncio.wait_for(stuck.wait(), 30)) == "hang"


async def test_a_handler_knows_its_event() -> None:
    """What log lines tell of the event is known in the thread as it is in a worker."""
    async with running(Collector("c", handlers.context)) as queue:
        event = await queue.get_publisher().send(Payload(1))
        known = assert_ok(await event.wait())
    assert (known["event_id"], known["collector"], known["attempt"]) == (event.id, "c", 1)


def test_the_pool_has_all_that_a_queue_asks_of_one() -> None:
    """Nothing that the tier of workers uses of its pool is missing in the one that stands in for it."""
    used = set(re.findall(r"\bself\.pool\.(\w+)", inspect.getsource(worker_tier)))
    assert {"start", "submit_all", "statistics"} <= used
    assert used <= set(dir(InProcessPool))
