"""A clock that is moved by hand: retries, deadlines and timeouts in no time, in their order."""

import asyncio
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import event_collector
from event_collector import (
    Collector,
    CollectorQueue,
    ConfigError,
    Context,
    DeadlineExceeded,
    HandlerTimeout,
    Payload,
    QueueShutDown,
    Retry,
    RetryLater,
)
from event_collector.testing import ManualClock, assert_error, assert_ok
from event_collector.values.clock import clock
from tests.testing import sample_handlers as handlers


def running(*collectors: Collector, **options: Any) -> CollectorQueue:
    return CollectorQueue(list(collectors), logging=False, **options)


@pytest.fixture
def anyio_backend() -> str:
    """Only asyncio's own loop lets its time be another."""
    return "asyncio"


MINUTE, HOUR = 60.0, 3600.0
SLOW = Retry(max_attempts=5, backoff=60.0, max_backoff=HOUR, jitter=0.0)


async def test_a_retry_comes_when_it_is_due_and_not_before(manual_clock: ManualClock) -> None:
    """Each attempt begins at its time by the clock, which has not moved by itself."""
    begun: list[float] = []

    async def handler(payload: Payload[Any], ctx: Context) -> int:
        begun.append(round(manual_clock.now - start, 3))
        if payload.attempt < 4:
            raise ConnectionError("refused")
        return payload.attempt

    start = manual_clock.now
    async with running(Collector("c", handler, retry=SLOW)) as queue:
        event = await queue.get_publisher().send(Payload(1))
        await manual_clock.advance(59.9)
        assert begun == [0.0]
        await manual_clock.advance(0.2)
        assert begun == [0.0, 60.0]
        await manual_clock.advance(HOUR)
        assert begun == [0.0, 60.0, 180.0, 420.0]
        assert assert_ok(event) == 4
        assert manual_clock.now - start == pytest.approx(HOUR + 60.1)


@pytest.mark.parametrize("mode", ["thread", "process"])
@pytest.mark.usefixtures("in_process_workers")
async def test_time_waits_for_handlers_in_threads(mode: str, manual_clock: ManualClock) -> None:
    """An attempt in a thread or in-process worker is through before time goes on."""
    async with running(Collector("c", handlers.succeed_at_third, mode=mode, retry=SLOW)) as queue:
        event = await queue.get_publisher().send(Payload(1))
        await manual_clock.advance(60.0)
        assert not event.is_done()
        assert queue.accounting().scheduled == 1
        await manual_clock.advance(120.0)
        assert assert_ok(event) == 3


async def test_deadlines_and_delays_go_by_the_clock(manual_clock: ManualClock) -> None:
    """RetryLater(delay=) and send(deadline=) need no real time."""
    attempts: list[int] = []

    async def handler(payload: Payload[Any], ctx: Context) -> None:
        attempts.append(payload.attempt)
        raise RetryLater("not yet", delay=60.0)

    async with running(Collector("c", handler, retry=Retry(max_attempts=10))) as queue:
        event = await queue.get_publisher().send(Payload(1), deadline=150.0)
        await manual_clock.advance(119.0)
        assert (attempts, event.is_done()) == ([1, 2], False)
        await manual_clock.advance(1.0)
        assert attempts == [1, 2, 3]
        assert_error(event, RetryLater, match="not yet")  # the next attempt would be too late


async def test_what_waits_too_long_ends_at_its_deadline(manual_clock: ManualClock) -> None:
    """An event behind another one is not begun after its deadline."""

    async def sleep(payload: Payload[float], ctx: Context) -> None:
        await asyncio.sleep(payload.value)

    async with running(Collector("c", sleep), max_consumers=1) as queue:
        first = await queue.get_publisher().send(Payload(10.0))
        second = await queue.get_publisher().send(Payload(0.0), deadline=9.0)
        await manual_clock.advance(9.0)
        assert not first.is_done()
        assert_error(second, DeadlineExceeded)
        await manual_clock.advance(1.0)
        assert_ok(first)


async def test_a_timeout_of_a_coroutine_goes_by_the_clock(manual_clock: ManualClock) -> None:
    """The handler's own sleep and the collector's timeout share the clock: what is due first comes first."""

    async def handler(payload: Payload[float], ctx: Context) -> str:
        await asyncio.sleep(payload.value)
        return "slept"

    async with running(Collector("c", handler, timeout=30.0)) as queue:
        short, long = await queue.get_publisher().send_many([Payload(29.0), Payload(31.0)])
        await manual_clock.advance(29.5)
        assert assert_ok(short) == "slept"
        await manual_clock.advance(0.4)
        assert not long.is_done()
        await manual_clock.advance(0.1)
        assert_error(long, HandlerTimeout)


async def test_a_handler_that_hangs_is_over_its_timeout(in_process_workers: None) -> None:
    """Time goes on without a thread that does not end, after the clock's patience."""
    handlers.RELEASED.clear()
    try:
        with ManualClock(patience=0.05) as clock:
            async with running(Collector("c", handlers.hang, timeout=MINUTE)) as queue:
                event = await queue.get_publisher().send(Payload("hang"))
                await clock.advance(MINUTE - 1)
                assert not event.is_done()
                await clock.advance(1)
                assert_error(event, HandlerTimeout)
    finally:
        handlers.RELEASED.set()


async def test_time_stands_still_until_it_is_moved(manual_clock: ManualClock) -> None:
    """Timers of the loop do not fire by themselves; the loop goes on with everything else."""
    loop, fired = asyncio.get_running_loop(), []
    loop.call_later(0.001, fired.append, "early")
    loop.call_later(5.0, fired.append, "late")
    cancelled = loop.call_later(1.0, fired.append, "never")
    cancelled.cancel()
    await asyncio.to_thread(time.sleep, 0.02)
    assert (fired, loop.time()) == ([], manual_clock.now)
    await manual_clock.advance(2)
    assert fired == ["early"]
    await manual_clock.advance(3)
    assert fired == ["early", "late"]


async def test_what_follows_from_a_timer_happens_at_its_time(manual_clock: ManualClock) -> None:
    """A task that sleeps again and again is woken at each of its times, within one advance."""
    start, seen = manual_clock.now, []

    async def tick() -> None:
        while True:
            await asyncio.sleep(10)
            seen.append(round(manual_clock.now - start))

    async with asyncio.TaskGroup() as group:
        task = group.create_task(tick())
        await manual_clock.advance(35)
        task.cancel()
    assert seen == [10, 20, 30]


async def test_a_task_that_never_waits_does_not_stop_the_clock(manual_clock: ManualClock) -> None:
    """advance() returns although the loop always has something to do."""

    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    task = asyncio.create_task(spin())
    await manual_clock.advance()
    task.cancel()


def test_other_threads_keep_the_time_of_the_world() -> None:
    """The loop of another thread is left alone."""
    slept: list[bool] = []

    def elsewhere() -> None:
        asyncio.run(asyncio.sleep(0.001))
        slept.append(True)

    with ManualClock():
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join(30)
    assert slept == [True]


def test_everything_is_as_before_when_it_is_left() -> None:
    """The clock takes back what it has put in the place of others, also after an error."""
    before = clock.now, clock.source, asyncio.BaseEventLoop.time
    with pytest.raises(ZeroDivisionError), ManualClock():
        raise ZeroDivisionError
    assert (clock.now, clock.source, asyncio.BaseEventLoop.time) == before


async def test_mistakes_are_refused() -> None:
    """Two at once, one that is not entered, and time that goes back: each says what to do."""
    clock = ManualClock()
    with pytest.raises(ConfigError, match="enter the clock before"):
        await clock.advance(1)
    with clock:
        with pytest.raises(ConfigError, match="entered already"), ManualClock():
            pass
        for seconds in (-1.0, float("nan")):
            with pytest.raises(ConfigError, match="time goes forward"):
                await clock.advance(seconds)


def test_a_loop_that_keeps_its_own_time_is_refused(manual_clock: ManualClock) -> None:
    """uvloop has its timers in C: the error says so at the first use."""
    uvloop = pytest.importorskip("uvloop")
    with pytest.raises(ConfigError, match="uvloop keeps its own time"):
        uvloop.run(manual_clock.advance(1))


async def test_a_queue_ends_while_the_clock_stands(manual_clock: ManualClock) -> None:
    """What is scheduled when the queue is left gets its last attempts, and what sleeps is given up in real time."""
    attempts: list[int] = []

    async def handler(payload: Payload[Any], ctx: Context) -> None:
        attempts.append(payload.attempt)
        raise ConnectionError("refused")

    async def sleep(payload: Payload[Any], ctx: Context) -> None:
        await asyncio.sleep(HOUR)

    async with running(Collector("c", handler, retry=SLOW)) as queue:
        await queue.get_publisher().send(Payload(1))
    assert attempts == [1, 2, 3, 4, 5]
    async with running(Collector("c", sleep), consumer_shutdown_timeout=0.05) as queue:
        event = await queue.get_publisher().send(Payload(1))
    assert_error(event, QueueShutDown)


REAL_TIME = {
    "control.profile", "control.py_spy", "opentelemetry", "sizing.step_samples", "sizing.watchdog",
    "watching.observer", "watching.socket_file", "watching.socket_lines", "watching.viewers",
    "web.control_link", "web.local_reader", "web.watched",
    "sources.feed", "sources.heartbeat", "sources.jetstream_connection", "sources.jetstream_pull",
    "sources.redis_stream",
}  # fmt: skip
"""They measure what handlers really take, or deal with other programs."""


def test_every_module_that_asks_for_the_time_is_known_to_the_clock() -> None:
    """A module of the library that reads time.monotonic is named here as one that must not go by the clock."""
    package = Path(event_collector.__file__).parent
    reads = {
        ".".join(path.relative_to(package).with_suffix("").parts)
        for path in package.rglob("*.py")
        if re.search(r"^from time import .*\bmonotonic\b", path.read_text(), re.MULTILINE)
    }
    assert {name for name in reads if not name.startswith("command.")} == REAL_TIME
