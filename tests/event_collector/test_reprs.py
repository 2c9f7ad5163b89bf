"""Long-lived objects show their state in repr(), for a debugger and for the log."""

import asyncio
import re
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from event_collector import Collector, CollectorQueue, Ok, Payload
from event_collector.events.schedule import Schedule
from event_collector.life.reports import Reports
from tests.event_collector.sample_handlers import act


async def answer(payload: Payload[Any], _ctx: Any) -> Ok:
    """Answer with the value."""
    return Ok(payload.value)


async def test_a_running_queue_shows_its_parts() -> None:
    """Engine, tiers and monitor show the state of the queue; the engine also before the start and after the end."""
    with ProcessPoolExecutor(1) as executor:
        collectors = [
            Collector("here", answer),
            Collector("there", act, mode="process"),
            Collector("outside", act, mode=executor),
            Collector("threads", act, mode="thread"),
            Collector("moves", answer, mode="adaptive"),
        ]
        queue = CollectorQueue(collectors, logging=False, min_workers=1, max_workers=1)
        engine = queue._engine
        assert repr(engine).startswith("<Engine stopped, <Dispatcher ")
        async with queue:
            assert re.fullmatch(r"<Engine running, <Dispatcher .*>, <Tiers \[.*\]>>", repr(engine))
            assert "<WorkerTier 1 workers, room for " in repr(engine._tiers)
            assert "collectors=['there', 'moves']>" in repr(engine._tiers)
            assert "<ThreadTier 0 threads busy>" in repr(engine._tiers)
            assert "<AdaptiveTier {'moves': 'coroutine'}>" in repr(engine._tiers)
            (feed,) = engine._tiers.executors._feeds.values()  # type: ignore[union-attr]
            expected = "<ExecutorFeed of ProcessPoolExecutor: 1 slots, 0 tasks, queued={'outside': 0}>"
            assert repr(feed) == expected
            assert f"<ExecutorTier [{expected}]>" in repr(engine._tiers)
            monitor = engine.regulation.loop
            assert re.fullmatch(r"<ControlLoop \w+, wants \d+ consumers, 1 workers \(1 ready\), lag=.*>", repr(monitor))
        assert repr(monitor).startswith("<ControlLoop stopped,")
        assert repr(engine).startswith("<Engine stopped,")
        assert "WorkerTier" not in repr(engine._tiers)


async def test_a_schedule_shows_its_items_and_the_next_one() -> None:
    """The number of items and the seconds until the next one is due."""
    schedule: Schedule[str] = Schedule(lambda _: None, lambda: 10.0)
    assert repr(schedule) == "<Schedule 0 items, closed>"
    schedule.add("a", 12.5)
    schedule.open(asyncio.get_running_loop())
    assert repr(schedule) == "<Schedule 1 items, next in 2.500 s, open>"
    schedule.close()


async def test_dead_letters_and_the_gate_show_their_numbers() -> None:
    """How many letters there are and may be, and how many events a bounded queue takes."""
    queue = CollectorQueue([Collector("c", answer)], logging=False, max_queue_size=3, max_dead_letters=7)
    assert repr(queue.dead_letters) == "<DeadLetters 0 of 0 events, at most 7, lost=0>"
    gate = queue._dispatcher.gate
    gate.claim()
    assert repr(gate) == "<Gate crowded, room for 2>"


async def test_reports_show_their_interval_and_messages_in_flight() -> None:
    """The interval while the timer runs, and the messages that are being sent."""

    async def send(_metrics: Any = None) -> None:
        """Send nothing."""

    reports = Reports(5.0, lambda: None, send, None)  # type: ignore[arg-type,return-value]
    assert repr(reports) == "<Reports stopped, 0 messages in flight>"
    reports.start(asyncio.get_running_loop())
    reports.send(send())
    assert repr(reports) == "<Reports every 5.0 s, 1 messages in flight>"
    reports.stop()
    await reports.finish(None)
