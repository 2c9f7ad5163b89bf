"""The queue for programs without an event loop."""

import asyncio
import builtins
import gc
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psutil
import pytest

from event_collector import CallTimeout, Collector, ConfigError, QueueShutDown, collector
from event_collector.sync import Queue
from tests.event_collector.calls.test_stream import Source
from tests.event_collector.modes import BOUND, MODES, place


@collector
async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


@collector
async def invert(number: int) -> float:
    return 1 / number


@collector
async def forever(number: int) -> int:
    await asyncio.Event().wait()
    return number


def queue_of(*collectors: Collector, **options: Any) -> Queue:
    return Queue(list(collectors), logging=False, **{"max_workers": 1, **options})


def until(condition: Any, what: str) -> None:
    """Wait until `condition()` holds."""
    end = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.005)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "event_collector"]


@pytest.mark.parametrize("mode", MODES)
def test_a_program_without_a_loop_uses_every_mode(mode: str) -> None:
    with place(mode) as where, queue_of(Collector("act", MODES[mode], mode=where), double) as queue:
        assert queue.call("act", ["echo", 7]) == 7
        with pytest.raises(KeyError):
            queue.call("act", ["raise", "key"])
        values = [["echo", number] for number in range(30)]
        assert [result.unwrap() for result in queue.stream("act", values, ahead=8)] == list(range(30))
        assert list(queue.pipeline("act", double, ahead=8).map(values)) == list(range(0, 60, 2))
        assert queue.submit("act", ["echo", 8]).result(BOUND) == 8
    assert threads() == []


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("ahead", [1, 5, 1000])
def test_results_come_for_all_values(ordered: bool, ahead: int) -> None:
    with queue_of(double) as queue:
        results = [result.unwrap() for result in queue.stream(double, range(2000), ahead=ahead, ordered=ordered)]
        assert (results if ordered else sorted(results)) == list(range(0, 4000, 2))


def test_values_are_taken_in_the_thread_of_the_loop_over_results() -> None:
    taken_in = set()

    def values() -> Iterator[int]:
        for number in range(20):
            taken_in.add(threading.get_ident())
            yield number

    with queue_of(double) as queue:
        assert list(queue.map(double, values())) == list(range(0, 40, 2))
    assert taken_in == {threading.get_ident()}


def test_no_more_values_are_taken_than_allowed() -> None:
    source, seen = Source(100), 0
    with queue_of(double) as queue:
        for _ in queue.stream(double, source, ahead=5):
            seen += 1
            assert source.taken - seen < 5
    assert seen == 100


def test_errors_are_results_and_map_raises_the_first() -> None:
    with queue_of(invert) as queue:
        results = list(queue.stream(invert, [1, 0, 2]))
        assert [result.is_error for result in results] == [False, True, False]
        values = queue.map(invert, [1, 0, 2])
        assert next(values) == 1
        with pytest.raises(ZeroDivisionError):
            next(values)


def test_a_stream_feeds_another() -> None:
    with queue_of(double, invert) as queue:
        assert list(queue.map(invert, queue.map(double, [1, 2, 4]))) == [0.5, 0.25, 0.125]


@pytest.mark.parametrize("ordered", [True, False])
def test_a_stage_that_yields_is_held_back(ordered: bool) -> None:
    """A value has any number of results, and few of them wait for the loop."""
    given = []

    async def count(number: int) -> AsyncIterator[int]:
        for part in range(number):
            given.append(part)
            yield part

    with queue_of(Collector("count", count), double) as queue:
        pipeline = queue.pipeline("count", double, ahead=10, ordered=ordered)
        numbers = [3, 0, 50, 1]
        expected = sorted(2 * part for number in numbers for part in range(number))
        assert sorted(pipeline.map(numbers)) == expected
        given.clear()
        for seen, _ in enumerate(pipeline.stream([100_000]), 1):
            assert len(given) <= seen + 10 + 2 * 16 + 1
            if seen == 100:
                break


@pytest.mark.parametrize("stages", [[forever], [double, forever]])
def test_the_end_of_the_block_ends_streams_that_other_threads_read(stages: list[Collector]) -> None:
    source = Source(1000)
    options = {"min_consumers": 1, "max_consumers": 1, "consumer_shutdown_timeout": 0.05}
    with ThreadPoolExecutor(1) as pool, queue_of(double, forever, **options) as queue:
        values = queue.pipeline(double, *stages, ahead=10).stream(source)
        reader = pool.submit(next, values)
        until(lambda: queue.accounting().in_handlers == 1 and source.taken == 10, "one is in the last handler")
        assert queue.accounting().queued
    with pytest.raises(QueueShutDown, match="has ended with its queue"):
        reader.result(BOUND)
    assert queue.accounting().finished == queue.accounting().accepted


def test_a_loop_that_is_left_leaves_nothing_behind() -> None:
    source = Source(1000)
    with queue_of(double) as queue:
        for result in queue.stream(double, source, ahead=10):
            assert result.unwrap() == 0
            break
        gc.collect()
        assert source.taken <= 11
        account = queue.accounting()
        assert account.accepted == account.finished
        assert (
            queue._look(lambda: [task.get_name() for task in asyncio.all_tasks() if "tream" in task.get_name()]) == []
        )


def test_an_error_of_the_source_is_raised() -> None:
    with queue_of(double) as queue:
        with pytest.raises(OSError, match="the source is broken"):
            list(queue.stream(double, Source(10, fail_at=5)))
        assert queue.call(double, 1) == 2


def test_an_error_within_the_block_withdraws_its_streams() -> None:
    """It comes out of the block, and nothing of the stream is worked on first."""
    queue = queue_of(double, min_consumers=1, max_consumers=1)

    def fail() -> None:
        with queue:
            for _ in queue.stream(double, range(1_000_000), ahead=100_000):
                raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert queue.accounting().accepted < 1_000_000
    assert queue.accounting().queued == 0


def test_a_call_has_a_timeout() -> None:
    with queue_of(forever) as queue, pytest.raises(CallTimeout):
        queue.call(forever, 1, timeout=0.02)


def test_cancelling_a_future_cancels_its_event() -> None:
    with queue_of(forever) as queue:
        future = queue.submit(forever, 1)
        until(lambda: queue.accounting().in_handlers == 1, "it has begun")
        assert future.cancel()
        until(lambda: queue.accounting().finished == 1, "it has ended")


def test_the_end_of_the_block_finishes_what_was_submitted() -> None:
    with queue_of(double) as queue:
        futures = [queue.submit(double, number) for number in range(100)]
    assert [future.result(0) for future in futures] == list(range(0, 200, 2))


def test_the_end_of_the_block_cancels_what_takes_too_long() -> None:
    with queue_of(forever, consumer_shutdown_timeout=0.05) as queue:
        future = queue.submit(forever, 1)
    assert future.cancelled()
    assert queue.accounting().finished == queue.accounting().accepted


def test_lifecycles_open_and_close() -> None:
    steps = []

    @asynccontextmanager
    async def lifecycle(ctx: Any) -> Any:
        steps.append("open")
        yield
        steps.append("close")

    with queue_of(Collector("double", double.handler, lifecycle=lifecycle)) as queue:
        assert queue.call("double", 1) == 2
        assert steps == ["open"]
    assert steps == ["open", "close"]


@pytest.mark.parametrize("moment", ["start", "end"])
def test_an_error_of_a_lifecycle_comes_out(moment: str) -> None:
    @asynccontextmanager
    async def lifecycle(ctx: Any) -> Any:
        if moment == "start":
            raise ConnectionError("no database")
        yield
        raise ConnectionError("no database")

    queue = queue_of(Collector("double", double.handler, lifecycle=lifecycle))
    with pytest.raises(ConnectionError, match="no database"), queue:
        assert moment == "end"
    assert threads() == []


def test_wrong_options_are_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="max_consumers must be"):
        queue_of(double, max_consumers=0)


@pytest.mark.parametrize("use", ["call", "submit", "stream", "map"])
def test_a_queue_that_does_not_run_says_so(use: str) -> None:
    queue = queue_of(double)
    act = getattr(queue, use)
    argument = 1 if use in ("call", "submit") else [1]
    with pytest.raises(QueueShutDown, match="use it within the block of `with Queue"):
        act(double, argument)
    with queue:
        later = queue.map(double, [1])
    with pytest.raises(QueueShutDown, match="use it within the block of `with Queue"):
        act(double, argument)
    with pytest.raises(QueueShutDown, match="has ended with its queue"):
        next(later)
    assert queue.accounting().accepted == 0
    assert queue.get_metrics().consumers == 0


def test_a_queue_runs_again() -> None:
    queue = queue_of(double)
    for _ in range(2):
        with queue:
            assert queue.call(double, 2) == 4
            with pytest.raises(ConfigError, match="runs already"):
                queue.__enter__()
    assert repr(queue).startswith("<Queue of <CollectorQueue-")


def test_many_threads_use_one_queue() -> None:
    def work(first: int) -> list[int]:
        values = range(first, first + 100)
        return [queue.call(double, first), *queue.map(double, values, ahead=7)]

    with queue_of(double) as queue, ThreadPoolExecutor(8) as pool:
        for first, answers in zip(range(0, 800, 100), pool.map(work, range(0, 800, 100)), strict=True):
            assert answers == [2 * first, *range(2 * first, 2 * first + 200, 2)]


async def test_a_thread_with_an_event_loop_is_told_of_the_other_queue() -> None:
    queue = queue_of(double)
    with pytest.raises(ConfigError, match="use CollectorQueue there, with `await`"), queue:
        raise AssertionError
    await asyncio.to_thread(queue.__enter__)
    try:
        with pytest.raises(ConfigError, match="use CollectorQueue there"):
            queue.call(double, 1)
        with pytest.raises(ConfigError, match="use CollectorQueue there"):
            next(queue.stream(double, [1]))
    finally:
        await asyncio.to_thread(queue.__exit__, None, None, None)


async def test_a_cell_of_a_notebook_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """IPython, which runs cells in the thread of its event loop, names itself."""
    monkeypatch.setattr(builtins, "get_ipython", lambda: None, raising=False)
    with queue_of(double) as queue:
        assert queue.call(double, 4) == 8
        assert list(queue.map(double, [1, 2])) == [2, 4]


def test_a_handler_of_its_own_queue_is_refused() -> None:
    async def nested(number: int) -> Any:
        return queue.call(double, number)

    with queue_of(double, Collector("nested", nested)) as queue:
        with pytest.raises(ConfigError, match="use CollectorQueue there"):
            queue.call("nested", 1)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [(5, {}, "takes an iterable of values, not int"), ([], {"ahead": 0}, "ahead takes a whole number")],
)
def test_wrong_arguments_are_refused_at_the_call(values: Any, options: Any, message: str) -> None:
    with queue_of(double) as queue:
        with pytest.raises(ConfigError, match=message):
            queue.stream(double, values, **options)
        with pytest.raises(ConfigError, match="is no collector of this queue"):
            queue.stream("other", [])


@pytest.mark.parametrize("way", ["call", "submit", "map"])
def test_an_interruption_at_any_bytecode_leaves_nothing_behind(way: str) -> None:
    command = [sys.executable, "-W", "error", "-m", "tests.event_collector.interrupted_steps", way]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BOUND, check=True)
    left, interruptions = map(int, done.stdout.split())
    assert (left, done.stderr) == (0, "")
    assert interruptions > 100


@contextmanager
def script(moment: str) -> Iterator["subprocess.Popen[str]"]:
    """The script of the same folder, up to the moment at which it may be interrupted."""
    command = [sys.executable, "-m", "tests.event_collector.interrupted_script", moment]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("ready"):
                    break
            yield process
        finally:
            process.kill()


def interrupt(process: "subprocess.Popen[str]") -> tuple[list[str], str]:
    """Interrupt it, and return the lines that it prints to its end, and what it says on standard error."""
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    printed, said = process.communicate(timeout=BOUND)
    assert psutil.wait_procs(workers, timeout=BOUND)[1] == []
    return printed.splitlines(), said


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("start", ["interrupted"]),
        ("call", ["cancelled", "close", "interrupted"]),
        ("submit", ["cancelled", "close", "interrupted"]),
        ("process", ["close", "interrupted"]),
        ("stream", ["finished", "close", "interrupted"]),
    ],
)
def test_an_interruption_ends_all_in_order(moment: str, expected: list[str]) -> None:
    """Handlers come to an end, lifecycles close, workers are gone, and then KeyboardInterrupt comes out."""
    with script(moment) as process:
        printed, said = interrupt(process)
    while printed[:2] == ["finished", "ready"]:  # a value that ended before the signal came
        del printed[:2]
    assert (printed, said) == (expected, "")


def test_an_interruption_of_the_body_withdraws_its_stream() -> None:
    with script("body") as process:
        printed, said = interrupt(process)
    assert printed[-2:] == ["close", "interrupted"]
    assert len(printed) < 500
    assert said == ""


def test_a_second_interruption_cancels_the_handlers_of_a_stream() -> None:
    with script("twice") as process:
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert process.stdout.readline() == "ending\n"
        assert interrupt(process) == (["cancelled", "close", "interrupted"], "")
