"""Who waits for a queue that nobody has started is told, once."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from event_collector import Collector, CollectorQueue, Payload, QueueType
from tests.event_collector.modes import Log, hurry, until

SAID = "events wait for a queue that has not been started"


async def echo(value: int) -> int:
    return value


async def double(value: int) -> int:
    return 2 * value


@pytest.fixture
def impatient() -> Iterator[None]:
    with hurry(0.001):
        yield


def make(log: Log, **options: Any) -> CollectorQueue:
    return CollectorQueue([Collector("echo", echo), Collector("double", double)], log=log, **options)


async def wait_for_event(queue: CollectorQueue) -> None:
    await (await queue.get_publisher().send(Payload(1))).wait()


async def wait_for_second(queue: CollectorQueue) -> None:
    await queue.get_publisher().send(Payload(1))
    await wait_for_event(queue)


async def wait_for_all(queue: CollectorQueue) -> None:
    await queue.get_publisher().send(Payload(1))
    await queue.get_publisher().wait()


async def wait_for_first(queue: CollectorQueue) -> None:
    events = await queue.get_publisher().send_many([Payload(1), Payload(2)])
    async for _ in queue.get_publisher().as_completed(events):
        return


async def wait_for_room(queue: CollectorQueue) -> None:
    await queue.get_publisher().send_many([Payload(1), Payload(2), Payload(3)])


@pytest.mark.parametrize("kind", list(QueueType))
@pytest.mark.parametrize("wait", [wait_for_event, wait_for_second, wait_for_all, wait_for_first, wait_for_room])
async def test_whoever_waits_before_the_start_is_told(
    wait: Callable[[CollectorQueue], Awaitable[None]], kind: QueueType, impatient: None
) -> None:
    """For an event, for all, for the first, or for room: one line says how to start, and the start helps."""
    log = Log()
    queue = make(log, queue_type=kind, max_queue_size=2)
    waiting = [asyncio.ensure_future(wait(queue)) for _ in range(2 if wait is wait_for_room else 1)]
    await until(lambda: log.lines, "the line is there")
    assert not any(task.done() for task in waiting)
    async with queue:
        await asyncio.gather(*waiting)
    (line,) = log.of(SAID)
    assert line["level"] == "warning"
    assert "async with queue" in line["remedy"]


async def test_a_queue_that_is_started_in_time_says_nothing(impatient: None) -> None:
    """Events may be sent before the start, and waited for, as long as somebody starts the queue."""
    log = Log()
    queue = make(log)
    early = await queue.get_publisher().send(Payload(1))
    await asyncio.sleep(0.01)  # nobody waits yet
    waiting = asyncio.ensure_future(early.wait())
    async with queue:
        await asyncio.sleep(0)
        assert [result.unwrap() for result in await waiting] == [1, 2]
        late = await queue.get_publisher().send(Payload(2))
        await late.wait()
        await asyncio.sleep(0.01)  # the reminder would be due
    assert log.of(SAID) == []
