"""The inspection of a queue: what viewers are told of single events, and that nothing is recorded without them."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import event_collector.inspection
from event_collector import Collector, CollectorQueue, Delivery, Payload, Retry
from event_collector.inspection.inspector import Inspector
from event_collector.watching.details import HERE, REQUEST, Details, QueueState, decode_details
from tests.event_collector.inspection import sample_watched as handlers
from tests.event_collector.modes import BOUND

ROOM = str(Path(event_collector.inspection.__file__).parent)


def make_queue(*collectors: Collector, **options: Any) -> CollectorQueue:
    return CollectorQueue(list(collectors), **{"logging": False, **options})


@asynccontextmanager
async def inspected(queue: CollectorQueue, *, payloads: bool = False) -> AsyncIterator[Inspector]:
    """Run a queue that is inspected."""
    async with asyncio.timeout(BOUND), queue:
        inspector = Inspector(queue._engine, QueueState(), shows_payloads=payloads)
        inspector.begin()
        try:
            yield inspector
        finally:
            inspector.end()


def look(inspector: Inspector) -> Details:
    """Return the details of this instant."""
    return inspector.look(with_settings=True, cost=0.0)


async def send_to(queue: CollectorQueue, key: str, *values: Any) -> None:
    """Send values to one collector, and wait for all."""
    publisher = queue.get_publisher()
    for event in [await publisher.send(Payload(value, Delivery.KEY, (key,))) for value in values]:
        await event.wait()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def calls_in_room(frames: list[str]) -> Callable[[FrameType, str, Any], None]:
    """Return a profile function that notes the calls of functions of the inspection."""

    def note(frame: FrameType, what: str, _arg: Any) -> None:
        if what == "call" and frame.f_code.co_filename.startswith(ROOM):
            frames.append(frame.f_code.co_qualname)

    return note


async def test_nothing_is_recorded_while_nobody_asks_for_details(tmp_path: Path) -> None:
    """No code of the inspection runs for an event before a viewer asks, with one that reads snapshots, and after it."""
    path = tmp_path / "queue.sock"
    queue = make_queue(
        Collector("here", handlers.work_here),
        Collector("there", handlers.work, mode="process"),
        max_workers=1,
        monitor=path,
    )

    async def calls() -> list[str]:
        found: list[str] = []
        sys.setprofile(calls_in_room(found))
        try:
            await send_to(queue, "here", *range(20), "fail")
            await send_to(queue, "there", *range(20), "fail")
        finally:
            sys.setprofile(None)
        return found

    async with asyncio.timeout(BOUND), queue:
        assert await calls() == []
        reader, writer = await asyncio.open_unix_connection(path, limit=2**24)
        await reader.readline()
        assert await calls() == []
        writer.write(REQUEST)
        while decode_details(await reader.readline()) is None:
            pass
        assert "AttemptRecorder.ended" in await calls()
        writer.close()
        monitor = queue._engine._socket._open[1]  # type: ignore[union-attr, index]
        await until(lambda: len(monitor) == 0)
        assert await calls() == []


async def test_a_viewer_sees_attempts_on_the_loop_and_in_workers(tmp_path: Path) -> None:
    """Through the socket: who ran which event, when and how it ended, and the utilisation of each row."""
    path = tmp_path / "queue.sock"
    queue = make_queue(
        Collector("here", handlers.work_here),
        Collector("there", handlers.work, mode="process", timeout=20.0),
        max_workers=2,
        min_workers=2,
        monitor=path,
    )
    async with asyncio.timeout(BOUND), queue:
        reader, writer = await asyncio.open_unix_connection(path, limit=2**24)
        writer.write(REQUEST)
        while (first := decode_details(await reader.readline())) is None:
            pass
        assert [one.key for one in first.settings or ()] == ["here", "there"]
        assert first.settings is not None
        assert first.settings[1].handler == f"{handlers.__name__}:work"
        await send_to(queue, "here", 0.01, 0.01, "fail")
        await send_to(queue, "there", *[0.02] * 8, "fail", "die")
        details = first
        while len(details.spans) < 13:
            line = decode_details(await reader.readline())
            if line is not None:
                assert line.settings is None
                assert line.number == details.number + 1
                details = Details(number=line.number, spans=details.spans + line.spans, rows=details.rows + line.rows)
        writer.close()
    rows: dict[int, list[str]] = {}
    for span in details.spans:
        assert span.begin <= span.end
        assert span.stands_for == 1
        rows.setdefault(span.worker, []).append(span.outcome)
    assert sorted(rows[HERE]) == ["error", "ok", "ok"]
    assert sorted(rows[0] + rows[1]) == ["error", "killed", *["ok"] * 8]
    assert {span.pid for span in details.spans if span.worker == HERE} == {os.getpid()}
    assert sum(row.attempts for row in details.rows if row.worker == HERE) == 3
    assert sum(row.seconds for row in details.rows if row.worker in (0, 1)) >= 0.16
    for worker in (0, 1):  # a worker runs one job at a time
        times = sorted((span.begin, span.end) for span in details.spans if span.worker == worker)
        assert all(end <= begin + 0.001 for (_, end), (begin, _) in pairwise(times))


async def test_failures_are_grouped_by_collector_class_and_first_line() -> None:
    """A group has a count and the last traceback; each failure is in the list of failed attempts, with its attempt."""
    retry = Retry(2, backoff=0.0)
    queue = make_queue(
        Collector("here", handlers.work_here), Collector("there", handlers.work, mode="process", retry=retry)
    )
    async with inspected(queue) as inspector:
        await send_to(queue, "here", "fail", "fail")
        await send_to(queue, "there", "fail")
        details = look(inspector)
    groups = {(one.collector, one.kind, one.line): one for one in details.errors}
    assert set(groups) == {("here", "KeyError", "'no such thing'"), ("there", "ValueError", "no picture")}
    there = groups["there", "ValueError", "no picture"]
    assert (groups["here", "KeyError", "'no such thing'"].count, there.count) == (2, 2)
    assert 'raise ValueError("no picture' in there.traceback
    assert there.first <= there.last <= details.time
    assert [(one.collector, one.attempt, one.error) for one in details.failed] == [
        ("there", 2, "ValueError: no picture"),
        ("there", 1, "ValueError: no picture"),
        *[("here", 1, "KeyError: 'no such thing'")] * 2,
    ]
    assert details.errors_ungrouped == 0
    group = details.dead_letters.groups[0]
    assert (details.dead_letters.count, group.count, group.reason) == (1, 1, "exhausted")
    assert (group.kind, group.line, group.events) == ("ValueError", "no picture", [details.failed[0].event])
    assert (group.error, len(group.group)) == ("ValueError: no picture", 16)


async def test_running_events_come_with_progress_the_oldest_first() -> None:
    """Each has its collector, place, worker, age and what it has reported."""
    queue = make_queue(
        Collector("here", handlers.work_here, timeout=50.0),
        Collector("there", handlers.work, mode="process"),
        max_workers=1,
        consumer_shutdown_timeout=0.01,
    )
    async with inspected(queue) as inspector:
        publisher = queue.get_publisher()
        there = await publisher.send(Payload("wait", Delivery.KEY, ("there",)))
        await until(lambda: any(one.done == 1 for one in look(inspector).running))
        here = await publisher.send(Payload("wait", Delivery.KEY, ("here",)))
        await until(lambda: [one.done for one in look(inspector).running] == [1, 2])
        first, second = look(inspector).running
    assert (first.event, first.collector, first.place, first.worker) == (there.id, "there", "process", 0)
    assert (first.done, first.total, first.note, first.limit) == (1, 3, "rows", None)
    assert (second.event, second.collector, second.place, second.worker) == (here.id, "here", "coroutine", HERE)
    assert (second.done, second.total, second.note, second.limit) == (2, 4, "lines", 50.0)
    assert first.age >= second.age > 0
    assert first.pid != second.pid == os.getpid()


async def test_it_tells_where_the_time_of_events_goes() -> None:
    """Workers' events are encoded, travel and are decoded; the parts of an event add up to its time."""
    queue = make_queue(
        Collector("here", handlers.work_here), Collector("there", handlers.work, mode="process"), max_workers=1
    )
    async with inspected(queue) as inspector:
        await send_to(queue, "here", 0.01)
        await send_to(queue, "there", *[0.01] * 5)
        details = look(inspector)
    times = {one.collector: one for one in details.times}
    here, there = times["here"], times["there"]
    assert (here.samples, here.encode, here.transit, here.decode) == (1, None, None, None)
    assert there.samples == 5
    assert min(there.encode or 0, there.transit or 0, there.decode or 0) > 0
    for parts in (here, there):
        assert parts.handler is not None
        assert parts.handler >= 0.009
    slowest = details.slowest[0]
    timed = [one for one in details.slowest if one.collector == "there"]
    assert slowest.ended - slowest.began >= 0.009
    assert all(one.sent <= one.handed_out <= one.began <= one.ended for one in timed)  # type: ignore[operator]


async def test_values_of_streams_are_spans_of_several_events() -> None:
    """A chunk in a worker is one span for as many events as it has values."""
    queue = make_queue(Collector("there", handlers.work, mode="process"), max_workers=1)
    async with inspected(queue) as inspector:
        results = [result async for result in queue.stream("there", [*range(1999), "fail"])]
        details = look(inspector)
    assert [result.value for result in results[:-1]] == list(range(1999))
    assert [(one.collector, one.line, one.count) for one in details.errors] == [("there", "no picture", 1)]
    chunks = [span for span in details.spans if span.events > 1]
    assert chunks
    assert all(span.collector == "there" and span.worker == 0 for span in chunks)
    assert sum(row.attempts for row in details.rows) == 2000


async def test_payloads_are_shown_only_if_allowed() -> None:
    """By default no line has the text of a payload."""
    for payloads in (False, True):
        queue = make_queue(Collector("here", handlers.work_here, retry=Retry(1)), consumer_shutdown_timeout=0.01)
        async with inspected(queue, payloads=payloads) as inspector:
            await send_to(queue, "here", 0.01, "fail")
            await queue.get_publisher().send(Payload("wait"))
            details = look(inspector)
        assert details.shows_payloads is payloads
        texts = [details.running[0].payload, details.failed[0].payload, details.errors[0].payload]
        texts += [details.dead_letters.groups[0].payload, details.slowest[0].payload]
        assert texts == (["'wait'", "'fail'", "'fail'", "'fail'", "0.01"] if payloads else [None] * 5)


async def test_decisions_have_their_time_and_the_numbers_after_it() -> None:
    """What the autoscaler has decided is told with present and wanted numbers."""
    queue = make_queue(Collector("here", handlers.work_here))
    async with inspected(queue) as inspector:
        publisher = queue.get_publisher()
        await asyncio.gather(*[publisher.send(Payload(0.3)) for _ in range(100)])
        await until(lambda: bool(queue.changes()))
        decisions = look(inspector).decisions
        await publisher.wait()
    assert [(one.subject, one.before, one.after, one.reason) for one in decisions] == [
        (one.subject, str(one.before), str(one.after), one.reason) for one in queue.changes()[: len(decisions)]
    ]
    assert all(one.time > 0 and one.consumers >= 1 for one in decisions)


async def test_a_queue_is_inspected_after_its_next_start() -> None:
    """The tiers of the next start are tapped at the next look."""
    queue = make_queue(Collector("here", handlers.work_here))
    async with asyncio.timeout(BOUND):
        inspector = Inspector(queue._engine, QueueState(), shows_payloads=False)
        for _ in range(2):
            async with queue:
                look(inspector)
                await send_to(queue, "here", 1, 2)
                assert [span.outcome for span in look(inspector).spans] == ["ok", "ok"]
        inspector.end()
        inspector.end()
