"""CollectorQueue: how it is built, started, stopped, and what holds in between."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from event_collector import Collector, CollectorQueue, Context, EventPublisher, Payload, QueueType, SimpleRouter
from event_collector.exceptions import ConfigError
from event_collector.messagebus import MessageBus

BOUND = 10.0


class Gate:
    """A handler that holds every event until it is opened, and counts how many are inside."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.inside = 0
        self.peak = 0

    async def __call__(self, payload: Payload[Any], ctx: Context) -> Any:
        self.inside += 1
        self.peak = max(self.peak, self.inside)
        try:
            await self.opened.wait()
        finally:
            self.inside -= 1
        return payload.value


async def echo(payload: Payload[Any], ctx: Context) -> Any:
    return payload.value


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(BOUND):
        while not condition():
            await asyncio.sleep(0.001)


def queue_of(handler: Any = echo, **options: Any) -> CollectorQueue:
    return CollectorQueue([Collector("a", handler)], logging=False, **options)


async def test_a_queue_is_its_own_context_manager() -> None:
    """`async with queue as q` gives the queue, running."""
    queue = queue_of()
    async with queue as entered:
        assert entered is queue
        assert queue.consumer_count() >= 1
    assert queue.consumer_count() == 0


async def test_a_queue_can_be_started_and_stopped_by_hand() -> None:
    """init_queue() and shut_down_queue() do what `async with` does."""
    queue = queue_of()
    await queue.init_queue()
    event = await queue.get_publisher().send(Payload("value"))
    await queue.shut_down_queue()
    assert (await event.wait()).first().unwrap() == "value"
    assert queue.consumer_count() == 0


async def test_starting_twice_and_stopping_twice_is_the_same_as_once() -> None:
    """Both calls are idempotent: lifecycles are set up and torn down once."""
    log: list[str] = []

    @contextlib.asynccontextmanager
    async def lifecycle(ctx: Context) -> AsyncIterator[None]:
        log.append("up")
        yield
        log.append("down")

    queue = CollectorQueue([Collector("a", echo, lifecycle=lifecycle)], logging=False)
    for _ in range(3):
        await queue.init_queue()
    assert (log, queue.consumer_count()) == (["up"], 1)
    for _ in range(3):
        await queue.shut_down_queue()
    assert (log, queue.consumer_count()) == (["up", "down"], 0)


async def test_stopping_a_queue_that_never_started_does_nothing() -> None:
    """There is nothing to stop."""
    await queue_of().shut_down_queue()


def test_a_queue_can_be_built_outside_a_running_loop() -> None:
    """A program may build its queue at import time and run it later."""
    queue = queue_of()
    publisher = queue.get_publisher()

    async def main() -> Any:
        async with queue:
            event = await publisher.send(Payload("value"))
            return (await event.wait()).first().unwrap()

    assert asyncio.run(main()) == "value"


async def test_publisher_and_bus_are_always_the_same() -> None:
    """They can be asked for anywhere, at any time."""
    queue = queue_of()
    publisher, bus = queue.get_publisher(), queue.get_message_bus()
    assert isinstance(publisher, EventPublisher)
    assert isinstance(bus, MessageBus)
    async with queue:
        assert queue.get_publisher() is publisher
        assert queue.get_message_bus() is bus
    assert queue.get_publisher() is publisher
    assert queue.get_message_bus() is bus


async def test_all_options_can_be_given_by_position() -> None:
    """The order of the parameters is part of the interface."""
    queue = CollectorQueue(
        [Collector("a", echo)],
        SimpleRouter,
        False,
        2,
        3,
        0.15,
        0.01,
        0.0,
        60.0,
        60.0,
        3.0,
        1000,
        1000,
        QueueType.PRIORITY,
        7,
        10.0,
        False,
    )
    async with queue:
        assert queue.consumer_count() == 3
        assert (await queue.get_publisher().send(Payload(1))).priority == 7


@pytest.mark.parametrize("size", [0, -1])
def test_a_window_of_no_size_is_refused(size: int) -> None:
    """The error names the parameter."""
    with pytest.raises(ConfigError, match="event_service_data_window_size"):
        queue_of(event_service_data_window_size=size)


@pytest.mark.parametrize(
    "option",
    [
        {"monitor_interval": 0.0},
        {"avg_load_interval": 0.1},
        {"metrics_collector_window_size": 1},
        {"metrics_history_size": 1},
        {"metrics_warmup_interval": 0.0},
        {"report_interval": -1.0},
        {"wip_margin": 0.0},
    ],
    ids=lambda option: next(iter(option)),
)
async def test_odd_settings_are_taken(option: dict[str, Any]) -> None:
    """A program with a very small interval or window runs, and none is a reason to refuse the start."""
    async with queue_of(**option) as queue:
        event = await queue.get_publisher().send(Payload(1))
        assert (await event.wait()).first().unwrap() == 1


@pytest.mark.parametrize("queue_type", QueueType)
async def test_every_accepted_event_is_processed_before_the_end(queue_type: QueueType) -> None:
    """Leaving at once does not lose what was sent, whatever the order of processing."""

    async def slow(payload: Payload[Any], ctx: Context) -> Any:
        await asyncio.sleep(0.0005)
        return payload.value

    async with queue_of(slow, queue_type=queue_type, max_consumers=2) as queue:
        events = [await queue.get_publisher().send(Payload(i)) for i in range(100)]
    results = [event.get_result() for event in events]
    assert [result and result.first().unwrap() for result in results] == list(range(100))


async def test_the_end_waits_for_handlers_that_are_still_busy() -> None:
    """A running handler is not cut off."""
    gate = Gate()
    queue = queue_of(gate)
    await queue.init_queue()
    event = await queue.get_publisher().send(Payload("value"))
    await until(lambda: gate.inside == 1)
    ending = asyncio.ensure_future(queue.shut_down_queue())
    await asyncio.sleep(0.02)
    assert not ending.done()
    gate.opened.set()
    await ending
    assert (await event.wait()).first().unwrap() == "value"


async def test_no_task_is_left_behind() -> None:
    """After the end every task that the queue started is gone."""
    before = asyncio.all_tasks()
    async with queue_of(max_consumers=20, report_interval=0.01) as queue:
        for value in range(50):
            await queue.get_publisher().send(Payload(value))
    assert asyncio.all_tasks() - before == set()


async def test_an_exception_from_the_body_comes_out_after_the_teardown() -> None:
    """The queue ends as ever, accepted events included, and the exception goes on."""
    log: list[Any] = []

    @contextlib.asynccontextmanager
    async def lifecycle(ctx: Context) -> AsyncIterator[None]:
        yield
        log.append("down")

    async def processor(payload: Payload[Any], ctx: Context) -> None:
        log.append(payload.value)

    queue = CollectorQueue([Collector("a", processor, lifecycle=lifecycle)], logging=False)

    async def body() -> None:
        async with queue:
            for value in range(3):
                await queue.get_publisher().send(Payload(value))
            raise LookupError("body")

    with pytest.raises(LookupError, match="body"):
        await body()
    assert log == [0, 1, 2, "down"]
    assert queue.consumer_count() == 0


async def test_the_shutdown_timeout_bounds_the_end() -> None:
    """A handler that does not return holds the program no longer than that."""
    started = time.monotonic()
    async with queue_of(Gate(), consumer_shutdown_timeout=0.05) as queue:
        await queue.get_publisher().send(Payload(1))
    assert 0.04 < time.monotonic() - started < BOUND


@pytest.mark.parametrize("timeout", [0.0, -1.0])
async def test_a_shutdown_timeout_of_zero_or_less_is_none(timeout: float) -> None:
    """Without a bound the end waits for the handlers."""

    async def nap(payload: Payload[Any], ctx: Context) -> str:
        await asyncio.sleep(0.05)
        return "rested"

    async with queue_of(nap, consumer_shutdown_timeout=timeout, max_consumers=1) as queue:
        events = [await queue.get_publisher().send(Payload(i)) for i in range(2)]
    assert [(await event.wait()).first().unwrap() for event in events] == ["rested", "rested"]


async def test_two_queues_may_share_their_collectors() -> None:
    """A collector belongs to no queue."""
    collector = Collector("a", echo)
    async with CollectorQueue([collector], logging=False) as one, CollectorQueue([collector], logging=False) as two:
        events = [await queue.get_publisher().send(Payload(i)) for i, queue in enumerate([one, two, one])]
        assert [(await event.wait()).first().unwrap() for event in events] == [0, 1, 2]


async def test_a_subclass_may_add_to_start_and_end() -> None:
    """`async with` goes through init_queue() and shut_down_queue(), so overriding them is enough."""
    log: list[str] = []

    class Announced(CollectorQueue):
        async def init_queue(self) -> None:
            log.append("start")
            await super().init_queue()

        async def shut_down_queue(self) -> None:
            await super().shut_down_queue()
            log.append("end")

    async with Announced([Collector("a", echo)], logging=False) as queue:
        event = await queue.get_publisher().send(Payload(1))
        await event.wait()
    assert log == ["start", "end"]
