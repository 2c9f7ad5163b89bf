"""Log lines tell which event they belong to, in every mode, and nothing is bound that another event could see."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog

from event_collector import (
    Collector,
    CollectorQueue,
    Context,
    Delivery,
    Payload,
    Retry,
    add_event_context,
    event_context,
)
from tests.event_collector.modes import BOUND, every_place


def tell(payload: Payload[Any], ctx: Context) -> dict[str, Any]:
    """Return what a log line would say."""
    if payload.value == "fail" and payload.attempt == 1:
        raise ValueError("the first attempt")
    return {"context": event_context(), "pid": os.getpid()}


async def tell_later(payload: Payload[Any], ctx: Context) -> dict[str, Any]:
    """Return it from a coroutine that is awaited, after a turn of the loop."""
    await asyncio.sleep(0)
    return await asyncio.sleep(0, tell(payload, ctx))


@asynccontextmanager
async def running(*collectors: Collector) -> AsyncIterator[CollectorQueue]:
    queue = CollectorQueue(list(collectors), max_workers=1, logging=False)
    async with asyncio.timeout(BOUND), queue:
        yield queue


MODES = {
    "coroutine": tell_later,
    "thread": tell,
    "process": tell,
    "process, async def": tell_later,
    "executor of threads": tell,
    "executor of processes": tell,
}


@pytest.fixture
def anyio_backend() -> str:
    """Run on one event loop only: that of a task is the same on both, and processes take their time."""
    return "asyncio"


async def test_a_handler_is_told_its_event() -> None:
    """Id, collector and attempt are those of the event, in every mode; in a worker process there is its pid."""
    with every_place() as places:
        for mode, handler in MODES.items():
            retry = Retry(max_attempts=2, backoff=0.0)
            async with running(Collector("told", handler, mode=places[mode], retry=retry)) as queue:
                sent = await queue.get_publisher().send_many(map(Payload, ("fine", "fail")))
                answers = [(await event.wait()).first().unwrap() for event in sent]
            for event, answer, attempt in zip(sent, answers, (1, 2), strict=True):
                told = {"event_id": event.id, "collector": "told", "attempt": attempt}
                if "process" in mode:
                    assert answer["pid"] != os.getpid()
                    told["worker_pid"] = answer["pid"]
                assert answer["context"] == told, mode


async def test_several_collectors_are_told_apart() -> None:
    """Of one event that goes to several collectors each handler is told its own."""
    async with running(
        Collector("here", tell_later), Collector("thread", tell, mode="thread"), Collector("there", tell)
    ) as queue:
        event = await queue.get_publisher().send(Payload(None))
        contexts = [result.unwrap()["context"] for result in await event.wait()]
    assert [context["collector"] for context in contexts] == ["here", "thread", "there"]
    assert {context["event_id"] for context in contexts} == {event.id}


async def test_one_of_several_collectors_is_told_its_key() -> None:
    """An event for one of several collectors, which runs in no task of its own, is told which."""
    async with running(Collector("one", tell_later), Collector("two", tell_later)) as queue:
        event = await queue.get_publisher().send(Payload(None, Delivery.KEY, keys=["two"]))
        context = (await event.wait()).first().unwrap()["context"]
    assert context == {"event_id": event.id, "collector": "two", "attempt": 1}


async def test_outside_of_handlers_there_is_no_event() -> None:
    """The program, its other tasks and threads, and a lifecycle in a worker are in no event."""
    seen = []

    async def other(payload: Payload[Any], ctx: Context) -> None:
        seen.append(await asyncio.create_task(within()))

    async def within() -> dict[str, Any]:
        return event_context()

    async with running(Collector("other", other)) as queue:
        event = await queue.get_publisher().send(Payload(None))
        await event.wait()
        assert event_context() == {}
    thread = threading.Thread(target=lambda: seen.append(event_context()))
    thread.start()
    thread.join()
    assert seen == [{}, {}]


async def test_a_line_has_the_event_and_keeps_its_own_fields() -> None:
    """With the processor in structlog's chain a handler's line has the event; a field of the line itself stays."""
    lines: list[Any] = []

    def keep(_logger: Any, _method: str, line: Any) -> Any:
        lines.append(dict(line))
        raise structlog.DropEvent

    log = structlog.wrap_logger(None, processors=[add_event_context, keep])

    async def handler(payload: Payload[Any], ctx: Context) -> None:
        log.info("plain")
        log.info("own", collector="mine")

    async with running(Collector("logs", handler)) as queue:
        event = await queue.get_publisher().send(Payload(None))
        await event.wait()
        log.info("outside")
    told = {"event_id": event.id, "collector": "logs", "attempt": 1}
    assert lines == [{"event": "plain", **told}, {"event": "own", **told, "collector": "mine"}, {"event": "outside"}]


async def test_a_task_of_a_handler_has_what_was_bound_for_it() -> None:
    """What a handler binds is in its tasks and threads, and in no other event."""
    seen: dict[int, list[Any]] = {}

    def look() -> dict[str, Any]:
        return structlog.contextvars.get_contextvars()

    async def handler(payload: Payload[int], ctx: Context) -> None:
        before = look()
        structlog.contextvars.bind_contextvars(**event_context())
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(asyncio.to_thread(look))
        seen[payload.value] = [before, task.result()["event_id"]]

    async with running(Collector("binds", handler)) as queue:
        events = [await queue.get_publisher().send(Payload(number)) for number in range(3)]
        await queue.get_publisher().wait()
    assert seen == {number: [{}, event.id] for number, event in enumerate(events)}
