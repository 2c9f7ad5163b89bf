"""Pauses: nothing begins, what is accepted waits and is counted, and each event has its results in the end."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from event_collector import (
    Collector,
    CollectorQueue,
    ConfigError,
    Context,
    Delivery,
    Payload,
    QueueFull,
    QueueShutDown,
    QueueType,
    Retry,
    SimpleRouter,
)
from event_collector.dispatch.permits import ConsumerLimits, Permits
from tests.event_collector import sample_handlers as handlers
from tests.event_collector.modes import BOUND, balanced, running, until

seen: list[Any] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    seen.clear()


async def note(payload: Payload[Any], ctx: Context) -> Any:
    """Note the payload and return it."""
    seen.append(payload.value)
    return payload.value


async def also(payload: Payload[Any], ctx: Context) -> Any:
    """Do the same in another collector."""
    return await note(payload, ctx)


def to(key: str, value: Any) -> Payload[Any]:
    return Payload(value, Delivery.KEY, (key,))


@pytest.mark.parametrize("order", list(QueueType))
async def test_a_paused_queue_begins_nothing_and_keeps_everything(order: QueueType) -> None:
    """Events wait as queued ones until the pause ends; then each has its result."""
    async with running(Collector("c", note), queue_type=order) as queue:
        assert queue.pause()
        assert not queue.pause()
        events = await queue.get_publisher().send_many(range(20))
        await asyncio.sleep(0)
        assert seen == []
        assert queue.accounting().queued == 20
        assert queue.consumer_count() > 0
        balanced(queue)
        assert queue.resume()
        assert not queue.resume()
        assert sorted([await event.value() for event in events]) == list(range(20))
        assert not queue.control.is_paused


async def test_a_handler_that_runs_goes_on_through_a_pause() -> None:
    """Its event ends, and the next one does not begin."""
    gate = asyncio.Event()

    async def hold(payload: Payload[int], ctx: Context) -> int:
        await gate.wait()
        return payload.value

    async with running(Collector("c", hold), max_consumers=1) as queue:
        first, second = await queue.get_publisher().send_many([1, 2])
        await until(lambda: queue.accounting().in_handlers == 1, "the first one is in its handler")
        queue.pause()
        gate.set()
        assert await first.value() == 1
        assert queue.accounting()[2:4] == (0, 1)
        queue.resume()
        assert await second.value() == 2


async def test_workers_get_nothing_during_a_pause() -> None:
    """Neither events nor the values of a stream go to a worker process; all do afterwards."""
    async with running(Collector("c", handlers.echo), max_workers=1) as queue:
        queue.pause()
        event = await queue.get_publisher().send("first")
        stream = asyncio.ensure_future(_all(queue.map("c", range(50))))
        await until(lambda: queue.accounting().queued == 51, "all wait")
        queue.resume()
        assert await event.value() == "first"
        assert await stream == list(range(50))


async def _all(stream: Any) -> list[Any]:
    return [one async for one in stream]


@pytest.mark.parametrize("order", list(QueueType))
async def test_one_collector_can_be_paused_alone(order: QueueType) -> None:
    """What goes to it waits, and blocks nobody: events for others pass, newer ones too. Broadcasts wait as a whole."""
    async with running(Collector("a", note), Collector("b", also), queue_type=order) as queue:
        publisher = queue.get_publisher()
        queue.pause("a")
        held = [await publisher.send(to("a", 1)), await publisher.send(Payload("both"))]
        assert await (await publisher.send(to("b", 2))).value() == 2
        assert (seen, queue.accounting().queued) == ([2], 2)
        assert queue.control.paused_collectors == ("a",)
        balanced(queue)
        assert queue.resume("a")
        for event in held:
            await event.wait()
        assert sorted(map(str, seen)) == ["1", "2", "both", "both"]


async def test_a_collector_of_workers_can_be_paused_alone() -> None:
    """Queued events and values of streams of it wait; those of another collector in the same workers do not."""
    collectors = Collector("a", handlers.echo), Collector("b", handlers.fail, mode="thread")
    async with running(*collectors, max_workers=1) as queue:
        queue.pause("a")
        event = await queue.get_publisher().send(to("a", "x"))
        stream = asyncio.ensure_future(_all(queue.map("a", range(20))))
        other = await queue.get_publisher().send(to("b", "ValueError"))
        assert (await other.wait()).first().is_error
        await until(lambda: queue.accounting().queued == 21, "all of the collector wait")
        queue.resume("a")
        assert (await event.value(), await stream) == ("x", list(range(20)))


async def test_a_retry_that_is_due_waits_for_its_collector() -> None:
    """The next attempt begins after the pause, as the one collector that has failed is called."""
    calls: list[str] = []

    async def flaky(payload: Payload[int], ctx: Context) -> int:
        calls.append("attempt")
        if len(calls) == 1:
            queue.pause("flaky")
            raise ConnectionError
        return payload.value

    collectors = Collector("flaky", flaky, retry=Retry(3, 0.0)), Collector("b", also)
    async with running(*collectors) as queue:
        event = await queue.get_publisher().send(to("flaky", 7))
        await until(lambda: queue.accounting()[3:5] == (1, 0), "the second attempt is due and held")
        assert len(calls) == 1
        queue.resume("flaky")
        assert await event.value() == 7


async def test_back_pressure_holds_during_a_pause() -> None:
    """A bounded queue that is paused fills up, and refuses the next event. A held event can be cancelled."""
    async with running(Collector("a", note), Collector("b", also), max_queue_size=2) as queue:
        publisher = queue.get_publisher()
        queue.pause("a")
        held = await publisher.send_many([to("a", 1), to("a", 2)])
        with pytest.raises(QueueFull):
            publisher.send_nowait(to("b", 3))
        assert queue.control.cancel(held[0].id)
        assert await (await publisher.send(to("b", 3))).value() == 3
        queue.resume("a")
        assert await held[1].value() == 2


async def test_a_queue_can_be_paused_before_it_starts() -> None:
    """It starts, and begins nothing until the pause ends."""
    queue = CollectorQueue([Collector("c", note)], logging=False)
    queue.pause()
    async with queue:
        event = await queue.get_publisher().send(1)
        await asyncio.sleep(0)
        assert not event.is_done()
        queue.resume()
        assert await event.value() == 1


@pytest.mark.parametrize("key", [None, "c"])
async def test_the_end_of_a_queue_ends_its_pauses(key: str | None) -> None:
    """Without a journal a drained shutdown processes what waits. The next start is not paused."""
    queue = CollectorQueue([Collector("c", note), Collector("d", also)], logging=False)
    async with asyncio.timeout(BOUND), queue:
        queue.pause(key)
        event = await queue.get_publisher().send(to("c", 1))
    assert await event.value() == 1
    async with queue:
        assert not queue.control.is_paused
        assert queue.control.paused_collectors == ()


@pytest.mark.parametrize("key", [None, "c"])
async def test_with_a_journal_what_waits_is_left_to_the_next_start(key: str | None, tmp_path: Path) -> None:
    """It ends with QueueShutDown, is on record, and runs then, once."""
    collectors = [Collector("c", note), Collector("d", also)]
    queue = CollectorQueue(collectors, logging=False, journal=tmp_path / "j")
    async with asyncio.timeout(BOUND), queue:
        queue.pause(key)
        event = await queue.get_publisher().send(to("c", 1))
    assert isinstance((await event.wait()).first().err, QueueShutDown)  # type: ignore[union-attr]
    assert seen == []
    async with running(*collectors, journal=tmp_path / "j") as again:
        await again.get_publisher().wait()
    assert seen == [1]


async def test_a_pause_that_cannot_be_is_refused() -> None:
    """An unknown collector, a router that selects by itself, another thread."""

    class Own(SimpleRouter):
        """Selects collectors its own way."""

    async with running(Collector("c", note)) as queue:
        with pytest.raises(ConfigError, match="no collector 'x': this queue has 'c'"):
            queue.pause("x")
        with pytest.raises(ConfigError, match="in the thread of its event loop"):
            await asyncio.to_thread(queue.pause)
    async with running(Collector("c", note), router=Own) as queue:
        with pytest.raises(ConfigError, match=r"Own selects collectors when .* Pause the queue"):
            queue.pause("c")
        assert queue.control.paused_collectors == ()


async def test_the_control_loop_rests_during_a_pause() -> None:
    """Events that may not begin ask for no consumers and no workers."""
    async with running(Collector("c", handlers.echo), max_workers=2) as queue:
        queue.pause()
        events = await queue.get_publisher().send_many(range(2000))
        figures = queue._dispatcher.figures
        assert (figures.qsize, figures.ready, figures.ready_remote, figures.active) == (2000, 0, 0, 0)
        await until(lambda: queue._dispatcher.is_idle, "it rests")
        queue.resume()
        assert [await event.value() for event in events] == list(range(2000))


def test_permits_change_behind_a_pause() -> None:
    """There is none to take, and sizes that are set meanwhile hold afterwards."""
    permits = Permits(ConsumerLimits(1, 9, True))
    assert permits.take()
    permits.pause()
    assert (permits.take(), permits.free(), permits.most(), permits.busy, permits.full_size) == (False, 0, 0, 1, 1)
    permits.resize(4)
    permits.raise_ceiling(6)
    permits.resume()
    assert (permits.size, permits.ceiling, permits.free()) == (4, 6, 3)
    permits.bound(ConsumerLimits(1, 2, True))
    assert (permits.size, permits.ceiling) == (2, 2)
