"""What a snapshot tells of a journal: what is on record, how the writing does, and what an earlier program has left."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from event_collector import Collector, CollectorQueue, Context, Payload
from event_collector.journal import file
from event_collector.journal.file import JournalFile
from event_collector.watching.snapshot import JournalSnapshot

BOUND = 30.0
"""Seconds after which a wait counts as a hang."""


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(BOUND):
        while not condition():
            await asyncio.sleep(0.005)


def look(queue: CollectorQueue) -> JournalSnapshot:
    """Return what a snapshot has of the journal."""
    found = queue.snapshot().journal
    assert found is not None
    return found


def make_queue(path: Path, handler: Any) -> CollectorQueue:
    collectors = [Collector("c", handler)]
    return CollectorQueue(collectors, journal=path, logging=False, consumer_shutdown_timeout=0.01)


async def test_events_on_record_are_counted(tmp_path: Path) -> None:
    """They grow with `send()`, shrink at the end of events, and are known at the next start, with what was left."""
    let_go, path = asyncio.Event(), tmp_path / "j"

    async def wait(payload: Payload[int], ctx: Context) -> None:
        if payload.value:
            await let_go.wait()

    queue = make_queue(path, wait)
    assert (look(queue).on_record, look(queue).size, look(queue).lag) == (None, 0, None)
    async with queue:
        for value in range(4):
            await queue.get_publisher().send(Payload(value))
        await until(lambda: look(queue).on_record == 3)
        await until(lambda: look(queue).lag == 0.0)
        assert (look(queue).path, look(queue).unwritten) == (str(path), 0)
        assert look(queue).size >= path.stat().st_size
        await until(lambda: look(queue).oldest_age is not None)
    assert look(queue).on_record is None
    let_go.set()
    queue = make_queue(path, wait)
    async with queue:
        assert look(queue).recovered.events == 3
        await until(lambda: look(queue).on_record == 0)
        await until(lambda: look(queue).oldest_age is None)


async def test_a_journal_is_asked_only_while_it_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events alone cause no question for the oldest one; each look causes one, which does not wait."""
    asked = list[int]()

    def count(_: JournalFile) -> float | None:
        asked.append(1)
        return None

    async def store(payload: Payload[int], ctx: Context) -> None: ...

    monkeypatch.setattr(JournalFile, "oldest", count)
    async with make_queue(tmp_path / "j", store) as queue:
        for value in range(20):
            await (await queue.get_publisher().send(Payload(value))).wait()
        assert asked == []
        look(queue)
        await until(lambda: asked == [1])


async def test_a_slow_disk_shows_as_lag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a write takes its time, senders wait and the lag grows; an error stays when it is over."""
    go_on, real, broken = threading.Event(), file._apply, True

    def write(*arguments: Any) -> int:
        go_on.wait(BOUND)
        if broken:
            raise OverflowError("no room")
        return real(*arguments)

    async def store(payload: Payload[int], ctx: Context) -> None: ...

    queue = make_queue(tmp_path / "j", store)
    async with queue:
        monkeypatch.setattr(file, "_apply", write)
        sender = asyncio.create_task(queue.get_publisher().send(Payload(1)))
        await until(lambda: look(queue).unwritten == 1)
        await until(lambda: (look(queue).lag or 0.0) > 0.05)
        assert look(queue).trouble is None
        go_on.set()
        await asyncio.wait([sender])
        assert sender.exception() is not None
        await until(lambda: look(queue).trouble is not None)
        assert not look(queue).is_healthy
        broken = False
        await queue.get_publisher().send(Payload(2))
        await until(lambda: look(queue).trouble is None)
        assert "no room" in look(queue).last_error
        assert look(queue).last_error_time > 0
