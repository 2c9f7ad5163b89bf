"""Progress and heartbeats of handlers: the same in every mode that runs handlers in the program or its workers."""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import pytest

from event_collector import (
    Collector,
    CollectorQueue,
    ConfigError,
    HandlerTimeout,
    HeartbeatTimeout,
    Payload,
    Retry,
    progress,
)
from event_collector.events.progress_board import MOST, ProgressBoard
from event_collector.handlers.progress_reports import RunningProgress
from event_collector.testing import in_process_workers
from event_collector.watching.snapshot import ProgressSnapshot, decode_snapshot, encode_snapshot
from tests.event_collector.modes import until
from tests.event_collector.sample_progress import STEP, report_in_task, report_in_thread, work, work_asynchronously

pytestmark = pytest.mark.anyio

HEARTBEAT = 40 * STEP
PLAIN: list[tuple[Any, Any]] = [
    (work, "process"), (work, "thread"), (work, "adaptive"), (work_asynchronously, "coroutine"),
    (work_asynchronously, "process"),
]  # fmt: skip
EACH = pytest.mark.parametrize(("handler", "mode"), PLAIN, ids=lambda each: getattr(each, "__name__", each))


async def progress_of(queue: CollectorQueue) -> ProgressSnapshot:
    """Return the progress of the only event, when it has reported some."""
    await until(lambda: bool(queue.snapshot().progress), "a report is in the snapshot")
    return queue.snapshot().progress[0]


@EACH
async def test_a_snapshot_has_the_progress_of_a_running_handler(handler: Any, mode: Any) -> None:
    """Event, collector, numbers and note of the last report; nothing once the handler has ended."""
    async with CollectorQueue([Collector("load", handler, mode=mode)], max_workers=1, logging=False) as queue:
        event = await queue.get_publisher().send(Payload(["wait", 2.5, 10]))
        found = await progress_of(queue)
        assert (found.event, found.collector, found.done, found.total) == (event.id, "load", 2.5, 10)
        assert found.note == "rows, größer"
        assert (found.worker is not None) == (mode == "process")
        assert decode_snapshot(encode_snapshot(queue.snapshot())).progress[0].event == event.id
        event.cancel()
        await event.wait()
        await until(lambda: not queue.snapshot().progress or mode in ("thread", "adaptive"), "it is gone")


@EACH
async def test_a_handler_that_reports_outlives_its_heartbeat(handler: Any, mode: Any) -> None:
    """The heartbeat bounds the time between two reports, not that of the handler."""
    collector = Collector("load", handler, mode=mode, heartbeat=HEARTBEAT)
    async with CollectorQueue([collector], max_workers=1, logging=False) as queue:
        event = await queue.get_publisher().send(Payload(["steps", 80, None]))
        assert (await event.wait()).first().unwrap() == 80


@EACH
async def test_a_silent_handler_is_stopped(handler: Any, mode: Any) -> None:
    """It ends as one over its timeout does, also if it has reported before."""
    collector = Collector("load", handler, mode=mode, heartbeat=0.3, timeout=100)
    async with CollectorQueue([collector], max_workers=1, logging=False) as queue:
        event = await queue.get_publisher().send(Payload(["wait", 1, None]))
        error = (await event.wait()).first().err
        assert isinstance(error, HeartbeatTimeout)
        assert isinstance(error, HandlerTimeout)
        assert "'load'" in str(error)
        assert "0.3 s" in str(error)
        assert "progress()" in str(error)
        if (handler, mode) == (work, "process"):  # a coroutine that waits is in no stack
            assert any(f"in {handler.__name__}" in note for note in error.__notes__)


async def test_the_timeout_holds_for_a_handler_that_reports() -> None:
    """The earlier of both limits ends it."""
    collector = Collector("load", work, heartbeat=HEARTBEAT, timeout=0.3)
    async with CollectorQueue([collector], max_workers=1, logging=False) as queue:
        error = (await (await queue.get_publisher().send(Payload(["steps", 100_000, None]))).wait()).first().err
        assert type(error) is HandlerTimeout


async def test_a_silent_handler_is_tried_again() -> None:
    """A heartbeat that is missed is a failed attempt."""
    collector = Collector("load", work_asynchronously, heartbeat=0.05, retry=Retry(max_attempts=2))
    async with CollectorQueue([collector], logging=False) as queue:
        await (await queue.get_publisher().send(Payload(["wait", 1, None]))).wait()
        letter = next(iter(queue.dead_letters))
        assert letter.attempts == 2


@pytest.mark.parametrize("handler", [report_in_thread, report_in_task])
async def test_threads_and_tasks_of_a_handler_report_for_it(handler: Any) -> None:
    """A thread in a worker, and a task on the event loop."""
    async with CollectorQueue([Collector("load", handler, heartbeat=60)], max_workers=1, logging=False) as queue:
        event = await queue.get_publisher().send(Payload(1))
        found = await progress_of(queue)
        assert (found.event, found.done) == (event.id, 7)
        event.cancel()


async def test_handlers_at_once_have_their_own_progress() -> None:
    """Coroutines on one loop do not mix theirs up."""
    async with CollectorQueue([Collector("load", work_asynchronously)], logging=False, min_consumers=9) as queue:
        events = [await queue.get_publisher().send(Payload(["wait", number, None])) for number in range(5)]
        await until(lambda: len(queue.snapshot().progress) == 5, "all have reported")
        assert [(one.event, one.done) for one in queue.snapshot().progress] == [
            (event.id, number) for number, event in enumerate(events)
        ]
        for event in events:
            event.cancel()


async def test_the_testing_kit_has_progress_and_heartbeats() -> None:
    """Workers in the test's process report, too, and are given up when they do not."""
    with in_process_workers():
        async with CollectorQueue([Collector("load", work, heartbeat=0.3)], logging=False) as queue:
            event = await queue.get_publisher().send(Payload(["wait", 3, 4]))
            found = await progress_of(queue)
            assert (found.done, found.total) == (3, 4)
            assert isinstance((await event.wait()).first().err, HeartbeatTimeout)


def test_outside_of_a_handler_it_does_nothing() -> None:
    """A function that reports can be called by anyone."""
    progress(1, 2, "three")


@pytest.mark.parametrize("wrong", [("1",), (None,), (1, "2"), (True,), (float("nan"),), (1, 2, None)])
def test_wrong_arguments_are_refused(wrong: Any) -> None:
    """Numbers and a text."""
    with pytest.raises(TypeError, match=r"progress\(\) takes numbers and a text"):
        progress(*wrong)


@pytest.mark.parametrize("wrong", [0, -1, "30", True, float("inf")])
def test_a_wrong_heartbeat_is_refused(wrong: Any) -> None:
    """Seconds above 0, at once."""
    with pytest.raises(ConfigError, match="heartbeat takes a number of seconds above 0"):
        Collector("load", work, heartbeat=wrong)


def test_processes_of_an_executor_have_no_heartbeat() -> None:
    """Their reports do not come here: threads of an executor are fine."""
    with ProcessPoolExecutor(1) as executor, pytest.raises(ConfigError, match="mode='process', or timeout="):
        Collector("load", work, mode=executor, heartbeat=1)
    with ThreadPoolExecutor(1) as threads:
        Collector("load", work, mode=threads, heartbeat=1)


async def test_threads_of_an_executor_report() -> None:
    """As the threads of the queue do."""
    with ThreadPoolExecutor(1) as threads:
        collector = Collector("load", work, mode=threads, heartbeat=HEARTBEAT)
        async with CollectorQueue([collector], logging=False) as queue:
            event = await queue.get_publisher().send(Payload(["steps", 60, None]))
            assert (await progress_of(queue)).event == event.id
            assert (await event.wait()).first().unwrap() == 60


def test_the_board_is_bounded() -> None:
    """It forgets those that have reported nothing for the longest time, and those that have ended."""
    board = ProgressBoard()
    for number in range(MOST + 5):
        board.post(RunningProgress(number, None, None, 0.0, None, "", 0.0))
        board.post(RunningProgress(0, None, None, float(number), None, "", 0.0))
    running = {0, 3, MOST}
    assert [(one.event_id, one.done) for one in board.of_running(lambda: running)] == [(MOST, 0.0), (0, MOST + 4)]
    assert len(board._reports) == 2
