"""CollectorQueue: its life, its consumers and their limits."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from event_collector import (
    Collector,
    CollectorQueue,
    Context,
    EventPublisher,
    Payload,
    QueueType,
    SimpleRouter,
)
from event_collector.exceptions import ConfigError
from event_collector.messagebus import MessageBus
from event_collector.queue import Load

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


@pytest.mark.parametrize(
    ("minimum", "maximum", "started"), [(0, 5, 1), (-3, 5, 1), (4, 2, 4), (0, 0, 1), (3, 3, 3)]
)
async def test_limits_too_low_are_raised(minimum: int, maximum: int, started: int) -> None:
    """There is at least one consumer, and the maximum is at least the minimum."""
    async with queue_of(min_consumers=minimum, max_consumers=maximum) as queue:
        assert queue.consumer_count() == started
        event = await queue.get_publisher().send(Payload(1))
        assert (await event.wait()).first().unwrap() == 1


@pytest.mark.parametrize(("autoscale", "started"), [(True, 2), (False, 7)])
async def test_the_start_is_at_the_minimum_or_without_autoscaling_at_the_maximum(
    autoscale: bool, started: int
) -> None:
    """A queue that scales starts small; one that does not starts whole."""
    async with queue_of(autoscale=autoscale, min_consumers=2, max_consumers=7) as queue:
        assert queue.consumer_count() == started


async def test_without_autoscaling_the_pool_stays_as_it_is() -> None:
    """Neither a burst nor idleness changes the number of consumers."""
    gate = Gate()
    async with queue_of(gate, autoscale=False, max_consumers=5, avg_load_interval=1.0) as queue:
        for value in range(20):
            await queue.get_publisher().send(Payload(value))
        await until(lambda: gate.inside == 5)
        assert queue.consumer_count() == 5
        gate.opened.set()
        await queue.get_publisher().wait()
        assert queue.consumer_count() == 5
    assert gate.peak == 5


@pytest.mark.parametrize("autoscale", [True, False])
async def test_forty_waiting_events_come_to_run_at_once(autoscale: bool) -> None:
    """While the maximum allows it, no event waits for another."""
    gate = Gate()
    async with queue_of(gate, autoscale=autoscale, max_consumers=100) as queue:
        for value in range(40):
            await queue.get_publisher().send(Payload(value))
        await until(lambda: gate.inside == 40)
        gate.opened.set()


@pytest.mark.parametrize("autoscale", [True, False])
async def test_never_more_than_the_maximum_are_in_handlers(autoscale: bool) -> None:
    """The limit is reached and held; the rest waits in the queue."""
    gate = Gate()
    async with queue_of(gate, autoscale=autoscale, min_consumers=1, max_consumers=3) as queue:
        for value in range(30):
            await queue.get_publisher().send(Payload(value))
        await until(lambda: gate.inside == 3)
        for _ in range(20):
            await asyncio.sleep(0)
        assert (gate.inside, queue.consumer_count()) == (3, 3)
        gate.opened.set()
        await queue.get_publisher().wait()
    assert gate.peak == 3


async def test_an_idle_pool_shrinks_to_its_minimum() -> None:
    """When the burst is over, the consumers that it needed go."""
    gate = Gate()
    async with queue_of(gate, min_consumers=2, max_consumers=50, avg_load_interval=1.0) as queue:
        for value in range(30):
            await queue.get_publisher().send(Payload(value))
        await until(lambda: gate.inside == 30)
        assert queue.consumer_count() >= 30
        gate.opened.set()
        await queue.get_publisher().wait()
        await until(lambda: queue.consumer_count() == 2)


async def test_current_load_shows_queue_handlers_and_consumers() -> None:
    """The ratio is what has to be done by what can do it: (queued + busy) / consumers."""
    gate = Gate()
    async with queue_of(gate, max_consumers=2) as queue:
        assert queue.current_load() == Load(qsize=0, busy=0, consumers=1)
        for value in range(5):
            await queue.get_publisher().send(Payload(value))
        await until(lambda: gate.inside == 2)
        load = queue.current_load()
        assert (load.qsize, load.busy, load.consumers, load.ratio) == (3, 2, 2, 2.5)
        gate.opened.set()
        await queue.get_publisher().wait()
        await until(lambda: queue.current_load().busy == 0)
        assert queue.current_load().ratio == 0


async def test_the_load_can_be_asked_for_at_any_time() -> None:
    """Before the start and after the end there is no division by no consumer."""
    queue = queue_of()
    await queue.get_publisher().send(Payload(1))
    assert (queue.current_load().qsize, queue.current_load().busy) == (1, 0)
    async with queue:
        pass
    assert (queue.current_load().qsize, queue.current_load().ratio) == (0, 0)


def test_a_load_computes_its_ratio() -> None:
    """Load(qsize, busy, consumers) can be made by hand."""
    assert Load(1, 2, 3).ratio == 1.0
    assert Load(qsize=3, busy=1, consumers=2).ratio == 2.0


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
    async with (
        CollectorQueue([collector], logging=False) as one,
        CollectorQueue([collector], logging=False) as two,
    ):
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


async def test_the_limits_can_be_read_back() -> None:
    """What a queue was configured with, after correction, shows in its attributes."""
    queue = queue_of(autoscale=False, min_consumers=0, max_consumers=-1, queue_type=QueueType.LIFO)
    assert (queue.autoscale, queue.queue_type) == (False, QueueType.LIFO)
    assert (queue.min_consumers, queue.max_consumers) == (1, 1)
