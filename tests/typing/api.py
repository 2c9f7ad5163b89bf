"""What type checkers must make of the public API: checked by `make check`, never run."""

import contextlib
from collections import deque
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from signal import Signals
from typing import Any, assert_never, assert_type

from event_collector import (
    Codec,
    Collector,
    CollectorDict,
    CollectorEvent,
    CollectorList,
    CollectorQueue,
    Context,
    DeadLetter,
    Delivery,
    Error,
    EventPublisher,
    Journal,
    LifecycleManager,
    Ok,
    Payload,
    Processor,
    QueueType,
    Result,
    ResultList,
    Retry,
    RetryLater,
    Router,
    SimpleRouter,
    WorkerLimits,
    abind,
    drain_on_signal,
    register_type,
)
from event_collector.exceptions import ConfigError, EventCollectorException
from event_collector.messagebus import Command, Message, MessageBus
from event_collector.queue import (
    DEFAULT_MAX_CONSUMERS,
    WIP_MARGIN,
    InitializedQueue,
    Load,
    Metrics,
    ReportedMetrics,
    ShutDownQueue,
)
from event_collector.watching.snapshot import Snapshot


def durability(payload: Payload[int], event: CollectorEvent) -> None:
    """A journal is a path or a Journal; workers have limits."""
    journal = Journal(
        "events.journal", synchronous="normal", types=[int], on_replay=lambda event: None, acknowledge=True
    )
    assert_type(journal.acknowledge(event), None)
    assert_type(payload.event_id, int | None)
    for given in (journal, "events.journal", Path("events.journal"), None):
        CollectorQueue([], journal=given, worker_limits=WorkerLimits(open_files=10))


async def reliability(queue: CollectorQueue, payload: Payload[int]) -> None:
    """Attempts, cancelling, dead letters and signals are typed."""
    assert_type(Retry(max_attempts=2, on=(OSError, ValueError)).max_attempts, int)
    assert_type(payload.attempt, int)
    assert_type(payload.last_error, str | None)
    event = await queue.get_publisher().send(payload, deadline=1.0)
    assert_type(event.cancel(), bool)
    for letter in queue.dead_letters:
        assert_type(letter, DeadLetter)
        assert_type(await queue.dead_letters.replay(letter), CollectorEvent)
    async with drain_on_signal(queue) as interruption:
        assert_type(interruption.received, Signals | None)
    assert_type(RetryLater("later", delay=1).delay, float | None)
    assert_type(queue.accounting().scheduled, int)


def results() -> None:
    """Ok and Error remember what they carry."""
    assert_type(Ok(1), Ok[int])
    assert_type(Ok(1).value, int)
    assert_type(Ok("a").unwrap(), str)
    assert_type(Ok(1).ok(), bool)
    assert_type(Error("a"), Error[str])
    assert_type(Error(ValueError()).err, ValueError)
    assert_type(Error("a").details, dict[str, Any] | None)


def unwrapping_an_error_never_returns() -> str:
    """A checker knows that nothing comes after it."""
    Error("a").unwrap()


def matching(result: Result) -> str:
    """Ok and Error are all there is."""
    match result:
        case Ok(value):
            return str(value)
        case Error(err):
            return str(err)
        case _:
            assert_never(result)


def asking(result: Result) -> None:
    """Both kinds answer the same questions."""
    assert_type(result.ok(), bool)
    assert_type(result.error(), bool)
    assert_type(result.is_error, bool)
    if isinstance(result, Error):
        assert_type(result.details, dict[str, Any] | None)


def result_lists(listed: ResultList) -> None:
    """Elements are results, one way or another."""
    assert_type(listed.first(), Result)
    assert_type(listed.size(), int)
    assert_type(listed.results, list[Result])
    assert_type(listed[0], Result)
    iterator: Iterator[Result] = listed.iter()
    for result in listed:
        assert_type(result, Result)
    ResultList([Ok(1), Error("a"), *iterator])


def payloads() -> None:
    """A payload knows the type of its value, which cannot be replaced."""
    payload = Payload({"a": 1}, Delivery.KEY, ["a"], ("t",), 3)
    assert_type(payload.value, dict[str, int])
    assert_type(payload.priority, float | None)
    payload.value = {}  # type: ignore[misc]
    payload.set_delivery(Delivery.TOPIC, topics=["t"])
    payload.set_priority(3)


class Order(Payload[int]):
    """A payload of one's own."""

    def __init__(self, value: int, customer: str) -> None:
        super().__init__(value)
        self.customer = customer


def contexts(ctx: Context) -> None:
    """A context holds anything under any name."""
    ctx.connection = object()
    ctx["cache"] = {}
    assert_type(ctx.session, Any)
    assert_type(ctx["cache"], Any)
    assert_type(len(ctx), int)
    names: list[str] = list(ctx)
    del ctx.connection, ctx[names[0]]


async def with_result(payload: Payload[int], ctx: Context) -> Result:
    """Return a Result."""
    return Ok(payload.value)


async def with_value(payload: Payload[int], ctx: Context) -> int:
    """Return a bare value."""
    return payload.value


async def with_nothing(payload: Payload[Any], ctx: Context) -> None:
    """Return nothing."""


class Service:
    """Processors that are methods or objects."""

    async def method(self, payload: Payload[str], ctx: Context) -> Result:
        return Error(payload.value)

    async def __call__(self, payload: Payload[str], ctx: Context) -> Result:
        return Ok(payload.value)


@contextlib.asynccontextmanager
async def lifecycle(ctx: Context) -> AsyncIterator[None]:
    """Set up and tear down."""
    yield


class Connection:
    """A lifecycle that is a class."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx

    async def __aenter__(self) -> "Connection":
        return self

    async def __aexit__(self, *exc_info: object) -> None: ...


def collectors() -> CollectorList:
    """Every kind of processor and lifecycle is accepted, and the aliases name them."""
    processor: Processor = with_result
    manager: LifecycleManager = lifecycle
    service = Service()
    made = [
        Collector("a", processor, topics=["t"], ctx=Context(), lifecycle=manager),
        Collector("b", with_value, topics=("t", "u"), lifecycle=Connection),
        Collector("c", with_nothing, topics=None, ctx=None, lifecycle=None),
        Collector("d", service),
        Collector("e", service.method),
        Collector("p", with_value, codec="pickle"),
        Collector("q", with_value, codec=Codec(enc_hook=str, dec_hook=lambda kind, value: kind(value))),
    ]
    register_type(Service, encode=lambda service: [service.method is None], decode=lambda _data: Service())
    Collector("c", with_value, codec="json")  # type: ignore[call-overload]
    assert_type(made[0].key, str)
    assert_type(made[0].ctx, Context)
    Collector("f", 3)  # type: ignore[call-overload]
    return made


class First(Router):
    """A router from scratch."""

    async def handle_event(self, payload: Payload[Any]) -> ResultList:
        for collector in self.collectors.values():
            return ResultList([await abind(collector.process, payload)])
        return ResultList()


class Sampled(SimpleRouter):
    """A router that adds to the simple one."""

    def __init__(self, collectors: CollectorDict | None = None) -> None:
        super().__init__(collectors)
        self.seen = 0

    async def handle_event(self, payload: Payload[Any]) -> ResultList:
        self.seen += 1
        return await super().handle_event(payload)


async def publishing(publisher: EventPublisher) -> None:
    """Sending gives an event, and waiting for it gives its results."""
    event = await publisher.send(Payload(1))
    assert_type(event, CollectorEvent)
    assert_type(await event.wait(), ResultList)
    assert_type(event.get_result(), ResultList | None)
    assert_type(event.id, int)
    assert_type(event.priority, float)
    assert_type(event.is_done(), bool)
    assert_type(event.service_time(), int)
    assert_type(event.wait_time(), int)
    event.set_result(ResultList())
    await publisher.send(Order(1, "someone"))
    await publisher.send(1)
    await publisher.wait()


async def running() -> None:
    """`async with` gives the queue, whatever router and options it has."""
    async with CollectorQueue(collectors()) as queue:
        assert_type(queue, CollectorQueue)
        assert_type(queue.get_publisher(), EventPublisher)
        assert_type(queue.get_message_bus(), MessageBus)
        assert_type(queue.get_metrics(), Metrics)
        assert_type(queue.snapshot(), Snapshot)
        assert_type(queue.snapshot().collectors[0].rate, float | None)
        assert_type(queue.current_load(), Load)
        assert_type(queue.consumer_count(), int)
    other = CollectorQueue(
        collectors(),
        router=Sampled,
        autoscale=False,
        min_consumers=1,
        max_consumers=DEFAULT_MAX_CONSUMERS,
        wip_margin=WIP_MARGIN,
        queue_type=QueueType.PRIORITY,
        consumer_shutdown_timeout=5.0,
        logging=False,
    )
    try:
        await other.init_queue()
        await other.shut_down_queue()
    except ConfigError as error:
        raised: EventCollectorException = error
        print(raised)
    CollectorQueue(collectors(), First, max_consumers="many")  # type: ignore[arg-type]


def measuring(metrics: Metrics, load: Load) -> None:
    """Snapshots have typed fields and cannot be changed."""
    assert_type(metrics.timestamp, datetime)
    assert_type(metrics.event_count, int)
    assert_type(metrics.service_time, float)
    assert_type(load.ratio, float)
    metrics.qsize = 3  # type: ignore[misc]


class Shipped(Message):
    """A message of one's own."""


class Ship(Command):
    """A command of one's own."""


async def on_shipped(event: Shipped, queue: deque[Any]) -> None:
    """Handle one kind of message."""
    queue.append(Ship())


async def on_ship(event: Ship, queue: deque[Any]) -> None:
    """Handle a command."""


async def on_start(event: InitializedQueue, queue: deque[Any]) -> None:
    """Meet the queue."""
    assert_type(event.collector_queue, CollectorQueue)


async def on_end(event: ShutDownQueue, queue: deque[Any]) -> None:
    """Part from the queue."""
    assert_type(event.collector_queue, CollectorQueue)


async def on_report(event: ReportedMetrics, queue: deque[Any]) -> None:
    """Read a report."""
    assert_type(event.metrics, Metrics)


async def on_anything(event: Message | Command, queue: deque[Message | Command]) -> None:
    """Handle whatever it is registered for."""


async def messaging(bus: MessageBus) -> None:
    """Handlers may be annotated with the kind of message they are for, or with all kinds."""
    bus.add_msg_handler(Shipped, on_anything)
    bus.add_cmd_handler(Ship, on_anything)
    bus.add_msg_handler(Shipped, on_shipped)
    bus.add_cmd_handler(Ship, on_ship)
    bus.add_msg_handler(InitializedQueue, on_start)
    bus.add_msg_handler(ShutDownQueue, on_end)
    bus.add_msg_handler(ReportedMetrics, on_report)
    await bus.dispatch(Shipped())
    bus.del_msg_handler(Shipped)
    bus.del_cmd_handler(Ship)
    MessageBus({Shipped: [on_shipped]}, {Ship: on_ship})


async def binding() -> None:
    """abind() passes arguments on and gives a result."""
    assert_type(await abind(with_value, Payload(1), Context()), Result)
