"""Lifecycle and context of a collector in worker processes: once in each, around all of its events."""

import asyncio
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from event_collector import Collector, CollectorQueue, Context, Payload
from event_collector.handlers.lifecycle import Lifecycles
from event_collector_workers import WorkerStartError
from tests.event_collector import sample_handlers as handlers
from tests.event_collector.modes import BOUND, ask, assert_alive, error_of, running, until
from tests.event_collector.tiers import sample_lifecycles as lifecycles


def logged(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def pids(path: Path, word: str) -> set[str]:
    return {line.rpartition(" ")[2] for line in logged(path) if line.rpartition(" ")[0] == word}


@pytest.mark.parametrize("lifecycle", [lifecycles.in_one_task, lifecycles.plain_lifecycle])
@pytest.mark.parametrize("handler", [lifecycles.use_context, lifecycles.use_context_async])
async def test_every_worker_opens_and_closes_its_own(
    lifecycle: Any, handler: Callable[..., Any], tmp_path: Path
) -> None:
    """Each worker enters a lifecycle before its first event, keeps one context, and leaves it at the drained end.

    A task group in a lifecycle, which must be left by the task that entered it, is left by that task.
    """
    log = tmp_path / "log"
    ctx = Context({"log": str(log)})
    collector = Collector("c", handler, mode="process", ctx=ctx, lifecycle=lifecycle)
    async with running(collector, autoscale=False, max_consumers=100, max_workers=2) as queue:
        events = [await queue.get_publisher().send(Payload(number)) for number in range(60)]
        answers = [(await event.wait()).first().unwrap() for event in events]
    assert all(opened for _, opened, _ in answers)
    seen: dict[int, list[int]] = {}
    for pid, _, count in answers:
        seen.setdefault(pid, []).append(count)
    assert all(sorted(counts) == list(range(1, len(counts) + 1)) for counts in seen.values())
    assert len(logged(log)) == 4
    assert pids(log, "entered") == pids(log, "left") >= {str(pid) for pid in seen}
    assert len(pids(log, "left")) == 2
    assert list(ctx) == ["log"]


async def test_tasks_of_a_lifecycle_run_while_its_handlers_wait(tmp_path: Path) -> None:
    """A background task of an asynchronous lifecycle runs in the loop of the handlers, while they do."""
    ctx = Context({"log": str(tmp_path / "log")})
    collector = Collector("c", beats, mode="process", ctx=ctx, lifecycle=lifecycles.in_one_task)
    async with running(collector) as queue:
        first = (await ask(queue, 10)).unwrap()
        assert (await ask(queue, 10)).unwrap() >= first + 10


async def beats(payload: Payload[int], ctx: Context) -> int:
    for _ in range(payload.value):
        await asyncio.sleep(0)
    return int(ctx.beats)


async def test_a_lifecycle_that_cannot_be_entered_stops_the_start(tmp_path: Path) -> None:
    """The error of a lifecycle in a worker is the error of the start, with its traceback; nothing is left."""
    queue = CollectorQueue(
        [Collector("c", handlers.act, mode="process", lifecycle=lifecycles.fails_to_open)], logging=False
    )
    async with asyncio.timeout(BOUND):
        with pytest.raises(WorkerStartError, match="no database there") as caught:
            await queue.init_queue()
    assert "fails_to_open" in str(caught.value)
    assert queue.consumer_count() == 0


async def test_a_lifecycle_that_cannot_be_left_ends_its_worker_all_the_same(tmp_path: Path) -> None:
    """The end of the queue is not held up, nor its events touched, by a lifecycle that fails in a worker."""
    collector = Collector("c", handlers.act, mode="process", lifecycle=lifecycles.fails_to_close)
    async with running(collector) as queue:
        await assert_alive(queue)
    assert queue.accounting() == (20, 20, 0, 0, 0, 0)


@pytest.mark.parametrize("mode", ["coroutine", "process"])
async def test_a_lifecycle_that_is_no_context_manager_is_refused(mode: str) -> None:
    """A generator without its decorator stops the start, with an error that says what is missing."""
    handler = handlers.act_async
    queue = CollectorQueue(
        [Collector("c", handler, mode=mode, lifecycle=lifecycles.no_manager)],  # type: ignore[arg-type]
        logging=False,
    )
    async with asyncio.timeout(BOUND):
        with pytest.raises((ValueError, WorkerStartError), match=r"no_manager.*asynccontextmanager"):
            await queue.init_queue()


async def test_a_lifecycle_that_falls_apart_is_seen_and_opened_again(tmp_path: Path) -> None:
    """When a task of a lifecycle fails, the next event is an Error that says so; those after it find it open."""
    log = tmp_path / "log"
    collector = Collector(
        "c", lifecycles.fall, mode="process", ctx=Context({"log": str(log)}), lifecycle=lifecycles.falls_apart
    )
    async with running(collector) as queue:
        assert (await ask(queue, "one")).unwrap() == "one"
        assert (await ask(queue, "fall")).unwrap() == "fall"
        error = await error_of(queue, "two")
        assert "collector 'c': its lifecycle ended by itself" in str(error)
        assert "the heartbeat stopped" in str(error.__cause__)
        for number in range(3):
            assert (await ask(queue, number)).unwrap() == number
    assert [line.split()[0] for line in logged(log)][:3] == ["entered", "left", "entered"]


async def test_a_worker_that_is_killed_is_replaced_by_one_with_a_lifecycle_of_its_own(tmp_path: Path) -> None:
    """The successor of a worker that died has entered the lifecycle before its first event."""
    log = tmp_path / "log"
    collector = Collector(
        "c", handlers.act, mode="process", ctx=Context({"log": str(log)}), lifecycle=lifecycles.plain_lifecycle
    )
    async with running(collector) as queue:
        first = (await ask(queue, ["pid", 0])).unwrap()
        await error_of(queue, ["kill", 9])
        second = (await ask(queue, ["pid", 0])).unwrap()
        assert first != second
    await until(lambda: str(second) in pids(log, "left"), "the second lifecycle is left")
    # A worker that the queue began to start and then had no use for may have entered and left as well.
    assert pids(log, "entered") >= {str(first), str(second)}
    assert pids(log, "left") == pids(log, "entered") - {str(first)}


async def test_two_collectors_in_a_worker_do_not_share_a_context(tmp_path: Path) -> None:
    """Each collector of a worker has a lifecycle, a context and a loop of its own."""
    collectors = [
        Collector(
            key,
            lifecycles.use_context_async,
            mode="process",
            ctx=Context({"log": str(tmp_path / key)}),
            lifecycle=lifecycles.in_one_task,
        )
        for key in ("a", "b")
    ]
    async with running(*collectors) as queue:
        for count in range(1, 4):
            results = await (await queue.get_publisher().send(Payload(0))).wait()
            assert [result.unwrap()[1:] for result in results] == [[True, count]] * 2
    assert len(pids(tmp_path / "a", "left")) == len(pids(tmp_path / "b", "left")) == 1


async def test_what_handlers_leave_behind_does_not_hold_up_the_end() -> None:
    """A task that a handler left in its worker's loop is cancelled when the worker ends."""
    async with running(Collector("c", lifecycles.leaves_a_task, mode="process")) as queue:
        assert (await ask(queue, 5)).unwrap() == 5


async def test_a_handler_that_stops_its_loop_stops_nothing_else() -> None:
    """A handler in a worker that stops the event loop gets an error; the next event has a loop again."""
    async with running(Collector("c", lifecycles.stops_its_loop, mode="process")) as queue:
        assert isinstance(await error_of(queue, "stop"), RuntimeError)
        assert (await ask(queue, 5)).unwrap() == 5


class Manager:
    """Says when it is entered and left, and fails if asked to."""

    def __init__(self, heard: list[str], name: str, error: BaseException | None = None) -> None:
        self.heard, self.name, self.error = heard, name, error

    async def __aenter__(self) -> None:
        self.heard.append(f"{self.name} entered")

    async def __aexit__(self, *exc: object) -> None:
        self.heard.append(f"{self.name} left")
        if self.error is not None:
            raise self.error


class Plain(Manager):
    def __enter__(self) -> None:
        self.heard.append(f"{self.name} entered as plain")

    def __exit__(self, *exc: object) -> None:
        self.heard.append(f"{self.name} left as plain")


def hand_over(manager: Manager, ctx: Context) -> Manager:
    return manager


async def test_lifecycles_are_left_in_reverse_whatever_happens() -> None:
    """Each lifecycle that was entered is left, the last one first, and the errors are all handed back."""
    heard: list[str] = []
    errors = [ValueError("a"), KeyError("b")]
    managers = [Manager(heard, "a", errors[0]), Plain(heard, "p"), Manager(heard, "b", errors[1])]
    entered = Lifecycles()
    for manager in managers:
        await entered.enter(functools.partial(hand_over, manager), Context())
    assert await entered.leave() == [errors[1], errors[0]]
    assert heard == ["a entered", "p entered", "b entered", "b left", "p left", "a left"]
    assert await entered.leave() == []
