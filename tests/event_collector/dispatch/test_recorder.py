"""What a recorder hears, and what a queue does for it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from event_collector import (
    Collector,
    CollectorEvent,
    CollectorQueue,
    Context,
    DeadLetter,
    Error,
    EventCancelled,
    Payload,
    QueueShutDown,
    Retry,
)
from event_collector.dispatch.recording import Recording
from event_collector.events.event_ids import event_ids
from event_collector.handlers.attempt import Attempt
from tests.event_collector import sample_attempts as handlers
from tests.event_collector.modes import BOUND, ask, balanced, balanced_all_along, until

AT_ONCE = Retry(max_attempts=2, backoff=0.0)
LONG = Retry(max_attempts=4, backoff=60.0, jitter=0.0)


class Notes:
    """A recorder that writes down what it hears, and says when an event is on record."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.write: Callable[[CollectorEvent], asyncio.Future[None] | None] = lambda _: None
        self.first = 0

    def note(self, what: str, event: CollectorEvent, *more: Any) -> None:
        self.first = self.first or event.id
        self.lines.append(" ".join([what, str(event.payload.value), *map(str, more)]))

    def accept(self, event: CollectorEvent) -> "asyncio.Future[None] | None":
        self.note("accept", event)
        assert not event.started
        return self.write(event)

    def withdrawn(self, event: CollectorEvent) -> None:
        self.note("withdrawn", event)

    def started(self, event: CollectorEvent) -> None:
        self.note("started", event)

    def retrying(self, event: CollectorEvent, attempts: Mapping[str, Attempt], delay: float) -> None:
        assert not event.is_done()
        self.note("retrying", event, {key: one.made for key, one in attempts.items()}, round(delay))

    def finished(self, event: CollectorEvent) -> None:
        assert event.is_done()
        self.note("finished", event)

    def dead_letter_added(self, letter: DeadLetter) -> None:
        self.lines.append(f"dead {letter.payload.value}")

    def dead_letter_removed(self, letter: DeadLetter) -> None:
        self.lines.append(f"removed {letter.payload.value}")


@asynccontextmanager
async def recorded(*collectors: Collector, **options: Any) -> AsyncIterator[tuple[CollectorQueue, Notes]]:
    queue, notes = CollectorQueue(list(collectors), logging=False, max_workers=1, **options), Notes()
    queue._attach_recorder(notes)
    async with asyncio.timeout(BOUND), queue, balanced_all_along(queue):
        yield queue, notes
        await queue.get_publisher().wait()


@pytest.mark.parametrize("mode", ["coroutine", "thread", "process"])
async def test_the_way_of_an_event(mode: str) -> None:
    """It is accepted, starts, is retried and finished, in this order, wherever its handler runs."""
    handler = handlers.succeed_at_async if mode == "coroutine" else handlers.succeed_at
    async with recorded(Collector("c", handler, mode=mode, retry=AT_ONCE)) as (queue, notes):
        for attempts in (1, 2, 3):
            await ask(queue, [attempts, "refuse"])
    one, two, three = ([n, "refuse"] for n in (1, 2, 3))
    again = ["started {0}", "retrying {0} {{'c': 1}} 0", "started {0}"]
    assert notes.lines == [
        *(line.format(one) for line in ["accept {0}", "started {0}", "finished {0}"]),
        *(line.format(two) for line in ["accept {0}", *again, "finished {0}"]),
        *(line.format(three) for line in ["accept {0}", *again, "dead {0}", "finished {0}"]),
    ]


async def test_send_waits_for_the_record() -> None:
    """The event is not queued, let alone begun, before it is on record."""
    async with recorded(Collector("c", handlers.echo_async)) as (queue, notes):
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        notes.write = lambda _: written
        sender = asyncio.create_task(queue.get_publisher().send(Payload(1)))
        await until(lambda: notes.lines, "it is being recorded")
        assert queue.accounting().accepted == 0
        assert notes.lines == ["accept 1"]
        written.set_result(None)
        assert (await (await sender).wait()).first().unwrap() == 1
    assert notes.lines == ["accept 1", "started 1", "finished 1"]


async def test_what_cannot_be_recorded_is_not_accepted() -> None:
    """The error comes out of send(), at once or later, and the place in a bounded queue is free again."""
    async with recorded(Collector("c", handlers.echo_async), max_queue_size=1) as (queue, notes):
        publisher = queue.get_publisher()

        def refuse(event: CollectorEvent) -> None:
            raise OSError("the disk is full")

        def fail(event: CollectorEvent) -> "asyncio.Future[None]":
            written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            written.set_exception(OSError("the disk is full"))
            return written

        for write in (refuse, fail):
            notes.write = write
            for _ in range(3):
                with pytest.raises(OSError, match="full"):
                    await publisher.send(Payload(1))
                with pytest.raises(OSError, match="full"):
                    await publisher.send_many([Payload(1), Payload(2)])
        notes.write = refuse
        with pytest.raises(OSError, match="full"):
            publisher.send_nowait(Payload(1))
        assert queue.accounting().accepted == 0
        notes.write = lambda _: None
        assert (await publisher.send_nowait(Payload(2)).wait()).first().unwrap() == 2
    assert notes.lines.count("accept 1") == notes.lines.count("withdrawn 1") + 7  # those raised at once are not


async def test_a_sender_that_is_cancelled_is_withdrawn() -> None:
    """Cancelled while its event is being recorded, nothing is accepted; so it is when the end begins meanwhile."""
    async with recorded(Collector("c", handlers.echo_async)) as (queue, notes):
        written: list[asyncio.Future[None]] = []

        def write(event: CollectorEvent) -> "asyncio.Future[None]":
            written.append(asyncio.get_running_loop().create_future())
            return written[-1]

        notes.write = write
        publisher = queue.get_publisher()
        senders = [asyncio.create_task(publisher.send(Payload(1))), asyncio.create_task(publisher.send(Payload(2)))]
        await until(lambda: len(written) == 2, "both are being recorded")
        senders[0].cancel()
        await asyncio.wait(senders[:1])
        await queue.shut_down_queue()
        written[1].set_result(None)
        with pytest.raises(QueueShutDown):
            await senders[1]
        assert queue.accounting().accepted == 0
    assert notes.lines == ["accept 1", "accept 2", "withdrawn 1", "withdrawn 2"]


async def test_many_are_recorded_together() -> None:
    """send_many() has all put on record before it waits, and accepts them in their order; within a bound in parts."""
    async with recorded(Collector("c", handlers.echo_async)) as (queue, notes):
        events = await queue.get_publisher().send_many(Payload(n) for n in range(5))
        assert notes.lines[:5] == [f"accept {n}" for n in range(5)]
        assert [(await event.wait()).first().unwrap() for event in events] == list(range(5))
    async with recorded(Collector("c", handlers.echo_async), max_queue_size=2) as (queue, notes):
        events = await queue.get_publisher().send_many(Payload(n) for n in range(9))
        assert [(await event.wait()).first().unwrap() for event in events] == list(range(9))


async def test_what_ends_while_it_waits_is_finished() -> None:
    """A cancelled event, and one past its deadline, are finished on record, too."""
    gate = asyncio.Event()

    async def handler(payload: Payload[Any], ctx: Context) -> None:
        await gate.wait()

    async with recorded(Collector("c", handler), max_consumers=1, autoscale=False) as (queue, notes):
        publisher = queue.get_publisher()
        await publisher.send(Payload("holds"))
        (await publisher.send(Payload("cancelled"))).cancel()
        await (await publisher.send(Payload("late"), deadline=0.01)).wait()
        gate.set()
    assert "finished cancelled" in notes.lines
    assert "finished late" in notes.lines
    assert not {"started cancelled", "started late"} & set(notes.lines)


async def test_what_is_given_up_stays_unfinished_on_record() -> None:
    """Events that the end cuts short are not reported as finished; nor are those that wait for another attempt."""

    async def handler(payload: Payload[Any], ctx: Context) -> None:
        if payload.value == "fails":
            raise ConnectionError
        await asyncio.sleep(60)

    async with recorded(
        Collector("c", handler, retry=LONG), max_consumers=2, autoscale=False, consumer_shutdown_timeout=0.1
    ) as (queue, notes):
        publisher = queue.get_publisher()
        fails = await publisher.send(Payload("fails"))
        await until(lambda: queue.accounting().scheduled, "it is scheduled")
        events = [fails, *[await publisher.send(Payload("hangs")) for _ in range(3)]]
        await queue.shut_down_queue()
        for event in events:
            assert isinstance((await event.wait()).first().err, QueueShutDown)  # type: ignore[union-attr]
        balanced(queue)
    assert "retrying fails {'c': 1} 60" in notes.lines
    assert not [line for line in notes.lines if line.startswith(("finished", "dead"))]


async def test_replays_are_recorded_before_the_letter_goes() -> None:
    """The new event is on record when its letter is removed."""
    async with recorded(Collector("c", handlers.succeed_at_async, retry=Retry(1))) as (queue, notes):
        await ask(queue, [2, "refuse"])
        (letter,) = queue.dead_letters
        notes.lines.clear()
        await queue.dead_letters.replay(letter)
        assert notes.lines[:2] == ["accept [2, 'refuse']", "removed [2, 'refuse']"]


async def test_events_on_record_are_recovered() -> None:
    """They are queued again under their ids, unrecorded; collectors that had finished are not called again."""
    calls: list[tuple[str, Any, int, str | None]] = []

    def make(name: str) -> Any:
        async def handler(payload: Payload[Any], ctx: Context) -> str:
            calls.append((name, payload.value, payload.attempt, payload.last_error))
            return name

        return handler

    for keys in (["a"], ["a", "b"]):
        calls.clear()
        notes = Notes()
        queue = CollectorQueue([Collector(key, make(key), retry=LONG) for key in keys], logging=False)
        recording = queue._attach_recorder(notes)
        event_ids.reserve(1_000_000)
        first = recording.recover(7, Payload("new"))
        second = recording.recover(8, Payload("tried"), {"a": Attempt(2, "KeyError: x")})
        queue.dead_letters.restore(DeadLetter(5, "a", Payload("dead"), 4, "exhausted", "", "", 0.0))
        assert queue.accounting() == (3, 0, 0, 2, 0, 1)
        async with asyncio.timeout(BOUND), queue, balanced_all_along(queue):
            assert [r.unwrap() for r in await first.wait()] == keys
            assert [r.unwrap() for r in await second.wait()] == ["a"]
            assert (first.id, second.id) == (7, 8)
            assert (await queue.get_publisher().send(Payload("next"))).id > 1_000_000
            (letter,) = queue.dead_letters
            await (await queue.dead_letters.replay(letter)).wait()
            assert queue.accounting().accepted == 5
        assert ("a", "tried", 3, "KeyError: x") in calls
        assert [call for call in calls if call[1] == "dead"] == [("a", "dead", 1, None)]
        assert "accept new" not in notes.lines
        assert "started tried" in notes.lines


async def test_an_event_recovered_for_a_collector_that_is_gone_fails() -> None:
    """It says which collector the queue does not have, and nobody else gets the event."""
    queue = CollectorQueue([Collector(key, handlers.echo_async) for key in ("a", "b")], logging=False)
    event = Recording(queue._dispatcher, Notes()).recover(9, Payload(1), {"gone": Attempt(1, "x")})
    async with asyncio.timeout(BOUND), queue:
        (result,) = await event.wait()
        assert isinstance(result, Error)
        assert "['gone']" in str(result.err)
        assert not isinstance(result.err, EventCancelled)
