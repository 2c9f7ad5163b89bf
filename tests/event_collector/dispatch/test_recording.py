"""Recording: an event is on record before it is accepted, and what is on record from before enters again."""

import asyncio
from typing import Any

import pytest

from event_collector import (
    Collector,
    CollectorEvent,
    ConfigError,
    EventCancelled,
    Payload,
    QueueFull,
    QueueShutDown,
    QueueType,
    Retry,
    SimpleRouter,
)
from event_collector.dispatch.dispatcher import Dispatcher
from event_collector.dispatch.permits import ConsumerLimits
from event_collector.dispatch.recording import Recording
from event_collector.events.dead_letters import DeadLetters
from event_collector.handlers.attempt import Attempt
from event_collector.handlers.delivery import DeliveryPlan
from event_collector.watching.metrics import Meter
from tests.event_collector.dispatch.parts import handle

pytestmark = pytest.mark.anyio


class Record:
    """A record that a test writes by hand: it keeps the events that are to be written, and what happened."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, Any]] = []
        self.written: list[asyncio.Future[None]] = []
        self.is_broken = False

    def accept(self, event: CollectorEvent) -> "asyncio.Future[None]":
        if self.is_broken:
            raise OSError("disk full")
        self.lines.append(("accept", event.payload.value))
        self.written.append(asyncio.get_running_loop().create_future())
        return self.written[-1]

    def __getattr__(self, name: str) -> Any:
        return lambda event, *_: self.lines.append((name, event.payload.value))

    def write(self) -> None:
        """Say that all is on the disk."""
        for future in self.written:
            if not future.done():
                future.set_result(None)


class Case:
    """A dispatcher that is not open, so that all accepted events wait, with a record."""

    def __init__(self, places: int = 0) -> None:
        self.record = Record()
        self.dispatcher = Dispatcher(
            queue_type=QueueType.FIFO, default_priority=1000, max_queue_size=places, overflow="wait",
            letters=DeadLetters(9, self._resend, lambda _: None, None), limits=ConsumerLimits(1, 9, autoscale=False),
            meter=Meter(events=9, rate_window=1, load_window=1, warmup=0, history=9),
        )  # fmt: skip
        recorder: Any = self.record
        self.recording = Recording(self.dispatcher, recorder)

    async def _resend(self, letter: Any) -> Any:
        raise NotImplementedError

    @property
    def waiting(self) -> list[int]:
        return [event.payload.value for event in self.dispatcher.backlogs.here.order]

    @property
    def accepted(self) -> int:
        return self.dispatcher.totals.accepted


async def step() -> None:
    """Let other tasks run."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_an_event_is_accepted_when_it_is_on_record() -> None:
    """And not before."""
    case = Case()
    sending = asyncio.create_task(case.recording.send(Payload(1), None))
    await step()
    assert (case.accepted, case.record.lines) == (0, [("accept", 1)])
    case.record.write()
    event = await sending
    assert (case.accepted, case.waiting) == (1, [1])
    assert event.place is case.dispatcher.backlogs.here


@pytest.mark.parametrize("reason", ["cancelled", "not written", "shut down"])
async def test_an_event_that_is_not_accepted_is_struck_out(reason: str) -> None:
    """Its place in a bounded queue is free again."""
    case = Case(1)
    sending = asyncio.create_task(case.recording.send(Payload(1), None))
    await step()
    if reason == "cancelled":
        sending.cancel()
    elif reason == "not written":
        case.record.written[0].set_exception(OSError("disk full"))
    else:
        case.dispatcher.refuse(QueueShutDown("over"))
        case.record.write()
    with pytest.raises((asyncio.CancelledError, OSError, QueueShutDown)):
        await sending
    assert case.record.lines == [("accept", 1), ("withdrawn", 1)]
    assert case.accepted == 0
    case.dispatcher.gate.open()
    assert case.dispatcher.gate.room() == 1


async def test_what_cannot_be_recorded_takes_no_place() -> None:
    """A list of payloads, or a record that raises: the sender gets the error."""
    case = Case(1)
    with pytest.raises(ConfigError):
        await case.recording.send([Payload(1)], None)  # type: ignore[arg-type]
    case.record.is_broken = True
    with pytest.raises(OSError, match="disk full"):
        await case.recording.send(Payload(1), None)
    assert (case.accepted, case.dispatcher.gate.room()) == (0, 1)


async def test_sending_without_waiting_accepts_at_once() -> None:
    """The record follows, whether it succeeds or not."""
    case = Case(1)
    case.recording.send_nowait(Payload(1), None)
    assert case.waiting == [1]
    with pytest.raises(QueueFull):
        case.recording.send_nowait(Payload(2), None)
    case.record.written[0].set_exception(OSError("disk full"))  # asyncio would complain if nobody took it
    await step()


async def test_many_are_accepted_in_their_order() -> None:
    """All are given to the record before the first is written; after a cancellation the rest is struck out."""
    case = Case()
    sending = asyncio.create_task(case.recording.send_many([Payload(n) for n in range(4)], None))
    await step()
    assert case.record.lines == [("accept", n) for n in range(4)]
    for future in case.record.written[:2]:
        future.set_result(None)
    await step()
    assert case.waiting == [0, 1]
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert case.record.lines[4:] == [("withdrawn", 2), ("withdrawn", 3)]
    assert case.accepted == 2


async def test_a_full_queue_admits_what_is_on_record_first() -> None:
    """Else the events of one call would wait for the places that they hold."""
    case = Case(2)
    sending = asyncio.create_task(case.recording.send_many([Payload(n) for n in range(3)], None))
    for _ in range(2):
        await step()
        case.record.write()
    await step()
    assert case.waiting == [0, 1]
    assert case.dispatcher.backlogs.here.peek().cancel()
    await step()
    case.record.write()
    events = await sending
    assert [event.is_done() for event in events] == [True, False, False]
    assert isinstance(events[0].get_result().first().err, EventCancelled)  # type: ignore[union-attr]


async def test_an_event_of_an_earlier_program_is_not_recorded_again() -> None:
    """It keeps its id, and enters a full queue: it was accepted before."""
    case = Case(1)
    events = [case.recording.recover(number, Payload(number)) for number in (41, 42)]
    assert [event.id for event in events] == case.waiting == [41, 42]
    assert case.record.lines == []
    assert case.dispatcher.gate.is_overdrawn


async def test_attempts_of_an_earlier_program_count() -> None:
    """The event waits for its next attempt, which has the number after those that were made."""
    case = Case()
    by_key = {"a": Collector("a", handle, retry=Retry(max_attempts=9))}
    plan = DeliveryPlan(SimpleRouter(by_key), by_key)
    case.dispatcher.open(asyncio.get_running_loop(), plan, {}, lambda: None)
    event = case.recording.recover(7, Payload(7), {"a": Attempt(2, "refused")}, delay=3600.0)
    assert event.place is case.dispatcher.retries
    assert (event.payload.attempt, event.payload.last_error) == (3, "refused")
    assert case.dispatcher.figures.accounting().scheduled == case.accepted == 1
    case.dispatcher.close()
