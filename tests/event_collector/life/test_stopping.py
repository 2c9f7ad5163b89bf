"""How a queue stops: drained, out of time, cancelled, from within a handler; and that it starts again."""

import asyncio
import contextlib
import selectors
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from event_collector import Collector, CollectorQueue, Context, Error, Payload, QueueType
from event_collector.collector import LifecycleManager
from event_collector.exceptions import EventCollectorException, QueueShutDown

PATIENCE = 5.0  # seconds after which a wait counts as a hang; below the default shutdown timeout


class Gate:
    """A handler that holds its events until it is opened."""

    def __init__(self, log: list[str] | None = None) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()
        self.log = [] if log is None else log

    async def handle(self, payload: Payload[Any], ctx: Context) -> Any:
        self.entered.set()
        try:
            await self.open.wait()
        finally:
            self.log.append("handler ended")
        return payload.value


async def echo(payload: Payload[Any], ctx: Context) -> Any:
    return payload.value


def noted(log: list[str], name: str = "") -> LifecycleManager:
    """A lifecycle that writes down when it is set up and torn down."""

    @contextlib.asynccontextmanager
    async def lifecycle(ctx: Context) -> AsyncIterator[None]:
        log.append(f"set up {name}".strip())
        try:
            yield
        finally:
            log.append(f"torn down {name}".strip())

    return lifecycle


async def turns(count: int = 20) -> None:
    """Let whatever is ready on the loop run."""
    for _ in range(count):
        await asyncio.sleep(0)


def is_shut_down(result: Any) -> bool:
    return isinstance(result, Error) and isinstance(result.err, QueueShutDown)


async def assert_works(queue: CollectorQueue) -> None:
    """Send a few events through a running queue, and see them finished."""
    publisher = queue.get_publisher()
    events = [await publisher.send(Payload(number)) for number in range(20)]
    assert [(await event.wait()).first().unwrap() for event in events] == list(range(20))


# -- drained --


@pytest.mark.parametrize(
    ("queue_type", "priority"),
    [
        (QueueType.FIFO, None),
        (QueueType.LIFO, None),
        (QueueType.PRIORITY, None),
        (QueueType.PRIORITY, 1),
        (QueueType.PRIORITY, 1000),
        (QueueType.PRIORITY, 1_000_000),
    ],
)
async def test_exit_finishes_every_queued_event(queue_type: QueueType, priority: int | None) -> None:
    """In whatever order the queue works, an exit processes all that was accepted and frees all waiters."""
    gate = Gate()
    queue = CollectorQueue([Collector("gate", gate.handle)], autoscale=False, max_consumers=2, queue_type=queue_type)
    publisher = queue.get_publisher()
    async with asyncio.timeout(PATIENCE):
        async with queue:
            events = [await publisher.send(Payload(n, priority=priority)) for n in range(20)]
            waiters = [asyncio.create_task(event.wait()) for event in events]
            drained = asyncio.create_task(publisher.wait())
            await gate.entered.wait()
            asyncio.get_running_loop().call_later(0.02, gate.open.set)
        assert [event.is_done() for event in events] == [True] * 20
        assert [(await waiter).first().unwrap() for waiter in waiters] == list(range(20))
        await drained


async def test_send_is_refused_from_the_moment_the_shutdown_begins() -> None:
    """An event is either accepted and processed, or refused: never accepted and forgotten."""
    gate = Gate()
    queue = CollectorQueue([Collector("gate", gate.handle)])
    publisher = queue.get_publisher()
    async with asyncio.timeout(PATIENCE):
        await queue.init_queue()
        accepted = await publisher.send(Payload("accepted"))
        await gate.entered.wait()
        stopping = asyncio.create_task(queue.shut_down_queue())
        await turns()
        with pytest.raises(QueueShutDown):
            await publisher.send(Payload("too late"))
        gate.open.set()
        await stopping
        assert (await accepted.wait()).first().unwrap() == "accepted"
        with pytest.raises(QueueShutDown):
            await publisher.send(Payload("much too late"))


async def test_a_handler_that_sends_during_the_shutdown_is_told() -> None:
    """A follow-up event that a handler sends during the shutdown is refused, and only that handler fails."""
    gate = Gate()

    async def send_more(payload: Payload[Any], ctx: Context) -> None:
        await gate.handle(payload, ctx)
        await queue.get_publisher().send(Payload("more"))

    queue = CollectorQueue([Collector("send-more", send_more)])
    async with asyncio.timeout(PATIENCE):
        async with queue:
            event = await queue.get_publisher().send(Payload("first"))
            await gate.entered.wait()
            asyncio.get_running_loop().call_later(0.02, gate.open.set)
        assert is_shut_down((await event.wait()).first())


def test_queue_shut_down_belongs_to_the_library() -> None:
    """One except clause for EventCollectorException catches a refused send too."""
    assert issubclass(QueueShutDown, EventCollectorException)


# -- out of time --


async def test_timeout_ends_handlers_before_their_lifecycle() -> None:
    """After the timeout a lifecycle is torn down only once its handlers have ended, however slowly."""
    log: list[str] = []
    entered = asyncio.Event()

    async def cleans_up(payload: Payload[Any], ctx: Context) -> None:
        entered.set()
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.05)
            log.append("handler ended")

    queue = CollectorQueue(
        [Collector("slow", cleans_up, lifecycle=noted(log))], consumer_shutdown_timeout=0.05, logging=False
    )
    before = asyncio.all_tasks()
    async with asyncio.timeout(PATIENCE):
        async with queue:
            event = await queue.get_publisher().send(Payload(None))
            await entered.wait()
        assert log == ["set up", "handler ended", "torn down"]
        assert is_shut_down((await event.wait()).first())
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("queue_type", list(QueueType))
async def test_timeout_answers_every_event(queue_type: QueueType) -> None:
    """After the timeout each unfinished event, running or queued, has one Error(QueueShutDown)."""
    gate = Gate()
    queue = CollectorQueue(
        [Collector("gate", gate.handle)],
        autoscale=False,
        max_consumers=2,
        queue_type=queue_type,
        consumer_shutdown_timeout=0.05,
        logging=False,
    )
    publisher = queue.get_publisher()
    async with asyncio.timeout(PATIENCE):
        async with queue:
            events = [await publisher.send(Payload(n)) for n in range(10)]
            waiters = [asyncio.create_task(event.wait()) for event in events]
            await gate.entered.wait()
        outcomes = [list(await waiter) for waiter in waiters]
        assert [len(outcome) for outcome in outcomes] == [1] * 10
        assert all(is_shut_down(outcome[0]) for outcome in outcomes)
        await publisher.wait()
    assert queue.consumer_count() == 0
    assert queue.get_metrics().event_count == 10


class Clock:
    """The monotonic clock, which can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self._monotonic = time.monotonic

    def __call__(self) -> float:
        return self._monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Hand the clock to a test that runs its own loop; asyncio's loops read it, uvloop's do not."""
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


@pytest.mark.parametrize("bound", [0.0, -1.0, 3600.0])
def test_only_the_given_bound_ends_a_drain(bound: float, clock: Clock) -> None:
    """No bound means no bound, and an hour means an hour: a handler that needs a minute gets it."""
    log: list[str] = []

    async def a_minute_passes(gate: Gate) -> None:
        for _ in range(60):
            await asyncio.sleep(0.002)
            clock.ahead += 1.0
        gate.open.set()

    async def scenario() -> None:
        gate = Gate(log)
        collector = Collector("gate", gate.handle, lifecycle=noted(log))
        async with CollectorQueue([collector], consumer_shutdown_timeout=bound) as queue:
            event = await queue.get_publisher().send(Payload("late"))
            await gate.entered.wait()
            minute = asyncio.create_task(a_minute_passes(gate))
        await minute
        assert (await event.wait()).first().unwrap() == "late"

    asyncio.run(scenario())
    assert log == ["set up", "handler ended", "torn down"]


# -- waiting costs nothing --


class CountingSelector(selectors.DefaultSelector):
    """Counts the turns of the loop that it serves."""

    turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.turns += 1
        return super().select(timeout)


def test_waiting_for_a_busy_handler_on_exit_is_idle() -> None:
    """While the exit waits for a handler the loop sleeps: few turns in 0.3 s, not thousands."""
    selector = CountingSelector()

    async def scenario() -> int:
        gate = Gate()
        async with CollectorQueue([Collector("gate", gate.handle)]) as queue:
            await queue.get_publisher().send(Payload(None))
            await gate.entered.wait()
            asyncio.get_running_loop().call_later(0.3, gate.open.set)
            before = selector.turns
        return selector.turns - before

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        assert runner.run(scenario()) < 100


# -- cancelled --


async def test_cancelling_the_shutdown_turns_the_drain_into_an_abort() -> None:
    """When a cancelled shutdown raises CancelledError all is down and answered; the queue can start again."""
    log: list[str] = []
    gate = Gate(log)
    queue = CollectorQueue(
        [Collector("gate", gate.handle, lifecycle=noted(log))], autoscale=False, max_consumers=1, logging=False
    )
    publisher = queue.get_publisher()
    before = asyncio.all_tasks()
    async with asyncio.timeout(PATIENCE):
        await queue.init_queue()
        events = [await publisher.send(Payload(number)) for number in range(3)]
        await gate.entered.wait()
        stopping = asyncio.create_task(queue.shut_down_queue())
        await turns()
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        assert log == ["set up", "handler ended", "torn down"]
        assert queue.consumer_count() == 0
        assert all([is_shut_down((await event.wait()).first()) for event in events])
        assert asyncio.all_tasks() == before
        gate.open.set()
        async with queue:
            await assert_works(queue)


async def test_a_timeout_around_the_queue_leaves_nothing_half_stopped() -> None:
    """A timeout around `async with queue` ends handlers and lifecycles before TimeoutError comes out."""
    log: list[str] = []
    gate = Gate(log)
    queue = CollectorQueue([Collector("gate", gate.handle, lifecycle=noted(log))], logging=False)
    before = asyncio.all_tasks()
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(TimeoutError):  # noqa: PT012 - raised by the exit
            async with asyncio.timeout(0.1), queue:
                event = await queue.get_publisher().send(Payload(None))
                await gate.entered.wait()
        assert log == ["set up", "handler ended", "torn down"]
        assert queue.consumer_count() == 0
        assert is_shut_down((await event.wait()).first())
        assert asyncio.all_tasks() == before


async def test_every_concurrent_shutdown_waits_for_the_end() -> None:
    """A second shut_down_queue() joins the one that is under way instead of returning before it is done."""
    log: list[str] = []
    gate = Gate(log)
    queue = CollectorQueue([Collector("gate", gate.handle, lifecycle=noted(log))])
    async with asyncio.timeout(PATIENCE):
        await queue.init_queue()
        await queue.get_publisher().send(Payload(None))
        await gate.entered.wait()
        stopping = [asyncio.create_task(queue.shut_down_queue()) for _ in range(3)]
        await turns()
        assert not any(task.done() for task in stopping)
        gate.open.set()
        await asyncio.gather(*stopping)
        assert log == ["set up", "handler ended", "torn down"]


# -- from within a handler --


async def test_a_handler_can_begin_the_shutdown() -> None:
    """shut_down_queue() in a handler returns at once; what was accepted is still processed."""
    log: list[str] = []

    async def stop(payload: Payload[Any], ctx: Context) -> Any:
        if payload.value == "stop":
            await queue.shut_down_queue()
            log.append("asked")
        return payload.value

    queue = CollectorQueue([Collector("stop", stop, lifecycle=noted(log))], autoscale=False, max_consumers=1)
    publisher = queue.get_publisher()
    before = asyncio.all_tasks()
    async with asyncio.timeout(PATIENCE):
        await queue.init_queue()
        events = [await publisher.send(Payload(value)) for value in ("first", "stop", "last")]
        values = [(await event.wait()).first().unwrap() for event in events]
        assert values == ["first", "stop", "last"]
        await queue.shut_down_queue()
    assert log == ["set up", "asked", "torn down"]
    assert queue.consumer_count() == 0
    assert asyncio.all_tasks() == before


# -- again --


@pytest.mark.parametrize("autoscale", [True, False])
async def test_a_stopped_queue_can_be_started_again(autoscale: bool) -> None:
    """Every start sets up the lifecycles and the consumers anew, and the same publisher serves them all."""
    log: list[str] = []
    queue = CollectorQueue([Collector("echo", echo, lifecycle=noted(log))], autoscale=autoscale, max_consumers=3)
    publisher = queue.get_publisher()
    async with asyncio.timeout(PATIENCE):
        for _ in range(3):
            async with queue:
                await assert_works(queue)
    assert queue.get_publisher() is publisher
    assert log == ["set up", "torn down"] * 3
    assert queue.get_metrics().event_count == 60


async def test_a_queue_that_ran_out_of_time_can_be_started_again() -> None:
    """A shutdown timeout leaves nothing behind that the next start could stumble over."""
    gate = Gate()
    queue = CollectorQueue([Collector("gate", gate.handle)], consumer_shutdown_timeout=0.05, logging=False)
    async with asyncio.timeout(PATIENCE):
        async with queue:
            await queue.get_publisher().send(Payload(None))
            await gate.entered.wait()
        gate.open.set()
        async with queue:
            await assert_works(queue)
