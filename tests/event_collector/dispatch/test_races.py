"""What goes wrong only when things meet: cancellations, ends, restarts, refusals at the least convenient moment."""

import asyncio
import contextlib
import gc
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import Context as NoVariables
from typing import Any

import pytest

from event_collector import Collector, CollectorQueue, Context, Delivery, Error, Ok, Payload, QueueType
from event_collector.collector import LifecycleManager
from event_collector.exceptions import QueueShutDown
from event_collector.queue import InitializedQueue, ReportedMetrics, ShutDownQueue
from tests.event_collector.modes import BOUND

PATIENCE = 5.0  # seconds after which a wait counts as a hang; below the default shutdown timeout


async def echo(payload: Payload[Any], ctx: Context) -> Any:
    return payload.value


async def nap(payload: Payload[Any], ctx: Context) -> Any:
    await asyncio.sleep(0.002)
    return payload.value


def pause(payload: Payload[Any], ctx: Context) -> Any:
    time.sleep(0.002)
    return payload.value


def noted(log: list[str], *, up: float = 0.0, down: float = 0.0) -> LifecycleManager:
    """A lifecycle that takes its time, in seconds, and writes down when it is left."""

    @contextlib.asynccontextmanager
    async def lifecycle(ctx: Context) -> AsyncIterator[None]:
        await asyncio.sleep(up)
        try:
            yield
        finally:
            log.append("left")
            await asyncio.sleep(down)

    return lifecycle


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def depth(error: BaseException) -> int:
    """Return how many frames the traceback of an exception keeps."""
    frames, trace = 0, error.__traceback__
    while trace is not None:
        frames, trace = frames + 1, trace.tb_next
    return frames


# -- cancellation --


@pytest.mark.parametrize("later", range(4))
def test_a_program_that_ends_right_after_sending_ends(later: int) -> None:
    """A consumer that is cancelled before its first step is forgotten, and its event ends all the same."""
    program = f"""
import asyncio
from event_collector import Collector, CollectorQueue, Payload

async def handle(payload, ctx):
    await asyncio.sleep(60)

async def main():
    queue = CollectorQueue([Collector("a", handle)], logging=False)
    await queue.init_queue()
    event = await queue.get_publisher().send(Payload(1))
    for _ in range({later}):
        await asyncio.sleep(0)
    return event

print(asyncio.run(main()).is_done())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


async def test_a_queue_survives_the_cancellation_of_consumers_that_have_not_begun() -> None:
    """Consumers that were cancelled before their first step do not count as about to start."""
    queue = CollectorQueue([Collector("a", nap)], logging=False)
    async with asyncio.timeout(PATIENCE), queue:
        await turns(3)
        before = asyncio.all_tasks()
        events = [queue.get_publisher().send_nowait(Payload(n)) for n in range(10)]
        while not (fresh := asyncio.all_tasks() - before):
            await asyncio.sleep(0)
        for task in fresh:
            task.cancel()
        for event in events:
            await event.wait()


@pytest.mark.parametrize("pause_between", [0.0, 0.001])
@pytest.mark.parametrize("first", range(8))
async def test_cancelling_every_task_twice_while_a_queue_ends_leaves_nothing_open(
    first: int, pause_between: float
) -> None:
    """Whoever cancels whatever at any step of the end: results are set, lifecycles left, the queue can start again."""
    for second in range(5):
        log: list[str] = []
        collectors = [Collector(key, nap, lifecycle=noted(log, down=0.002)) for key in "ab"]
        queue = CollectorQueue(collectors, logging=False)
        async with asyncio.timeout(PATIENCE):
            others = asyncio.all_tasks()
            await queue.init_queue()
            events = [await queue.get_publisher().send(Payload(n)) for n in range(3)]
            stopping = asyncio.create_task(queue.shut_down_queue())
            for wait in (first, second):
                for _ in range(wait):
                    await asyncio.sleep(pause_between)
                for task in asyncio.all_tasks() - others:
                    task.cancel()
            while asyncio.all_tasks() - others:
                await asyncio.sleep(0.001)
            assert stopping.done()
            assert all(event.is_done() for event in events)
            assert log == ["left", "left"]
            assert queue.consumer_count() == 0
            async with queue:
                assert (await (await queue.get_publisher().send(Payload(1))).wait()).first() is not None


async def test_cancelling_an_end_that_gives_up_waits_for_it() -> None:
    """A second cancellation of the shutdown, while handlers resist, is CancelledError and leaves nothing running."""

    async def stubborn(payload: Payload[Any], ctx: Context) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.2)
        await asyncio.sleep(0.2)

    queue = CollectorQueue([Collector("a", stubborn)], logging=False, consumer_shutdown_timeout=0.01)
    async with asyncio.timeout(PATIENCE):
        await queue.init_queue()
        event = await queue.get_publisher().send(Payload(1))
        await turns(3)
        stopping = asyncio.create_task(queue.shut_down_queue())
        await asyncio.sleep(0.1)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        assert event.is_done()
        assert queue.consumer_count() == 0


async def test_a_start_that_begins_while_a_cancelled_one_is_undone_succeeds() -> None:
    """Cancelling one caller of init_queue() is not felt by the next."""
    queue = CollectorQueue([Collector("a", echo, lifecycle=noted([], up=0.05))], logging=False)
    async with asyncio.timeout(PATIENCE):
        first = asyncio.create_task(queue.init_queue())
        await turns(3)
        first.cancel()
        await turns(1)
        await queue.init_queue()
        assert first.cancelled()
        assert queue.consumer_count() == 1
        await queue.shut_down_queue()


async def test_a_cancellation_taken_back_by_one_handler_does_not_reach_the_next() -> None:
    """A handler that cancels its own task and takes that back harms no other event of its consumer."""

    async def handle(payload: Payload[Any], ctx: Context) -> Any:
        task = asyncio.current_task()
        if payload.value == "cancel" and task is not None:
            task.cancel()
            task.uncancel()
            return payload.value
        await asyncio.sleep(0)
        return payload.value

    queue = CollectorQueue([Collector("a", handle)], logging=False, max_consumers=1)
    async with asyncio.timeout(PATIENCE), queue:
        events = [queue.get_publisher().send_nowait(Payload(value)) for value in ("cancel", 1, "cancel", 2)]
        assert [(await event.wait()).first().value for event in events] == ["cancel", 1, "cancel", 2]


# -- calls from within --


@pytest.mark.parametrize("message", [InitializedQueue, ReportedMetrics, ShutDownQueue])
@pytest.mark.parametrize("call", [CollectorQueue.init_queue, CollectorQueue.shut_down_queue])
async def test_bus_handlers_may_start_and_end_the_queue(message: type, call: Callable[..., Any]) -> None:
    """What the queue itself waits for never waits for the queue."""
    called = asyncio.Event()

    async def handle(event: Any, _: Any) -> None:
        try:
            await call(event.collector_queue if hasattr(event, "collector_queue") else queue)
        finally:
            called.set()

    queue = CollectorQueue([Collector("a", echo)], logging=False, report_interval=0.01)
    queue.get_message_bus().add_msg_handler(message, handle)
    async with asyncio.timeout(PATIENCE):
        await queue.init_queue()
        if message is ReportedMetrics:
            await called.wait()
        await queue.shut_down_queue()
        assert called.is_set()
        assert queue.consumer_count() == 0


async def test_a_handler_sees_the_end_of_another_queue() -> None:
    """A handler among several of one event, that runs a queue of its own, leaves it when its events are finished."""

    async def handle(payload: Payload[Any], ctx: Context) -> list[bool]:
        async with CollectorQueue([Collector("inner", nap)], logging=False) as inner:
            events = [await inner.get_publisher().send(Payload(n)) for n in range(3)]
        return [event.is_done() for event in events]

    collectors = [Collector("a", handle), Collector("b", handle)]
    async with asyncio.timeout(PATIENCE), CollectorQueue(collectors, logging=False) as queue:
        results = await (await queue.get_publisher().send(Payload(1))).wait()
        assert [result.unwrap() for result in results] == [[True] * 3] * 2


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in Python 3.12")
def test_an_eager_task_factory_changes_nothing() -> None:
    """With tasks that begin at once, a queue starts after a failed start, and its handlers may end it."""
    tries: list[int] = []

    @contextlib.contextmanager
    def fails_once(ctx: Context) -> Iterator[None]:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("not yet")
        yield

    async def end(payload: Payload[Any], ctx: Context) -> str:
        await ctx.queue.shut_down_queue()
        return "ended"

    async def program() -> None:  # uvloop cannot use such a factory in Python 3.13
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
        ctx = Context()
        collectors = [Collector("a", end, ctx=ctx, lifecycle=fails_once), Collector("b", echo)]
        ctx.queue = queue = CollectorQueue(collectors, logging=False, consumer_shutdown_timeout=0)
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(ValueError, match="not yet"):
                await queue.init_queue()
            await queue.init_queue()
            results = await (await queue.get_publisher().send(Payload(1))).wait()
            assert results.first().unwrap() == "ended"
            await queue.shut_down_queue()

    asyncio.run(program())


def test_an_event_sent_between_two_runs_of_the_loop_waits_for_the_next() -> None:
    """A handler never begins where no event loop runs."""
    loop = asyncio.new_event_loop()
    try:
        queue = CollectorQueue([Collector("a", nap)], logging=False)
        publisher = queue.get_publisher()
        loop.run_until_complete(queue.init_queue())
        loop.run_until_complete(loop.run_until_complete(publisher.send(Payload(0))).wait())
        event = publisher.send_nowait(Payload(1))
        assert loop.run_until_complete(event.wait()).first().unwrap() == 1
        loop.run_until_complete(queue.shut_down_queue())
    finally:
        loop.close()


async def test_a_queue_lives_while_only_its_publisher_is_held() -> None:
    """A running queue that nobody refers to keeps its lifecycles open."""
    log: list[str] = []

    async def begin() -> tuple[Any, Any]:
        queue = CollectorQueue([Collector("a", echo, lifecycle=noted(log))], logging=False)
        before = asyncio.all_tasks()
        await queue.init_queue()
        (keeper,) = {task.get_name() for task in asyncio.all_tasks() - before}
        return queue.get_publisher(), keeper

    publisher, name = await begin()
    for _ in range(3):
        gc.collect()
        await asyncio.sleep(0)
    assert log == []
    assert (await (await publisher.send(Payload(1))).wait()).first().unwrap() == 1
    (keeper,) = (task for task in asyncio.all_tasks() if task.get_name() == name)
    keeper.cancel()
    await asyncio.wait([keeper], timeout=PATIENCE)
    assert log == ["left"]


# -- places --


@pytest.mark.parametrize("autoscale", [True, False])
@pytest.mark.parametrize("alone", [True, False])
async def test_the_place_of_an_event_in_a_worker_goes_to_the_next(autoscale: bool, alone: bool) -> None:
    """With one place in handlers, events of workers and of consumers follow each other."""
    collectors = [Collector("process", pause)] + ([] if alone else [Collector("coroutine", nap)])
    queue = CollectorQueue(collectors, autoscale=autoscale, max_consumers=1, max_workers=1, logging=False)
    keys = ["process", collectors[-1].key]
    async with asyncio.timeout(BOUND), queue:
        events = [await queue.get_publisher().send(Payload(n, Delivery.KEY, keys=[keys[n % 2]])) for n in range(6)]
        order = [event.payload.value async for event in queue.get_publisher().as_completed(events)]
        assert order == list(range(6))


@pytest.mark.parametrize("queue_type", list(QueueType))
async def test_events_of_workers_do_not_jump_the_queue(queue_type: QueueType) -> None:
    """Where places in handlers are scarce, events get them in the queue's order, wherever they run."""
    collectors = [Collector("process", pause), Collector("coroutine", echo)]
    queue = CollectorQueue(collectors, max_consumers=2, max_workers=1, logging=False, queue_type=queue_type)
    publisher = queue.get_publisher()
    async with asyncio.timeout(BOUND), queue:
        events = [publisher.send_nowait(Payload(n, Delivery.KEY, keys=["process"])) for n in range(40)]
        urgent = publisher.send_nowait(Payload("coroutine", Delivery.KEY, keys=["coroutine"], priority=0))
        events += [publisher.send_nowait(Payload(n, Delivery.KEY, keys=["process"])) for n in range(40)]
        order = [event async for event in publisher.as_completed([*events, urgent])]
        assert order.index(urgent) <= 45


# -- what stays behind --


async def test_refusals_do_not_pile_up() -> None:
    """Each refused send(), and each event that is given up, has an error of its own with a traceback of its own."""
    queue = CollectorQueue([Collector("a", nap)], logging=False, max_consumers=1, consumer_shutdown_timeout=0.001)
    publisher = queue.get_publisher()
    async with queue:
        events = [publisher.send_nowait(Payload(n)) for n in range(100)]
    errors: list[BaseException] = []
    for event in events:
        if isinstance(result := await event.wait(), list) and isinstance(result.first(), Error):
            with pytest.raises(QueueShutDown) as given_up:
                result.first().unwrap()
            errors.append(given_up.value)
        with pytest.raises(QueueShutDown) as refused:
            await publisher.send(Payload(0))
        errors.append(refused.value)
    assert len(errors) == len(set(errors)) > 100
    assert max(depth(error) for error in errors) < 10


async def test_waits_that_time_out_leave_nothing_behind() -> None:
    """A program that looks again and again whether all is processed needs no more memory each time."""
    gate = asyncio.Event()

    async def handle(payload: Payload[Any], ctx: Context) -> None:
        await gate.wait()

    async with asyncio.timeout(PATIENCE), CollectorQueue([Collector("a", handle)], logging=False) as queue:
        publisher = queue.get_publisher()
        await publisher.send(Payload(1))
        await turns(3)
        before = sum(isinstance(thing, asyncio.Future) for thing in gc.get_objects())
        for _ in range(100):
            waiter = asyncio.create_task(publisher.wait())
            await turns(1)
            waiter.cancel()
            await asyncio.wait([waiter])
        del waiter
        gc.collect()
        assert sum(isinstance(thing, asyncio.Future) for thing in gc.get_objects()) < before + 50
        gate.set()


async def test_waiting_for_all_ends_although_others_go_on_sending() -> None:
    """publisher.wait() returns once all events are finished, also when the next one is sent at that moment."""
    async with asyncio.timeout(PATIENCE), CollectorQueue([Collector("a", nap)], logging=False) as queue:
        publisher = queue.get_publisher()

        async def ping_pong() -> None:
            while True:
                await (await publisher.send(Payload(1))).wait()

        sender = asyncio.create_task(ping_pong())
        await turns(3)
        await publisher.wait()
        sender.cancel()
        await asyncio.wait([sender])


async def test_cancelling_senders_that_wait_for_room_costs_each_the_same() -> None:
    """The cost of cancelling many senders, the last first, does not grow with the square of their number."""

    async def cancel(count: int) -> float:
        queue = CollectorQueue([Collector("a", echo)], logging=False, max_queue_size=1)
        publisher = queue.get_publisher()
        await publisher.send(Payload(0))
        senders = [asyncio.create_task(publisher.send(Payload(n))) for n in range(count)]
        await turns(2)
        for sender in reversed(senders):
            sender.cancel()
        gc.disable()  # what it costs grows with all that the program holds
        try:
            began = time.process_time()
            await asyncio.wait(senders)
            return time.process_time() - began
        finally:
            gc.enable()

    few = min([await cancel(1000) for _ in range(3)])
    many = min([await cancel(16_000) for _ in range(2)])
    assert many < 16 * few * 5


async def test_an_exception_that_cannot_be_shown_is_a_result_all_the_same() -> None:
    """What the traceback module cannot format still ends its event, and no other."""

    async def handle(payload: Payload[Any], ctx: Context) -> None:
        error = SyntaxError("odd")
        error.lineno, error.text = 1, 5  # type: ignore[assignment]
        raise error

    async with asyncio.timeout(PATIENCE), CollectorQueue([Collector("a", handle)], logging=False) as queue:
        for _ in range(3):
            result = (await (await queue.get_publisher().send(Payload(1))).wait()).first()
            assert isinstance(result, Error)
            assert isinstance(result.err, SyntaxError)
            assert "SyntaxError" in (result.details or {})["trace"]


def test_a_blocking_handler_is_reported_also_when_nothing_stands_before_it() -> None:
    """The shortest way to a handler, of an event without context variables, tells the watchdog whose it is."""
    reports: list[dict[str, Any]] = []

    class Log:
        def __getattr__(self, level: str) -> Callable[..., None]:
            return lambda event, **fields: reports.append({"event": event, **fields})

    async def block(payload: Payload[Any], ctx: Context) -> Ok[int]:
        time.sleep(0.5)
        return Ok(1)

    async def program() -> None:
        async with asyncio.timeout(PATIENCE), CollectorQueue([Collector("blocks", block)], log=Log()) as queue:
            await (await queue.get_publisher().send(Payload(1))).wait()
            while not any(report["event"] == "handler blocked the event loop" for report in reports):
                await asyncio.sleep(0.01)

    NoVariables().run(asyncio.run, program())
    (report,) = (r for r in reports if r["event"] == "handler blocked the event loop")
    assert report["collector"] == "blocks"
    assert "time.sleep(0.5)" in report["stack"]
