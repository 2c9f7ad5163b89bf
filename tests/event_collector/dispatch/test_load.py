"""What load costs: bounds that hold, memory and calls for each event, and a pool that stays calm."""

import asyncio
import gc
import random
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from event_collector import Collector, CollectorQueue, Context, Payload, QueueFull, QueueType
from event_collector.exceptions import EventCollectorException
from event_collector.values.clock import TimeSource
from event_collector.values.clock import clock as queue_clock
from tests.event_collector.modes import CountingSelector

PATIENCE = 10.0  # seconds after which a wait counts as a hang


async def nothing(payload: Payload[Any], ctx: Context) -> None:
    """A handler that costs as little as a handler can."""


class Gate:
    """A handler that holds its events until it is opened, and notes what it has handled."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()
        self.handled: list[Any] = []

    async def handle(self, payload: Payload[Any], ctx: Context) -> None:
        self.entered.set()
        await self.open.wait()
        self.handled.append(payload.value)


async def turns(count: int = 20) -> None:
    """Let whatever is ready on the loop run."""
    for _ in range(count):
        await asyncio.sleep(0)


# -- a bound on what may wait --


@pytest.mark.parametrize("queue_type", list(QueueType))
async def test_send_waits_while_a_bounded_queue_is_full(queue_type: QueueType) -> None:
    """With max_queue_size events waiting, senders wait, and go on as room is made; no event is lost."""
    gate = Gate()
    queue = CollectorQueue(
        [Collector("gate", gate.handle)], autoscale=False, max_consumers=1, queue_type=queue_type, max_queue_size=3
    )
    publisher = queue.get_publisher()
    async with asyncio.timeout(PATIENCE), queue:
        await publisher.send(Payload("running"))
        await gate.entered.wait()
        for value in range(3):
            await publisher.send(Payload(value))
        senders = [asyncio.create_task(publisher.send(Payload(value))) for value in range(3, 10)]
        await turns()
        assert not any(sender.done() for sender in senders)
        assert queue.current_load().qsize == 3
        gate.open.set()
        for sender in senders:
            await (await sender).wait()
        await publisher.wait()
    assert sorted(gate.handled[1:]) == list(range(10))
    if queue_type is not QueueType.LIFO:
        assert gate.handled == ["running", *range(10)]


async def test_send_nowait_refuses_what_does_not_fit() -> None:
    """send_nowait() gives an event while there is room, and then raises QueueFull, which changes nothing."""
    gate = Gate()
    queue = CollectorQueue([Collector("gate", gate.handle)], autoscale=False, max_consumers=1, max_queue_size=2)
    publisher = queue.get_publisher()
    async with asyncio.timeout(PATIENCE), queue:
        first = publisher.send_nowait(Payload("running"))
        await gate.entered.wait()
        for value in range(2):
            publisher.send_nowait(Payload(value))
        for _ in range(3):
            with pytest.raises(QueueFull):
                publisher.send_nowait(Payload("too much"))
        gate.open.set()
        await first.wait()
        await publisher.wait()
        publisher.send_nowait(Payload("fits again"))
    assert gate.handled == ["running", 0, 1, "fits again"]
    assert issubclass(QueueFull, EventCollectorException)


async def test_a_sender_that_gives_up_sends_nothing() -> None:
    """Cancelling a send() that waits for room loses and doubles nothing; the next sender gets the room."""
    gate = Gate()
    queue = CollectorQueue([Collector("gate", gate.handle)], autoscale=False, max_consumers=1, max_queue_size=1)
    publisher = queue.get_publisher()
    async with asyncio.timeout(PATIENCE), queue:
        await publisher.send(Payload("running"))
        await gate.entered.wait()
        await publisher.send(Payload("queued"))
        senders = [asyncio.create_task(publisher.send(Payload(value))) for value in range(6)]
        await turns()
        for sender in senders[::2]:
            sender.cancel()
        await turns()
        gate.open.set()
        await asyncio.wait(senders)
        await publisher.wait()
        assert [sender.cancelled() for sender in senders] == [True, False] * 3
    assert gate.handled == ["running", "queued", 1, 3, 5]


async def test_a_bound_holds_before_the_start() -> None:
    """What is sent before the start counts: a sender that finds no room waits until the queue runs."""
    queue = CollectorQueue([Collector("nothing", nothing)], max_queue_size=2)
    publisher = queue.get_publisher()
    async with asyncio.timeout(PATIENCE):
        for _ in range(2):
            await publisher.send(Payload(None))
        sender = asyncio.create_task(publisher.send(Payload(None)))
        await turns()
        assert not sender.done()
        with pytest.raises(QueueFull):
            publisher.send_nowait(Payload(None))
        async with queue:
            await (await sender).wait()
    assert queue.get_metrics().event_count == 3


async def test_waiting_senders_are_released_by_the_shutdown() -> None:
    """A sender that waits for room when the shutdown begins is either accepted and processed, or refused."""
    gate = Gate()
    queue = CollectorQueue([Collector("gate", gate.handle)], autoscale=False, max_consumers=1, max_queue_size=1)
    publisher = queue.get_publisher()
    async with asyncio.timeout(PATIENCE):
        async with queue:
            await publisher.send(Payload("running"))
            await gate.entered.wait()
            await publisher.send(Payload("queued"))
            senders = [asyncio.create_task(publisher.send(Payload(value))) for value in range(3)]
            await turns()
            asyncio.get_running_loop().call_later(0.02, gate.open.set)
        outcomes = await asyncio.gather(*senders, return_exceptions=True)
    accepted = [value for value, outcome in enumerate(outcomes) if not isinstance(outcome, BaseException)]
    assert gate.handled == ["running", "queued", *accepted]
    refusals = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert all(isinstance(refusal, EventCollectorException) for refusal in refusals)


# -- the price of an event --


@pytest.mark.parametrize("queue_type", list(QueueType))
def test_a_queued_event_is_small(queue_type: QueueType) -> None:
    """A payload, its event and its place in the queue take less than 350 bytes together."""
    publisher = CollectorQueue([Collector("nothing", nothing)], queue_type=queue_type).get_publisher()

    async def send(count: int) -> None:
        for _ in range(count):
            await publisher.send(Payload(None))

    asyncio.run(send(100))
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        asyncio.run(send(5_000))
        gc.collect()
        assert (tracemalloc.get_traced_memory()[0] - before) / 5_000 < 350
    finally:
        tracemalloc.stop()


async def burst(queue: CollectorQueue, count: int) -> None:
    """Send all, then wait for all."""
    publisher = queue.get_publisher()
    for event in [await publisher.send(Payload(None)) for _ in range(count)]:
        await event.wait()


async def one_by_one(queue: CollectorQueue, count: int) -> None:
    """Wait for each before the next is sent."""
    publisher = queue.get_publisher()
    for _ in range(count):
        await (await publisher.send(Payload(None))).wait()


TURN = 0 if sys.version_info >= (3, 12) else 35
"""Calls of a turn of the loop, which a task needs to begin where Python has no eager ones."""


@pytest.mark.parametrize(("pattern", "limit"), [(burst, 62 + TURN), (one_by_one, 92 + TURN)])
def test_an_event_takes_few_calls(pattern: Callable[[CollectorQueue, int], Any], limit: int) -> None:
    """From Payload() to the result an event costs few calls, of Python and C functions together."""
    calls = 0

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    async def scenario() -> None:
        async with CollectorQueue([Collector("nothing", nothing)], autoscale=False, max_consumers=4) as queue:
            await pattern(queue, 100)
            sys.setprofile(count)
            try:
                await pattern(queue, 500)
            finally:
                sys.setprofile(None)

    asyncio.run(scenario())
    assert calls / 500 < limit


# -- the size of the pool --


def test_a_steady_load_does_not_make_the_pool_flap() -> None:
    """Under a noisy but steady load the number of consumers settles instead of following every wave."""
    dice = random.Random(7)

    async def work(payload: Payload[Any], ctx: Context) -> None:
        await asyncio.sleep(dice.expovariate(50.0))

    async def scenario() -> int:
        changes, last = 0, 0
        async with CollectorQueue([Collector("work", work)], avg_load_interval=1.0) as queue:
            end = time.monotonic() + 3.0
            while time.monotonic() < end:
                for _ in range(dice.randrange(6)):
                    await queue.get_publisher().send(Payload(None))
                await asyncio.sleep(0.01)
                changes += queue.consumer_count() != last
                last = queue.consumer_count()
        return changes

    assert asyncio.run(scenario()) < 50


class FastClock(TimeSource):
    """The monotonic clock, and a way to live through seconds faster than they pass."""

    def __init__(self) -> None:
        self._ahead = 0.0
        self._monotonic = time.monotonic

    def monotonic(self) -> float:
        return self._monotonic() + self._ahead

    async def pass_seconds(self, seconds: float) -> None:
        """Let the loop live through so many seconds, a tenth of a second at a time."""
        for _ in range(round(seconds * 10)):
            self._ahead += 0.1
            await turns(10)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[FastClock]:
    """Hand the clock to a test that runs its own loop; asyncio's loops and the queue read it, uvloop's do not."""
    clock = FastClock()
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    with queue_clock.using(clock):
        yield clock


def test_the_consumers_of_a_burst_do_not_stay(clock: FastClock) -> None:
    """With the default settings the pool is back at min_consumers half a minute after a burst of 500."""

    async def scenario() -> tuple[int, int, object]:
        everyone = asyncio.Barrier(500)

        async def meet(payload: Payload[Any], ctx: Context) -> None:
            await everyone.wait()

        async with CollectorQueue([Collector("meet", meet)]) as queue:
            for _ in range(500):
                await queue.get_publisher().send(Payload(None))
            await queue.get_publisher().wait()
            peak = queue.consumer_count()
            await clock.pass_seconds(30.0)
            return peak, queue.consumer_count(), queue.changes()

    peak, rest, changes = asyncio.run(scenario())
    assert peak >= 500
    assert rest == 1, changes


async def test_a_large_fixed_pool_is_not_a_large_number_of_tasks() -> None:
    """autoscale=False with the default limits starts at once, with no task for a consumer without work."""
    gate = Gate()
    before = asyncio.all_tasks()
    async with asyncio.timeout(PATIENCE), CollectorQueue([Collector("gate", gate.handle)], autoscale=False) as queue:
        assert queue.consumer_count() == 100_000
        assert len(asyncio.all_tasks() - before) < 10
        for _ in range(200):
            await queue.get_publisher().send(Payload(None))
        while queue.current_load().busy < 200:
            await asyncio.sleep(0)
        gate.open.set()


@pytest.mark.parametrize("autoscale", [True, False])
def test_an_idle_queue_sleeps(autoscale: bool) -> None:
    """With nothing to do a queue wakes its loop a few times a second at most, before and after a burst."""
    selector = CountingSelector()

    async def turns_while_idle() -> int:
        before = selector.turns
        await asyncio.sleep(0.5)
        return selector.turns - before

    async def scenario() -> list[int]:
        collector = Collector("nothing", nothing)
        async with CollectorQueue([collector], autoscale=autoscale, max_consumers=50) as queue:
            fresh = await turns_while_idle()
            await burst(queue, 100)
            return [fresh, await turns_while_idle()]

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        assert max(runner.run(scenario())) < 20
