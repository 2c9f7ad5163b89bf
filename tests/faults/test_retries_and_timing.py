"""Faults of retries and of time: a row for each, with what must hold.

| fault | what must hold | test |
|---|---|---|
| one payload that always crashes, among 999 | bounded runs, quarantined, the others done | `poison` |
| fails three times, then succeeds | every wait within its window | `waits` |
| 10,000 failures at once | their retries are spread | `storm` |
| the wall clock jumps, the program freezes | no mass timeout, no retry lost | `frozen`, `clock` |
| a cancellation races with a completion | each event ends exactly once | `race` |

In each of them: accepted = finished + in handlers + queued + scheduled + dead.
"""

import asyncio
import time
from collections import Counter
from typing import Any

import pytest

from event_collector import (
    Collector,
    Context,
    Error,
    EventCancelled,
    HandlerTimeout,
    Payload,
    QueueType,
    Retry,
    WorkerCrashed,
)
from tests.event_collector import sample_attempts as handlers
from tests.event_collector.dispatch.simulation import POLICY, Simulation
from tests.event_collector.modes import assert_alive, balanced, balanced_all_along, running, until
from tests.event_collector.sample_handlers import act


async def test_poison_among_many() -> None:
    """A payload that always kills its worker runs twice; the 999 beside it are done, and the queue lives."""
    policy = Retry(max_attempts=10, backoff=0.0)
    async with running(Collector("c", act, retry=policy), max_workers=2) as queue, balanced_all_along(queue):
        publisher = queue.get_publisher()
        events = await publisher.send_many(
            Payload(["kill", 9] if number == 500 else ["echo", number]) for number in range(1000)
        )
        for number, event in enumerate(events):
            (result,) = await event.wait()
            if number == 500:
                assert isinstance(result.err, WorkerCrashed)  # type: ignore[union-attr]
                assert result.details is not None  # type: ignore[union-attr]
                assert result.details["attempt"] == 2  # type: ignore[union-attr]
            else:
                assert result.unwrap() == number
        (letter,) = queue.dead_letters
        assert (letter.reason, letter.attempts, letter.payload.value) == ("quarantined", 2, ["kill", 9])
        assert queue.accounting() == (1000, 999, 0, 0, 0, 1)
        await assert_alive(queue, 1000)


@pytest.fixture
def simulation() -> Any:
    made = Simulation(queue_type=QueueType.FIFO, bound=0, overflow="wait", consumers=20_000, workers=1, alone=True)
    made.open()
    yield made
    made.close()


def check(simulation: Simulation) -> None:
    count = simulation.dispatcher.figures.accounting()
    assert count.accepted == sum(count[1:])


def test_waits_are_within_their_windows(simulation: Simulation) -> None:
    """An event that keeps failing is tried again within the window of its policy, each time anew."""
    for _ in range(10):
        event = simulation.run(simulation.publisher.send(Payload(0)))
        simulation.turn()
        for failures in range(1, POLICY.max_attempts):
            failed = simulation.loop.now
            simulation.finish(next(iter(simulation.handlings)), ConnectionError())
            check(simulation)
            assert simulation.dispatcher.figures.accounting().scheduled == 1
            while not simulation.handlings:
                simulation.advance(0.01)
            window = min(POLICY.max_backoff, POLICY.backoff * 2 ** (failures - 1))
            assert window * (1 - POLICY.jitter) <= simulation.loop.now - failed + 1e-6
            assert simulation.loop.now - failed <= window + 0.02
        simulation.finish(next(iter(simulation.handlings)), None)
        assert event.get_result().first().ok()
        check(simulation)


def test_a_storm_of_failures_is_spread(simulation: Simulation) -> None:
    """10,000 events that fail at once come back spread over their window: no tenth of a second gets twice its share."""
    begun: Counter[int] = Counter()
    simulation.run(simulation.publisher.send_many(Payload(number) for number in range(10_000)))
    while len(simulation.handlings) < 10_000:
        simulation.turn()
    check(simulation)
    handlings, failed = list(simulation.handlings), simulation.loop.now
    simulation.on_begin = lambda _: begun.update([int((simulation.loop.now - failed) * 10)])
    simulation.handlings.clear()
    for handling in handlings:
        handling.end(ConnectionError())
    simulation.turn()
    assert simulation.dispatcher.figures.accounting().scheduled == 10_000
    check(simulation)
    simulation.advance(1.1)
    assert sum(begun.values()) == 10_000
    buckets = [begun[number] for number in range(5, 10)]  # jitter=0.5 of 1 s
    assert sum(buckets) > 9_990
    assert max(buckets) < 2 * 10_000 / 5
    for handling in list(simulation.handlings):
        handling.end(None)
    simulation.turn()
    check(simulation)


async def test_a_frozen_program_times_nobody_out() -> None:
    """After the program has stood still for longer than any timeout, no handler is over its time for that."""

    async def handler(payload: Payload[Any], ctx: Context) -> Any:
        await asyncio.sleep(0.3)
        return payload.value

    collectors = [
        Collector("c", handler, timeout=1.0),
        Collector("t", act_slowly, mode="thread", timeout=1.0),
        Collector("p", act_slowly, mode="process", timeout=1.0),
    ]
    async with running(*collectors, max_workers=2) as queue, balanced_all_along(queue):
        await (await queue.get_publisher().send(Payload(0.0))).wait()  # the worker is there
        events = await queue.get_publisher().send_many(Payload(0.3) for _ in range(4))
        await until(lambda: queue.accounting().in_handlers == 4, "they have begun")
        await asyncio.sleep(0.05)
        time.sleep(2.5)  # what SIGSTOP does to the event loop
        for event in events:
            for result in await event.wait():
                assert result.ok(), result
        balanced(queue)


def act_slowly(payload: Payload[float], ctx: Context) -> float:
    time.sleep(payload.value)
    return payload.value


async def test_a_handler_over_its_time_still_times_out_after_a_freeze() -> None:
    """The time that a frozen program gives back is its timeout once more, not for ever."""

    async def handler(payload: Payload[Any], ctx: Context) -> Any:
        await asyncio.sleep(60)

    async with running(Collector("c", handler, timeout=0.2)) as queue:
        event = await queue.get_publisher().send(Payload(0))
        await asyncio.sleep(0.05)
        time.sleep(1.0)
        (result,) = await event.wait()
        assert isinstance(result.err, HandlerTimeout)  # type: ignore[union-attr]


async def test_the_wall_clock_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """When it jumps by an hour, deadlines, waits and timeouts stay where they were."""
    policy = Retry(max_attempts=2, backoff=60.0, jitter=0.0)
    collector = Collector("c", handlers.succeed_at_async, retry=policy, timeout=60.0)
    async with running(collector) as queue, balanced_all_along(queue):
        event = await queue.get_publisher().send(Payload([2, "refuse"]), deadline=1800.0)
        await until(lambda: queue.accounting().scheduled, "it is scheduled")
        for jump in (3600.0, -3600.0):
            monkeypatch.setattr(time, "time", lambda now=time.time(), jump=jump: now + jump)
            await asyncio.sleep(0.05)
            assert queue.accounting().scheduled == 1
            monkeypatch.undo()
        await queue.shut_down_queue()
        assert (await event.wait()).first().ok()


@pytest.mark.parametrize("mode", ["coroutine", "thread", "process"])
async def test_a_race_of_cancellation_and_completion(mode: str) -> None:
    """Whichever is first, each event ends once: with its value, or cancelled."""
    handler = handlers.echo_async if mode == "coroutine" else handlers.echo
    async with running(Collector("c", handler, mode=mode), max_workers=2) as queue, balanced_all_along(queue):
        for number in range(60):
            events = await queue.get_publisher().send_many(Payload(number) for _ in range(3))
            for _ in range(number % 7):
                await asyncio.sleep(0)
            asked = [event.cancel() for event in events[: 1 if mode == "process" else 3]]
            for event, was_asked in zip(events, [*asked, False, False], strict=False):
                (result,) = await event.wait()
                if isinstance(result, Error):
                    assert isinstance(result.err, EventCancelled)
                    assert was_asked
                else:
                    assert result.value == number
            balanced(queue)
