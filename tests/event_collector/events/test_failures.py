"""Failures that nobody has looked at are logged, once each; those that somebody has looked at are not."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from event_collector import (
    Collector,
    CollectorEvent,
    CollectorQueue,
    ConfigError,
    Error,
    EventPublisher,
    Payload,
    Retry,
)
from event_collector.events.failed_event import FailedEvent
from event_collector.events.failures import MOST, WINDOW, Failures
from tests.event_collector.modes import Log

HEARD = "an event failed, and nobody looked at its result"


async def fail(value: Any) -> Any:
    if value == "wait":
        await asyncio.sleep(0.001)
    if value == "return":
        return Error("returned")
    if value == "ok":
        return value
    raise ValueError(value)


def fail_plain(value: Any) -> Any:
    raise ValueError(value)


@asynccontextmanager
async def failing(collector: Collector | None = None) -> AsyncIterator[tuple[EventPublisher, Log]]:
    log = Log()
    async with CollectorQueue([collector or Collector("c", fail)], log=log, max_workers=1) as queue:
        yield queue.get_publisher(), log


async def turn() -> None:
    """Let the loop take a turn or two."""
    gc.collect()
    for _ in range(3):
        await asyncio.sleep(0)


@pytest.mark.parametrize("value", ["now", "wait"])
async def test_a_failure_of_a_forgotten_event_is_logged(value: str) -> None:
    """With collector, event, error and traceback, as soon as nobody can look at it any more."""
    async with failing() as (publisher, log):
        number = (await publisher.send(Payload(value))).id
        await publisher.wait()
        await turn()
        (line,) = log.of(HEARD)
        assert (line["level"], line["event_id"], line["collector"]) == ("error", number, "c")
        assert line["error"] == f"ValueError: {value}"
        assert line["exception"].startswith("Traceback (most recent call last):\n")
        assert line["exception"].endswith(f"ValueError: {value}")
    assert len(log.of(HEARD)) == 1


async def test_a_returned_error_is_logged_without_a_traceback() -> None:
    """An Error need not be an exception."""
    async with failing() as (publisher, log):
        await publisher.send(Payload("return"))
    (line,) = log.of(HEARD)
    assert line["error"] == "returned"
    assert "exception" not in line


@pytest.mark.parametrize("mode", ["process", "thread"])
async def test_failures_elsewhere_are_logged_while_the_queue_runs(mode: str) -> None:
    """A failed event of a worker or thread is garbage as soon as nobody has it: it does not hold itself."""
    async with failing(Collector("c", fail_plain, mode=mode)) as (publisher, log):
        gc.disable()
        try:
            await publisher.send(Payload("now"))
            await publisher.wait()
            for _ in range(3):
                await asyncio.sleep(0)
            assert len(log.of(HEARD)) == 1
        finally:
            gc.enable()


async def test_what_is_kept_is_logged_at_the_end_of_the_queue() -> None:
    """Somebody may look at it as long as the queue runs; what comes later is not known."""
    async with failing() as (publisher, log):
        event = await publisher.send(Payload("now"))
        await publisher.wait()
        await turn()
        assert log.of(HEARD) == []
    assert len(log.of(HEARD)) == 1
    assert (await event.wait()).first().is_error
    assert type(event) is CollectorEvent


async def waits(event: CollectorEvent) -> None:
    await event.wait()


async def awaits_value(event: CollectorEvent) -> None:
    with pytest.raises(ValueError, match="now"):
        await event.value()


async def reads_results(event: CollectorEvent) -> None:
    event.get_result()


@pytest.mark.parametrize("look", [waits, awaits_value, reads_results])
@pytest.mark.parametrize("is_done", [False, True])
async def test_who_looks_has_heard(look: Callable[[CollectorEvent], Awaitable[None]], is_done: bool) -> None:
    """Waiting, awaiting the value, or reading the results, before the end of the event or after it."""
    async with failing() as (publisher, log):
        event = await publisher.send(Payload("now"))
        if is_done:
            await publisher.wait()
            assert type(event) is FailedEvent
        await look(event)
        if not event.is_done():
            await event.wait()
        del event
    assert log.of(HEARD) == []


async def test_callbacks_streams_and_completion_hear() -> None:
    """So do those who have the queue call them, or who take events as they are done."""
    async with failing() as (publisher, log):
        event = await publisher.send(Payload("wait"))
        event.on_done(lambda _event: None)
        events = [await publisher.send(Payload("now")) for _ in range(3)]
        async for _ in publisher.as_completed(events):
            pass
        await publisher.wait()
        del event, events
    async with CollectorQueue([Collector("c", fail)], log=log) as queue:
        async for _ in queue.stream("c", ["now", "ok", "wait", "now"]):
            pass
    assert log.of(HEARD) == []


async def test_a_waiter_that_gave_up_has_not_heard() -> None:
    """A timeout around the wait leaves the failure to be logged."""
    async with failing() as (publisher, log):
        event = await publisher.send(Payload("wait"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await event.wait()
        await publisher.wait()
        del event
        await turn()
        assert len(log.of(HEARD)) == 1


async def test_success_is_not_watched() -> None:
    """Only an event that fails is of another class, and that only until somebody looks."""
    async with failing() as (publisher, log):
        event = await publisher.send(Payload("ok"))
        await publisher.wait()
        assert type(event) is CollectorEvent
    assert log.of(HEARD) == []


async def test_a_collector_may_ignore_its_failures() -> None:
    """`on_error="ignore"` is for those who look elsewhere; another value is refused."""
    async with failing(Collector("c", fail, on_error="ignore")) as (publisher, log):
        await publisher.send(Payload("now"))
    assert log.of(HEARD) == []
    with pytest.raises(ConfigError, match="on_error is one of"):
        Collector("c", fail, on_error="raise")


async def test_a_dead_letter_is_heard_otherwise() -> None:
    """An attempt that is repeated is no failure yet, and a dead letter has a line of its own."""
    async with failing(Collector("c", fail, retry=Retry(2, 0.0))) as (publisher, log):
        await publisher.send(Payload("now"))
        await publisher.wait()
        await turn()
    assert log.of(HEARD) == []
    assert len(log.of("an event has failed for good")) == 1


async def test_a_cancelled_event_is_no_failure() -> None:
    """Somebody wanted it to end."""
    async with failing() as (publisher, log):
        event = await publisher.send(Payload("wait"))
        event.cancel()
        del event
    assert log.of(HEARD) == []


async def test_many_failures_are_a_few_lines_and_a_number() -> None:
    """Memory and log stay bounded; nothing is lost without a trace."""
    async with failing() as (publisher, log):
        for _ in range(1234):
            await publisher.send(Payload("now"))
    assert len(log.of(HEARD)) == MOST
    text = f"and {1234 - MOST:,} more events failed in the last minute, and nobody looked at their results"
    assert log.of(text) == [{"level": "error", "count": 1234 - MOST, "collectors": {"c": 1234 - MOST}}]


class Moved:
    """Time that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_each_window_has_lines_of_its_own() -> None:
    """The number of the window before comes first."""
    log, time = Log(), Moved()
    failures = Failures(log, time)

    def lose(count: int) -> None:
        for number in range(count):
            event = CollectorEvent(-1 - number, Payload(None))
            failures.note(event, [Error(ValueError("lost"), key="c")], {})

    lose(MOST + 5)
    await turn()
    assert len(log.of(HEARD)) == MOST
    time.now = WINDOW
    lose(1)
    await turn()
    assert [text for _, text, _ in log.lines[MOST:]] == [
        "and 5 more events failed in the last minute, and nobody looked at their results",
        HEARD,
    ]
    failures.finish()
    assert len(log.lines) == MOST + 2
