"""Handlers that take their worker process with them: one event, one Error, and the queue goes on."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from event_collector import Collector, CollectorQueue, Payload
from event_collector_workers import PoolBroken, WorkerCrashed
from tests.event_collector import sample_handlers as handlers
from tests.event_collector.modes import ask, assert_alive, balanced, error_of, running, until
from tests.event_collector.sample_types import ExitsWhenMade

DEADLY: list[tuple[list[Any], int]] = [
    (["exit", 0], 0),
    (["exit", 99], 99),
    (["sys.exit", 3], 3),
    (["sys.exit", 0], 0),
    (["kill", int(signal.SIGKILL)], -signal.SIGKILL),
    (["kill", int(signal.SIGHUP)], -signal.SIGHUP),
    (["segfault", 0], -signal.SIGSEGV),
]


@pytest.mark.parametrize("handler", [handlers.act, handlers.act_async])
async def test_a_crash_is_the_error_of_one_event(handler: Any) -> None:
    """The event whose handler ends the process gets WorkerCrashed with the exit code; those around it finish."""
    async with running(Collector("deadly", handler, mode="process"), max_workers=2) as queue:
        publisher = queue.get_publisher()
        for deed, exitcode in DEADLY:
            before = [await publisher.send(Payload(["echo", number])) for number in range(10)]
            victim = await publisher.send(Payload(deed))
            after = [await publisher.send(Payload(["echo", number])) for number in range(10)]
            balanced(queue)
            error = (await victim.wait()).first().err  # type: ignore[union-attr]
            assert isinstance(error, WorkerCrashed)
            assert error.exitcode == exitcode
            assert "collector 'deadly'" in str(error)
            assert f"pid {error.pid}" in str(error)
            for events in (before, after):
                assert [(await event.wait()).first().unwrap() for event in events] == list(range(10))
        await assert_alive(queue, 1000)


async def test_a_crash_in_one_collector_leaves_the_others_of_the_event_alone() -> None:
    """A broadcast whose one handler dies has that one Error; coroutine and thread answer beside it."""
    collectors = [
        Collector("coroutine", fine),
        Collector("deadly", handlers.act, mode="process"),
        Collector("thread", fine_too, mode="thread"),
    ]
    async with running(*collectors) as queue:
        for _ in range(3):
            results = await (await queue.get_publisher().send(Payload(["exit", 7]))).wait()
            assert [result.key for result in results] == ["coroutine", "deadly", "thread"]
            assert isinstance(results[1].err, WorkerCrashed)  # type: ignore[union-attr]
            assert [results[0].unwrap(), results[2].unwrap()] == ["fine", "fine"]
            balanced(queue)


async def fine(payload: Payload[Any], ctx: Any) -> str:
    return "fine"


def fine_too(payload: Payload[Any], ctx: Any) -> str:
    return "fine"


@pytest.mark.parametrize("cause", ["decode", "encode"])
async def test_a_crash_in_a_type_of_the_handler_is_a_crash_like_any_other(cause: str) -> None:
    """A process that ends while a payload is decoded or a result encoded costs that event alone."""
    if cause == "decode":
        collector = Collector("c", handlers.untyped, mode="process", payload_type=ExitsWhenMade | int)
        deed: Any = {"code": 5}
    else:
        collector = Collector("c", handlers.act, mode="process")
        deed = ["raise", "exits when shown"]
    async with running(collector) as queue:
        error = await error_of(queue, deed)
        assert isinstance(error, WorkerCrashed)
        assert error.exitcode == 5
        assert not (await ask(queue, 1 if cause == "decode" else ["echo", 1])).is_error


async def test_many_crashes_among_many_events() -> None:
    """Every event has its one result: what kills gets an Error, everything else its answer."""
    async with running(Collector("c", handlers.act, mode="process"), max_workers=2) as queue:
        publisher = queue.get_publisher()
        deeds = [["exit", 1] if number % 25 == 7 else ["echo", number] for number in range(200)]
        events = [await publisher.send(Payload(deed)) for deed in deeds]
        for deed, event in zip(deeds, events, strict=True):
            balanced(queue)
            (result,) = await event.wait()
            if deed[0] == "exit":
                assert isinstance(result.err, WorkerCrashed)  # type: ignore[union-attr]
            else:
                assert result.unwrap() == deed[1]


async def test_nothing_but_crashes_ends_in_errors_and_not_in_a_hang() -> None:
    """Events that all kill their workers all end, at the latest when the breaker opens, which says so."""
    async with running(Collector("c", handlers.act, mode="process"), max_workers=2) as queue:
        events = [await queue.get_publisher().send(Payload(["exit", 1])) for _ in range(60)]
        errors = [(await event.wait()).first().err for event in events]  # type: ignore[union-attr]
        assert all(isinstance(error, (WorkerCrashed, PoolBroken)) for error in errors)
        assert all(str(error).count("collector 'c'") == 1 for error in errors)
        balanced(queue)


@pytest.mark.parametrize("is_running", [False, True])
async def test_a_cancelled_call_costs_nobody_else(is_running: bool, tmp_path: Path) -> None:
    """Cancelling Collector.process() withdraws the event, or ends the worker that runs it; the queue goes on."""
    collector = Collector("c", handlers.act, mode="process")
    async with running(collector) as queue:
        first = (await ask(queue, ["pid", 0])).unwrap()
        mark = tmp_path / "mark"
        call = asyncio.create_task(collector.process(Payload(["linger", str(mark)])))
        await asyncio.sleep(0)
        if is_running:
            await until(mark.exists, "the handler runs")
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await assert_alive(queue)
        if is_running:
            assert (await ask(queue, ["pid", 0])).unwrap() != first


async def test_calls_after_the_end_are_refused() -> None:
    """Collector.process() of a process collector needs its running queue, and says so."""
    collector = Collector("c", handlers.act, mode="process")
    queue = CollectorQueue([collector], logging=False, max_workers=1)
    with pytest.raises(ValueError, match="only a running CollectorQueue"):
        await collector.process(Payload(["echo", 1]))
    async with queue:
        assert (await collector.process(Payload(["echo", 1]))).unwrap() == 1
    with pytest.raises(ValueError, match="only a running CollectorQueue"):
        await collector.process(Payload(["echo", 1]))


async def test_a_stopped_worker_is_replaced_at_its_deadline() -> None:
    """A worker that SIGSTOP holds in its event is killed at the collector's timeout, and replaced."""
    collector = Collector("c", handlers.act, mode="process", timeout=0.5)
    async with running(collector) as queue:
        assert isinstance(await error_of(queue, ["stop", 0]), TimeoutError)
        await assert_alive(queue)
