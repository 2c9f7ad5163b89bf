"""What a handler, or a listener on the message bus, may do without harm to the queue and the other events."""

import asyncio
import gc
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from event_collector import Collector, CollectorQueue, Context, Delivery, Error, Ok, Payload
from event_collector.messagebus import BusEvent, BusEventQueue
from event_collector.queue import InitializedQueue, ReportedMetrics, ShutDownQueue

PATIENCE = 5.0  # seconds after which a wait counts as a hang


async def echo(payload: Payload[Any], ctx: Context) -> Any:
    return payload.value


async def assert_alive(queue: CollectorQueue) -> None:
    """A running queue still finishes events, and still grows to as many consumers as the load needs."""
    publisher = queue.get_publisher()
    events = [await publisher.send(Payload(number)) for number in range(100)]
    assert [(await event.wait()).first().unwrap() for event in events] == list(range(100))


# -- cancellation that escapes --


async def raise_cancelled(payload: Payload[Any], ctx: Context) -> Any:
    if payload.value == "cancel":
        raise asyncio.CancelledError("from within")
    return payload.value


async def cancel_itself(payload: Payload[Any], ctx: Context) -> Any:
    if payload.value == "cancel":
        task = asyncio.current_task()
        assert task is not None
        task.cancel("from within")
        await asyncio.sleep(3600)
    return payload.value


async def await_cancelled(payload: Payload[Any], ctx: Context) -> Any:
    if payload.value == "cancel":
        inner = asyncio.create_task(asyncio.sleep(3600))
        inner.cancel("from within")
        await inner
    return payload.value


@pytest.mark.parametrize("handler", [raise_cancelled, cancel_itself, await_cancelled])
@pytest.mark.parametrize("collectors", [1, 2])
async def test_a_cancellation_that_escapes_a_handler_is_its_result(handler: Any, collectors: int) -> None:
    """CancelledError out of a handler becomes the event's Error; the consumers live on, counted right."""
    async with (
        asyncio.timeout(PATIENCE),
        CollectorQueue(
            [Collector(f"c{number}", handler) for number in range(collectors)], autoscale=False, max_consumers=2
        ) as queue,
    ):
        events = [await queue.get_publisher().send(Payload("cancel")) for _ in range(10)]
        for event in events:
            results = await event.wait()
            assert len(results) == collectors
            errors = [result.err for result in results if isinstance(result, Error)]
            assert len(errors) == collectors
            assert all(isinstance(error, asyncio.CancelledError) for error in errors)
        assert queue.consumer_count() == 2
        await assert_alive(queue)
        assert queue.get_metrics().event_count == 110


# -- listeners on the bus --


@pytest.mark.parametrize("error", [ValueError("listener broke"), KeyError("listener broke")])
async def test_a_failing_bus_listener_harms_no_one(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """A listener that raises is logged; those after it are called, and the queue starts, works and stops."""
    heard: list[type[BusEvent]] = []

    async def fail(message: BusEvent, follow_up: BusEventQueue) -> None:
        raise error

    async def hear(message: BusEvent, follow_up: BusEventQueue) -> None:
        heard.append(type(message))

    queue = CollectorQueue([Collector("echo", echo)])
    for message in (InitializedQueue, ShutDownQueue):
        queue.get_message_bus().add_msg_handler(message, fail)
        queue.get_message_bus().add_msg_handler(message, hear)
    async with asyncio.timeout(PATIENCE):
        async with queue:
            assert heard == [InitializedQueue]
            await assert_alive(queue)
    assert heard == [InitializedQueue, ShutDownQueue]
    assert queue.consumer_count() == 0
    assert "listener broke" in caplog.text


async def test_a_failing_listener_does_not_keep_the_queue_from_growing() -> None:
    """After listeners have failed, events that need one another still come to run at once."""
    everyone = asyncio.Barrier(30)

    async def meet(payload: Payload[Any], ctx: Context) -> None:
        await everyone.wait()

    async def fail(message: BusEvent, follow_up: BusEventQueue) -> None:
        raise ValueError("listener broke")

    queue = CollectorQueue([Collector("meet", meet)], report_interval=0.01, logging=False)
    for message in (InitializedQueue, ReportedMetrics, ShutDownQueue):
        queue.get_message_bus().add_msg_handler(message, fail)
    async with asyncio.timeout(PATIENCE), queue:
        for _ in range(2):
            for _ in range(30):
                await queue.get_publisher().send(Payload(None))
            await queue.get_publisher().wait()


async def test_reports_go_on_after_a_listener_failed() -> None:
    """Metrics are reported again and again though a listener fails at each report."""
    reports = 0
    enough = asyncio.Event()

    async def fail(message: BusEvent, follow_up: BusEventQueue) -> None:
        nonlocal reports
        reports += 1
        if reports == 3:
            enough.set()
        raise ValueError("listener broke")

    queue = CollectorQueue([Collector("echo", echo)], report_interval=0.02, logging=False)
    queue.get_message_bus().add_msg_handler(ReportedMetrics, fail)
    async with asyncio.timeout(PATIENCE), queue:
        await enough.wait()
        await assert_alive(queue)


# -- handlers that keep the loop --


async def test_a_flood_of_ready_events_lets_other_tasks_run() -> None:
    """Handlers that never suspend are worked off in slices, between which the other tasks have their turn."""
    tick = 0
    seen: set[int] = set()

    async def burn(payload: Payload[Any], ctx: Context) -> None:
        end = time.perf_counter() + 100e-6
        while time.perf_counter() < end:
            pass
        seen.add(tick)

    async def count_turns() -> None:
        nonlocal tick
        while True:
            tick += 1
            await asyncio.sleep(0)

    queue = CollectorQueue([Collector("burn", burn)], autoscale=False, max_consumers=1)
    for _ in range(3000):
        await queue.get_publisher().send(Payload(None))
    other = asyncio.create_task(count_turns())
    async with asyncio.timeout(PATIENCE), queue:
        await queue.get_publisher().wait()
    other.cancel()
    assert len(seen) >= 5


def test_a_handler_that_blocks_the_loop_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    """A coroutine handler that keeps the loop for long is named in the log, with the seconds, only once."""

    async def block(payload: Payload[Any], ctx: Context) -> None:
        time.sleep(payload.value)

    async def scenario() -> None:
        collectors = [Collector("brick", block), Collector("feather", echo)]
        async with asyncio.timeout(PATIENCE), CollectorQueue(collectors) as queue:
            for _ in range(2):
                event = await queue.get_publisher().send(Payload(0.6))
                await event.wait()

    asyncio.run(scenario())
    (record,) = [record for record in caplog.records if "handler blocked the event loop" in record.getMessage()]
    assert record.levelname == "WARNING"
    fields = vars(record)
    assert fields["collector"] == "brick"
    assert 0.5 < fields["seconds"] < PATIENCE


# -- handlers that never return --


async def test_a_handler_has_a_time_limit() -> None:
    """After `timeout` seconds a handler is cancelled, its event gets a TimeoutError, its consumer is free."""
    cancelled: list[Any] = []

    async def stuck(payload: Payload[Any], ctx: Context) -> Any:
        if payload.value == "stuck":
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                cancelled.append(payload.value)
                raise
        return payload.value

    async with (
        asyncio.timeout(PATIENCE),
        CollectorQueue([Collector("stuck", stuck, timeout=0.05)], autoscale=False, max_consumers=1) as queue,
    ):
        events = [await queue.get_publisher().send(Payload("stuck")) for _ in range(2)]
        for event in events:
            result = (await event.wait()).first()
            assert isinstance(result, Error)
            assert isinstance(result.err, TimeoutError)
            assert "stuck" in str(result.err)
        assert cancelled == ["stuck", "stuck"]
        await assert_alive(queue)


async def test_the_time_limit_of_one_collector_is_not_that_of_another() -> None:
    """In a broadcast only the collector that exceeded its own timeout gets the error."""

    async def wait_a_little(payload: Payload[Any], ctx: Context) -> str:
        await asyncio.sleep(0.1)
        return "patient"

    collectors = [Collector("short", wait_a_little, timeout=0.01), Collector("long", wait_a_little, timeout=60.0)]
    async with asyncio.timeout(PATIENCE), CollectorQueue(collectors) as queue:
        short, long = await (await queue.get_publisher().send(Payload(None))).wait()
        assert isinstance(short, Error)
        assert isinstance(short.err, TimeoutError)
        assert isinstance(long, Ok)
        assert long.value == "patient"


# -- what stays behind --


@pytest.fixture
def no_gc() -> Iterator[None]:
    """Only reference counting frees memory during the test."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def cost_of_cancelling(waiters: int) -> float:
    """CPU seconds for each of so many waiters of one event, cancelled from the last to the first."""
    release = asyncio.Event()

    async def hold(payload: Payload[Any], ctx: Context) -> None:
        await release.wait()

    async with CollectorQueue([Collector("hold", hold)]) as queue:
        event = await queue.get_publisher().send(Payload(None))
        tasks = [asyncio.create_task(event.wait()) for _ in range(waiters)]
        await asyncio.sleep(0.01)
        begin = time.thread_time()
        for task in reversed(tasks):
            task.cancel()
        await asyncio.wait(tasks)
        cost = (time.thread_time() - begin) / waiters
        assert all(task.cancelled() for task in tasks)
        release.set()
        await event.wait()
    return cost


@pytest.mark.usefixtures("no_gc")
async def test_cancelling_waiters_costs_the_same_however_many_there_are() -> None:
    """Ten times as many waiters cost about ten times as much to cancel, not a hundred times."""
    few = min([await cost_of_cancelling(2_000) for _ in range(3)])
    many = min([await cost_of_cancelling(20_000) for _ in range(2)])
    assert many < 4 * few


class Value:
    """A payload value that can be referenced weakly."""


async def fail(payload: Payload[Any], ctx: Context) -> None:
    if payload.value is not None:
        raise ValueError("handler broke")


async def overrun(payload: Payload[Any], ctx: Context) -> None:
    if payload.value is not None:
        await asyncio.sleep(3600)


@pytest.mark.usefixtures("no_gc")
@pytest.mark.parametrize(("handler", "options"), [(fail, {}), (overrun, {"timeout": 0.01})])
@pytest.mark.parametrize("delivery", [Delivery.BROADCAST, Delivery.KEY])
@pytest.mark.parametrize("collectors", [1, 2])
async def test_a_failed_event_is_freed_without_the_garbage_collector(
    collectors: int, delivery: Delivery, handler: Any, options: dict[str, Any]
) -> None:
    """Exception, traceback and details form no cycle: a failed event goes when its last user lets go."""
    keys = [f"c{number}" for number in range(collectors)]
    named = keys if delivery is Delivery.KEY else None
    queue = CollectorQueue([Collector(key, handler, **options) for key in keys])
    async with asyncio.timeout(PATIENCE), queue:
        value = Value()
        event = await queue.get_publisher().send(Payload(value, delivery=delivery, keys=named))
        results = await event.wait()
        assert [result.ok() for result in results] == [False] * collectors
        alive = weakref.ref(value)
        del value, event, results
        await (await queue.get_publisher().send(Payload(None))).wait()
        await asyncio.sleep(0)
        assert alive() is None
