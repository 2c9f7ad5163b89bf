"""Dead letters: kept, counted, replayed, dropped, told."""

import asyncio
from typing import Any

import msgspec
import pytest
import structlog

from event_collector import Collector, CollectorQueue, Context, DeadLetter, Payload, QueueShutDown, Retry
from event_collector.queue import DeadLettered
from tests.event_collector import sample_attempts as handlers
from tests.event_collector.modes import BOUND, ask, balanced, balanced_all_along, running, until

ONCE = Retry(max_attempts=1)


class Shop:
    """A handler that fails until it is open."""

    def __init__(self) -> None:
        self.is_open = False
        self.served: list[Any] = []

    async def serve(self, payload: Payload[Any], ctx: Context) -> Any:
        if not self.is_open:
            raise ConnectionError("closed")
        self.served.append((payload.value, payload.attempt, payload.keys))
        return payload.value


async def test_a_letter_can_be_replayed() -> None:
    """Replaying sends the payload again, as a new event; the letter is gone, and the counts tell so."""
    shop = Shop()
    async with running(Collector("shop", shop.serve, retry=ONCE)) as queue, balanced_all_along(queue):
        payload = Payload(5, keys=["shop"])
        event = await queue.get_publisher().send(payload)
        await event.wait()
        assert queue.accounting() == (1, 0, 0, 0, 0, 1)
        (letter,) = queue.dead_letters
        assert letter in queue.dead_letters
        assert letter.payload is payload
        assert (letter.id, letter.reason, letter.error) == (event.id, "exhausted", "ConnectionError: closed")
        shop.is_open = True
        again = await queue.dead_letters.replay(letter)
        assert again.id != event.id
        assert (await again.wait()).first().unwrap() == 5
        assert shop.served == [(5, 1, ["shop"])]
        assert queue.accounting() == (2, 2, 0, 0, 0, 0)
        with pytest.raises(LookupError, match=str(event.id)):
            await queue.dead_letters.replay(letter)


async def test_a_replay_goes_to_the_collector_that_failed() -> None:
    """The other collectors of the event have answered once, and are not called again."""
    shop, other = Shop(), []

    async def count(payload: Payload[Any], ctx: Context) -> None:
        other.append(payload.value)

    collectors = [Collector("other", count), Collector("shop", shop.serve, retry=Retry(2, 0.0))]
    async with running(*collectors) as queue, balanced_all_along(queue):
        await (await queue.get_publisher().send(Payload(5))).wait()
        (letter,) = queue.dead_letters
        event = await queue.dead_letters.replay(letter)
        assert [result.key for result in await event.wait()] == ["shop"]
        (letter,) = queue.dead_letters
        assert letter.attempts == 2  # it has all of its attempts again
        shop.is_open = True
        (result,) = await (await queue.dead_letters.replay(letter)).wait()
        assert result.unwrap() == 5
        assert other == [5]


async def test_one_event_may_leave_several_letters() -> None:
    """An event that several collectors have failed is one dead event, until its last letter is gone."""
    collectors = [Collector(key, handlers.succeed_at, mode="thread", retry=ONCE) for key in ("a", "b")]
    async with running(*collectors) as queue:
        await (await queue.get_publisher().send(Payload([9, "refuse"]))).wait()
        assert [letter.collector for letter in queue.dead_letters] == ["a", "b"]
        assert queue.accounting().dead == 1
        first, second = queue.dead_letters
        queue.dead_letters.drop(first)
        balanced(queue)
        assert queue.accounting()[:2] == (1, 0)
        queue.dead_letters.drop(second)
        assert queue.accounting() == (1, 1, 0, 0, 0, 0)
        with pytest.raises(LookupError):
            queue.dead_letters.drop(first)


async def test_a_letter_of_an_event_that_goes_on_elsewhere() -> None:
    """One collector has failed for good, another is to try again: the letter is there, the event is not dead yet."""
    collectors = [
        Collector("a", handlers.succeed_at_async, retry=ONCE),
        Collector("b", handlers.succeed_at_async, retry=Retry(2, 60.0, jitter=0.0)),
    ]
    async with running(*collectors) as queue, balanced_all_along(queue):
        event = await queue.get_publisher().send(Payload([2, "refuse"]))
        await until(lambda: queue.accounting().scheduled, "b is scheduled")
        (letter,) = queue.dead_letters
        assert queue.accounting() == (1, 0, 0, 0, 1, 0)
        assert event.cancel()
        assert queue.accounting() == (1, 0, 0, 0, 0, 1)
        queue.dead_letters.drop(letter)
        assert queue.accounting() == (1, 1, 0, 0, 0, 0)


async def test_a_process_collector_replays() -> None:
    """A letter of a worker is replayed in a worker, also where others are in the queue."""
    collectors = [Collector("p", handlers.succeed_at, retry=ONCE), Collector("c", handlers.echo_async)]
    async with running(*collectors) as queue, balanced_all_along(queue):
        await (await queue.get_publisher().send(Payload([2, "refuse"]))).wait()
        (letter,) = queue.dead_letters
        (result,) = await (await queue.dead_letters.replay(letter)).wait()
        assert result.key == "p"
        assert len(queue.dead_letters) == 1


async def test_without_a_policy_nothing_is_kept() -> None:
    """Collectors without retry= leave errors, and no letters."""
    async with running(Collector("c", handlers.succeed_at_async)) as queue:
        assert (await ask(queue, [9, "refuse"])).is_error
        assert len(queue.dead_letters) == 0


async def test_the_bound_is_kept_and_told() -> None:
    """The oldest letters make room for new ones, counted and logged; their events count as finished."""
    lines: list[Any] = []
    log = structlog.wrap_logger(
        structlog.testing.CapturingLogger(), processors=[lambda _logger, _level, line: lines.append(line) or {}]
    )
    async with asyncio.timeout(BOUND):
        collector = Collector("c", handlers.succeed_at_async, retry=ONCE)
        async with CollectorQueue([collector], max_dead_letters=3, log=log) as queue:
            for _ in range(5):
                await ask(queue, [9, "refuse"])
            assert len(queue.dead_letters) == 3
            assert queue.dead_letters.lost == 2
            assert queue.accounting() == (5, 2, 0, 0, 0, 3)
            assert queue.dead_letters.clear() == 3
            assert queue.accounting() == (5, 5, 0, 0, 0, 0)
    assert [line["lost"] for line in lines if line["event"] == "a dead letter had to make room"] == [1, 2]
    died = [line for line in lines if line["event"] == "an event has failed for good"]
    assert [(line["collector"], line["attempts"], line["reason"]) for line in died] == [("c", 1, "exhausted")] * 5
    assert "payload" not in died[0]


async def test_none_are_kept_where_none_are_wanted() -> None:
    """max_dead_letters=0 keeps none, and the events are finished."""
    async with running(Collector("c", handlers.succeed_at_async, retry=ONCE), max_dead_letters=0) as queue:
        await ask(queue, [9, "refuse"])
        assert queue.accounting() == (1, 1, 0, 0, 0, 0)


async def test_the_message_bus_tells() -> None:
    """Each letter is told to whoever registered; the end of the queue waits for them, and one may replay it."""
    shop, told = Shop(), []
    collector = Collector("shop", shop.serve, retry=ONCE)
    queue = CollectorQueue([collector], logging=False)

    async def hear(message: DeadLettered, _queue: Any) -> None:
        shop.is_open = True
        event = await queue.dead_letters.replay(message.letter)
        told.append((message.letter.error, (await event.wait()).first().unwrap()))

    queue.get_message_bus().add_msg_handler(DeadLettered, hear)
    async with asyncio.timeout(BOUND), queue:
        assert (await ask(queue, 5)).is_error
        while not told:
            await asyncio.sleep(0.001)
        balanced(queue)
    assert told == [("ConnectionError: closed", 5)]


async def test_a_replay_that_is_refused_keeps_the_letter() -> None:
    """After the end nothing can be replayed, and after the next start it can."""
    shop = Shop()
    queue = CollectorQueue([Collector("shop", shop.serve, retry=ONCE)], logging=False)
    async with asyncio.timeout(BOUND):
        async with queue:
            await ask(queue, 5)
        (letter,) = queue.dead_letters
        with pytest.raises(QueueShutDown):
            await queue.dead_letters.replay(letter)
        assert letter in queue.dead_letters
        balanced(queue)
        shop.is_open = True
        async with queue:
            assert (await (await queue.dead_letters.replay(letter)).wait()).first().unwrap() == 5
            balanced(queue)


async def test_a_replay_waits_for_room_and_can_be_cancelled() -> None:
    """In a full queue it waits like a sender; meanwhile nobody else can replay it; cancelled, the letter is back."""
    gate = asyncio.Event()

    async def handler(payload: Payload[Any], ctx: Context) -> Any:
        if payload.value == "fails":
            raise ConnectionError
        await gate.wait()

    async with (
        running(Collector("c", handler, retry=ONCE), max_queue_size=1, max_consumers=1, autoscale=False) as queue,
        balanced_all_along(queue),
    ):
        await ask(queue, "fails")
        (letter,) = queue.dead_letters
        for _ in range(2):
            await queue.get_publisher().send(Payload("waits"))
        replay = asyncio.create_task(queue.dead_letters.replay(letter))
        await asyncio.sleep(0)
        with pytest.raises(LookupError):
            queue.dead_letters.drop(letter)
        replay.cancel()
        await asyncio.wait([replay])
        assert letter in queue.dead_letters
        gate.set()


def test_a_letter_is_a_record() -> None:
    """Its parts but the payload are plain values that msgspec encodes, and it cannot be changed."""
    letter = DeadLetter(1, "c", Payload(5), 2, "exhausted", "error", "trace", 3.0)
    parts = {name: value for name, value in msgspec.structs.asdict(letter).items() if name != "payload"}
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(parts)) == parts
    with pytest.raises(AttributeError):
        letter.id = 2  # type: ignore[misc]
