"""The message bus, by itself and as the queue uses it."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from event_collector import Collector, CollectorQueue, Context, Payload
from event_collector.messagebus import Command, Message, MessageBus
from event_collector.queue import InitializedQueue, Metrics, ReportedMetrics, ShutDownQueue

Handler = Callable[[Any, deque[Any]], Awaitable[None]]
BOUND = 10.0


class Ordered(Message):
    def __init__(self, number: int = 0) -> None:
        self.number = number


class Shipped(Message): ...


class Ship(Command): ...


async def echo(payload: Payload[Any], ctx: Context) -> Any:
    return payload.value


def recorder(log: list[Any], name: str) -> Handler:
    """Make a handler that notes its name and the event."""

    async def handler(event: Any, queue: deque[Any]) -> None:
        log.append((name, event))

    return handler


async def test_a_message_goes_to_all_its_handlers_in_order() -> None:
    """Every handler gets the message itself, first registered first."""
    log: list[Any] = []
    bus, message = MessageBus(), Ordered()
    for name in "cab":
        bus.add_msg_handler(Ordered, recorder(log, name))
    await bus.dispatch(message)
    assert log == [("c", message), ("a", message), ("b", message)]


async def test_a_command_goes_to_its_last_registered_handler() -> None:
    """A command has one handler: a second one takes its place."""
    log: list[Any] = []
    bus, command = MessageBus(), Ship()
    bus.add_cmd_handler(Ship, recorder(log, "first"))
    bus.add_cmd_handler(Ship, recorder(log, "second"))
    await bus.dispatch(command)
    assert log == [("second", command)]


async def test_a_handler_gets_only_what_it_was_registered_for() -> None:
    """Other messages, and subclasses of its own, pass it by."""

    class Reordered(Ordered): ...

    log: list[Any] = []
    bus, message = MessageBus(), Ordered()
    bus.add_msg_handler(Ordered, recorder(log, "a"))
    for event in (Shipped(), Reordered(), Ship(), message):
        await bus.dispatch(event)
    assert log == [("a", message)]


@pytest.mark.parametrize("event", [Ordered(), Ship()])
async def test_what_nobody_handles_is_no_error(event: Any) -> None:
    """Dispatching into the void does nothing."""
    await MessageBus().dispatch(event)


async def test_handlers_can_be_given_at_the_start() -> None:
    """The constructor takes the handlers of messages and of commands, by position or by name."""
    log: list[Any] = []
    tables: tuple[Any, Any] = ({Ordered: [recorder(log, "a"), recorder(log, "b")]}, {Ship: recorder(log, "c")})
    for bus in (MessageBus(*tables), MessageBus(msg_handlers=tables[0], cmd_handlers=tables[1])):
        log.clear()
        await bus.dispatch(Ordered())
        await bus.dispatch(Ship())
        assert [name for name, _ in log] == ["a", "b", "c"]


async def test_a_bus_does_not_write_into_the_table_it_was_given() -> None:
    """Handlers can be added to a bus made from a table, which itself stays as it is."""
    log: list[Any] = []
    table: dict[Any, Any] = {Ordered: [recorder(log, "a")]}
    bus = MessageBus(table)
    bus.add_msg_handler(Ordered, recorder(log, "b"))
    bus.add_msg_handler(Shipped, recorder(log, "c"))
    await bus.dispatch(Ordered())
    await bus.dispatch(Shipped())
    assert [name for name, _ in log] == ["a", "b", "c"]
    assert {message: len(handlers) for message, handlers in table.items()} == {Ordered: 1}


async def test_handlers_can_be_taken_away() -> None:
    """Deleting a message deletes all its handlers; deleting what is not there is no error."""
    log: list[Any] = []
    bus = MessageBus({Ordered: [recorder(log, "a"), recorder(log, "b")]}, {Ship: recorder(log, "c")})
    for _ in range(2):
        bus.del_msg_handler(Ordered)
        bus.del_cmd_handler(Ship)
    await bus.dispatch(Ordered())
    await bus.dispatch(Ship())
    assert log == []


async def test_a_handler_may_append_follow_up_events() -> None:
    """What a handler appends to the deque is dispatched after it, in the same dispatch()."""
    log: list[Any] = []

    async def ordered(event: Ordered, queue: deque[Any]) -> None:
        log.append(("ordered", type(queue)))
        queue.append(Ship())
        queue.append(Shipped())

    async def ship(event: Ship, queue: deque[Any]) -> None:
        log.append("ship")

    async def shipped(event: Shipped, queue: deque[Any]) -> None:
        log.append("shipped")

    await MessageBus({Ordered: [ordered], Shipped: [shipped]}, {Ship: ship}).dispatch(Ordered())
    assert log == [("ordered", deque), "ship", "shipped"]


async def test_follow_up_events_come_after_all_handlers_of_the_first() -> None:
    """An event is finished before the next one begins, and follow-ups may have follow-ups."""
    log: list[int] = []

    async def count(event: Ordered, queue: deque[Any]) -> None:
        log.append(event.number)
        if event.number < 3:
            queue.append(Ordered(event.number + 1))

    async def note(event: Ordered, queue: deque[Any]) -> None:
        log.append(-event.number)

    await MessageBus({Ordered: [count, note]}).dispatch(Ordered(1))
    assert log == [1, -1, 2, -2, 3, -3]


async def test_the_queue_announces_its_start_and_its_end() -> None:
    """InitializedQueue comes before the body, ShutDownQueue when no consumer is left."""
    log: list[Any] = []
    queue = CollectorQueue([Collector("a", echo)], min_consumers=2, logging=False)

    async def announced(event: Any, follow_ups: deque[Any]) -> None:
        assert event.collector_queue is queue
        log.append((type(event), queue.consumer_count()))

    bus = queue.get_message_bus()
    for message in (InitializedQueue, ShutDownQueue):
        bus.add_msg_handler(message, announced)
    async with queue:
        log.append("body")
    assert log == [(InitializedQueue, 2), "body", (ShutDownQueue, 0)]


async def test_the_queue_announces_each_start_once() -> None:
    """Starting and stopping again what is started or stopped announces nothing."""
    log: list[Any] = []
    queue = CollectorQueue([Collector("a", echo)], logging=False)
    queue.get_message_bus().add_msg_handler(InitializedQueue, recorder(log, "start"))
    queue.get_message_bus().add_msg_handler(ShutDownQueue, recorder(log, "end"))
    for _ in range(2):
        await queue.init_queue()
    for _ in range(2):
        await queue.shut_down_queue()
    assert [name for name, _ in log] == ["start", "end"]


async def test_everything_is_processed_when_the_end_is_announced() -> None:
    """A handler of ShutDownQueue finds all events done."""
    done: list[bool] = []
    events: list[Any] = []
    queue = CollectorQueue([Collector("a", echo)], max_consumers=1, logging=False)

    async def ended(event: ShutDownQueue, follow_ups: deque[Any]) -> None:
        done.extend(event.is_done() for event in events)

    queue.get_message_bus().add_msg_handler(ShutDownQueue, ended)
    async with queue:
        events.extend([await queue.get_publisher().send(Payload(i)) for i in range(10)])
    assert done == [True] * 10


async def test_handlers_may_be_added_while_the_queue_runs() -> None:
    """The bus of a running queue takes new handlers."""
    log: list[Any] = []
    async with CollectorQueue([Collector("a", echo)], logging=False) as queue:
        queue.get_message_bus().add_msg_handler(ShutDownQueue, recorder(log, "end"))
    assert [name for name, _ in log] == ["end"]


async def test_a_program_may_use_the_bus_of_its_queue() -> None:
    """Messages and commands of its own travel on it."""
    log: list[Any] = []
    async with CollectorQueue([Collector("a", echo)], logging=False) as queue:
        queue.get_message_bus().add_cmd_handler(Ship, recorder(log, "ship"))
        await queue.get_message_bus().dispatch(Ship())
    assert [name for name, _ in log] == ["ship"]


async def test_each_report_is_announced_with_its_metrics() -> None:
    """With a report interval, ReportedMetrics comes again and again, logging or not."""
    reports: list[Metrics] = []
    enough = asyncio.Event()
    queue = CollectorQueue([Collector("a", echo)], report_interval=0.02, logging=False)

    async def reported(event: ReportedMetrics, follow_ups: deque[Any]) -> None:
        reports.append(event.metrics)
        if len(reports) >= 3:
            enough.set()

    queue.get_message_bus().add_msg_handler(ReportedMetrics, reported)
    async with asyncio.timeout(BOUND), queue:
        await enough.wait()
    assert all(isinstance(metrics, Metrics) for metrics in reports)
    times = [metrics.timestamp for metrics in reports]
    assert times == sorted(times)


async def test_without_a_report_interval_nothing_is_reported() -> None:
    """By default there are no reports."""
    log: list[Any] = []
    queue = CollectorQueue([Collector("a", echo)], logging=False)
    queue.get_message_bus().add_msg_handler(ReportedMetrics, recorder(log, "report"))
    async with queue:
        event = await queue.get_publisher().send(Payload(1))
        await event.wait()
    assert log == []
