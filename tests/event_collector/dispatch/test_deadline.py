"""Deadlines of events: what has waited too long does not begin."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from event_collector import (
    Collector,
    CollectorQueue,
    ConfigError,
    Context,
    DeadlineExceeded,
    Error,
    Payload,
    QueueType,
    Retry,
    RetryLater,
)
from event_collector.testing import ManualClock, assert_error, assert_ok
from tests.event_collector import sample_attempts as handlers
from tests.event_collector.modes import BOUND, balanced, balanced_all_along, running, until


@pytest.mark.parametrize("queue_type", QueueType)
@pytest.mark.parametrize("mode", ["coroutine", "thread", "process"])
async def test_what_expires_in_the_queue_is_not_begun(mode: str, queue_type: QueueType, tmp_path: Path) -> None:
    """It ends with DeadlineExceeded at its deadline, while the handler is still busy with another event."""
    handler = handlers.wait_for_async if mode == "coroutine" else handlers.wait_for
    begun, release = tmp_path / "begun", tmp_path / "release"
    value = [str(begun), str(release)]
    collector = Collector("c", handler, mode=mode)
    async with (
        running(collector, queue_type=queue_type, max_consumers=1, autoscale=False) as queue,
        balanced_all_along(queue),
    ):
        publisher = queue.get_publisher()
        first = await publisher.send(Payload(value), deadline=1.0)
        await until(begun.exists, "the handler has begun")
        begun.unlink()
        short = [
            await publisher.send(Payload([str(tmp_path / "never"), str(release)]), deadline=0.02),
            publisher.send_nowait(Payload([str(tmp_path / "never"), str(release)]), deadline=0.02),
            *await publisher.send_many([Payload([str(tmp_path / "never"), str(release)])], deadline=0.02),
        ]
        long = await publisher.send(Payload(value), deadline=1000.0)
        for event in short:
            (result,) = await event.wait()
            assert isinstance(result, Error)
            assert isinstance(result.err, DeadlineExceeded)
            assert event.service_time() == 0
        assert queue.accounting()[2:4] == (1, 1)
        await until(lambda: first not in queue._dispatcher.retries._deadlines, "its own deadline has passed")
        release.touch()
        assert (await first.wait()).first().unwrap() == 1  # what has begun goes on
        assert (await long.wait()).first().unwrap() == 1
        assert not (tmp_path / "never").exists()
        assert not queue.dead_letters


async def test_a_deadline_before_the_start() -> None:
    """What expires before the queue starts ends when it does."""
    queue = CollectorQueue([Collector("c", handlers.echo_async)], logging=False)
    late = await queue.get_publisher().send(Payload(0), deadline=1e-9)
    good = await queue.get_publisher().send(Payload(1), deadline=1000.0)
    async with asyncio.timeout(BOUND), queue:
        assert isinstance((await late.wait()).first().err, DeadlineExceeded)  # type: ignore[union-attr]
        assert (await good.wait()).first().unwrap() == 1
        balanced(queue)


async def test_no_retry_begins_after_the_deadline() -> None:
    """An attempt that could only begin too late is not scheduled: the event ends with its own error at once."""
    policy = Retry(max_attempts=9, backoff=60.0, jitter=0.0)
    async with running(Collector("c", handlers.succeed_at_async, retry=policy)) as queue, balanced_all_along(queue):
        event = await queue.get_publisher().send(Payload([9, "refuse"]), deadline=30.0)
        (result,) = await event.wait()
        assert isinstance(result.err, ConnectionError)  # type: ignore[union-attr]
        (letter,) = queue.dead_letters
        assert (letter.reason, letter.attempts) == ("deadline", 1)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # the clock is one for asyncio's own loop
async def test_a_retry_that_is_due_and_waits_expires(manual_clock: ManualClock) -> None:
    """An attempt that is due, but finds no free consumer before the deadline, does not begin."""
    gate = asyncio.Event()

    async def handler(payload: Payload[Any], ctx: Context) -> Any:
        if payload.value == "busy":
            await gate.wait()
            return "done"
        raise RetryLater("later", delay=5.0)

    async with (
        running(Collector("c", handler, retry=Retry(9)), max_consumers=1, autoscale=False) as queue,
        balanced_all_along(queue),
    ):
        publisher = queue.get_publisher()
        event = await publisher.send(Payload("fails"), deadline=8.0)
        await manual_clock.advance()
        assert queue.accounting().scheduled == 1
        blocker = await publisher.send(Payload("busy"))
        await manual_clock.advance(7.9)
        assert (event.is_done(), queue.accounting().queued) == (False, 1)
        await manual_clock.advance(0.1)
        error = assert_error(event, DeadlineExceeded)
        assert "next attempt" in str(error)
        assert event.get_result().first().key == "c"  # type: ignore[union-attr]
        (letter,) = queue.dead_letters
        assert letter.reason == "deadline"
        assert letter.error == "RetryLater: later"
        gate.set()
        assert assert_ok(await blocker.wait()) == "done"


async def test_deadlines_that_are_met_leave_nothing_behind() -> None:
    """The schedule does not keep events that are done."""
    async with running(Collector("c", handlers.echo_async)) as queue:
        retries = queue._dispatcher.retries
        for _ in range(20):
            events = await queue.get_publisher().send_many((Payload(n) for n in range(50)), deadline=1000.0)
            for event in events:
                await event.wait()
            assert len(retries._deadlines) == 0
            assert len(retries._deadlines._heap) <= 100


@pytest.mark.parametrize("bad", [0, -1, "1", True, float("nan")])
async def test_bad_deadlines_are_refused(bad: Any) -> None:
    """A deadline is a number of seconds above 0; nothing is accepted otherwise."""
    async with running(Collector("c", handlers.echo_async), max_queue_size=1) as queue:
        publisher = queue.get_publisher()
        with pytest.raises(ConfigError, match="deadline"):
            publisher.send_nowait(Payload(0), deadline=bad)
        with pytest.raises(ConfigError, match="deadline"):
            await publisher.send(Payload(0), deadline=bad)
        with pytest.raises(ConfigError, match="deadline"):
            await publisher.send_many([Payload(0)], deadline=bad)
        assert queue.accounting().accepted == 0
        assert (await (await publisher.send(Payload(1))).wait()).first().unwrap() == 1
