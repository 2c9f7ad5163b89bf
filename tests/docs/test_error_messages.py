"""The messages in docs/errors.md are those that the errors have."""

import asyncio
import functools
import multiprocessing
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from event_collector import (
    Batch,
    CallTimeout,
    Collector,
    CollectorQueue,
    ConfigError,
    Context,
    DeadlineExceeded,
    Delivery,
    EncodeError,
    Error,
    EventCancelled,
    EventDropped,
    HandlerTimeout,
    HeartbeatTimeout,
    JournalError,
    MonitorError,
    Payload,
    PayloadTypeError,
    QueueFull,
    QueueShutDown,
    RemoteError,
    collector,
)
from event_collector.journal.file import JournalFile
from event_collector_workers import JobTimeout, PoolBroken, ScaledProcessPoolExecutor, WorkerCrashed, WorkerStartError
from tests.docs import error_programs
from tests.docs.error_programs import Order, bill, database, handle, shop
from tests.docs.pages import ROOT, matches, section
from tests.event_collector.modes import Log, hurry, until
from tests.event_collector.sample_attempts import wait_for, wait_for_async

BOUND = 60.0
"""Seconds that anything may take before a test gives up."""


@pytest.fixture
def anyio_backend() -> str:
    """Run on one event loop only: words do not depend on it."""
    return "asyncio"


def assert_documented(error: BaseException) -> None:
    """The section of the error's class has a message that fits this one."""
    messages = [block.text for block in section(ROOT / "docs/errors.md", f"`{type(error).__name__}`")]
    text = str(error).replace("tests.docs.error_programs.", "handlers.")
    assert any(matches(message, text) for message in messages), f"{type(error).__name__}: {error}"


async def outcome(collector: Collector, value: Any, **options: Any) -> BaseException:
    """Send one payload and return the exception in its result."""
    async with asyncio.timeout(BOUND), CollectorQueue([collector], logging=False, max_workers=1, **options) as queue:
        event = await queue.get_publisher().send(Payload(value))
        result = (await event.wait()).first()
    assert isinstance(result, Error)
    assert isinstance(result.err, BaseException)
    return result.err


async def start(*collectors: Collector) -> None:
    async with asyncio.timeout(BOUND), CollectorQueue(list(collectors), logging=False, max_workers=1):
        pass


def with_lock() -> Collector:
    return Collector("orders", handle, ctx=Context({"lock": threading.Lock()}))


async def start_within_a_worker() -> None:
    process = multiprocessing.current_process()
    process._inheriting = True  # type: ignore[attr-defined]  # as while a worker imports the main module
    try:
        await start(Collector("orders", handle))
    finally:
        del process._inheriting  # type: ignore[attr-defined]


async def send_in_another_thread() -> None:
    async with asyncio.timeout(BOUND), CollectorQueue([Collector("orders", error_programs.pack_here)]) as queue:
        await asyncio.to_thread(queue.get_publisher().send_nowait, Payload(1))


def batched(handler: Callable[..., Any], **options: Any) -> Collector:
    return Collector("orders", handler, batch=Batch(max_size=2), **options)


async def parts_of(collector: Collector[Any, Any], *, late: bool = False, times: int = 1) -> None:
    """Read the parts of an event."""
    async with asyncio.timeout(BOUND), CollectorQueue([collector], logging=False) as queue:
        event = queue.submit("orders", 100)
        if late:
            await event.wait()
        for _ in range(times):
            async for _ in event.parts():
                pass


async def read_twice() -> None:
    await parts_of(Collector("orders", error_programs.count, mode="thread"), times=2)


async def read_too_late() -> None:
    await parts_of(Collector("orders", error_programs.count, mode="thread"), late=True)


async def read_nothing() -> None:
    await parts_of(Collector("orders", error_programs.number, mode="thread"))


MISTAKES: dict[str, Callable[[], Any]] = {
    "a plain function as a coroutine": lambda: Collector("orders", handle, mode="coroutine"),
    "a lambda in a worker": lambda: start(Collector("orders", lambda payload, ctx: None, mode="process")),
    "a lock in a worker": lambda: start(with_lock()),
    "no main guard": start_within_a_worker,
    "a handler of three arguments": lambda: Collector("orders", error_programs.ship),  # type: ignore[arg-type]
    "an order for a payload": lambda: Collector("orders", error_programs.pack),  # type: ignore[arg-type]
    "an option for the context": lambda: Collector("orders", error_programs.send),
    "anything": lambda: Collector("orders", print),
    "no signature": lambda: Collector("orders", int),
    "parts in an adaptive mode": lambda: Collector("orders", error_programs.count, mode="adaptive"),
    "parts with a journal": lambda: CollectorQueue([Collector("orders", error_programs.count)], journal="orders.db"),
    "a call for parts": lambda: CollectorQueue([Collector("orders", error_programs.count)]).call("orders", 5),
    "two readers": read_twice,
    "parts that were dropped": read_too_late,
    "parts of an ordinary handler": read_nothing,
    "a cache of generators": lambda: Collector("orders", functools.cache(error_programs.count)),
    "a cache of coroutines": lambda: Collector("orders", error_programs.fetch),
    "an order for a batch": lambda: batched(error_programs.pack_all),
    "a batch without results": lambda: batched(error_programs.store_all),
    "a batch that moves": lambda: batched(error_programs.bill_first, mode="adaptive"),
    "a payload alone": lambda: Collector("orders", error_programs.receive),
    "a method of nobody": lambda: Collector("orders", error_programs.Desk.answer),  # type: ignore[arg-type]
    "a decorator without a name": lambda: collector(functools.partial(handle)),
    "a collector of a collector": lambda: Collector("bills", Collector("orders", handle)),
    "a class in the list": lambda: CollectorQueue([object]),
    "a collector without the list": lambda: CollectorQueue(Collector("orders", handle)),  # type: ignore[arg-type]
    "one key twice": lambda: CollectorQueue([Collector("orders", handle), Collector("orders", handle)]),
    "two addresses": lambda: Payload(1, keys=["orders"], topics=["paid"]),
    "another address": lambda: Payload(1, Delivery.KEY, topics=["paid"]),
    "a string as keys": lambda: Payload(1, Delivery.KEY, "orders"),
    "a list of payloads": lambda: CollectorQueue([]).get_publisher().send([Payload(1)]),
    "one payload for many": lambda: CollectorQueue([]).get_publisher().send_many(Payload(1)),  # type: ignore[arg-type]
    "another thread": send_in_another_thread,
    "no consumers": lambda: CollectorQueue([], max_consumers=0),
    "too few workers": lambda: CollectorQueue([], min_workers=4, max_workers=3),
    "an option for the router": lambda: CollectorQueue([], 4),  # type: ignore[arg-type]
    "a timeout as text": lambda: Collector("orders", handle, timeout="5"),  # type: ignore[call-overload]
    "a dict for the context": lambda: Collector("orders", handle, ctx={}),  # type: ignore[call-overload]
    "a call of a stranger": lambda: CollectorQueue([Collector("orders", handle)]).call("oders", 5),
    "a call with a payload": lambda: CollectorQueue([Collector("orders", handle)]).call("orders", Payload(5)),
    "a stream of one value": lambda: CollectorQueue([Collector("orders", handle)]).stream("orders", 5),  # type: ignore[call-overload]
}


async def make(mistake: Callable[[], Any]) -> None:
    made = mistake()
    if isinstance(made, Awaitable):
        await made


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_mistakes(mistake: str) -> None:
    """What cannot work is refused with the documented words."""
    with pytest.raises(ConfigError) as caught:
        await make(MISTAKES[mistake])
    assert_documented(caught.value)


async def test_mistakes_without_an_error_of_ours() -> None:
    """Keys that nobody has, and values of another type, are told with the documented words."""
    documented = [block.text for block in section(ROOT / "docs/errors.md", "Mistakes without an error of ours")]
    made = [Collector("orders", error_programs.pack_here), Collector("bills", error_programs.pack_here)]
    async with asyncio.timeout(BOUND), CollectorQueue(made, logging=False) as queue:
        publisher = queue.get_publisher()
        unreached = await (await publisher.send(Payload(1, Delivery.KEY, ["oders"]))).wait()
        unfit = await (await publisher.send(Payload({"number": 1}, Delivery.KEY, ["orders"]))).wait()
    (note,) = unfit.first().err.__notes__  # type: ignore[union-attr]
    for said in (unreached.first().err, note):  # type: ignore[union-attr]
        assert any(matches(text, said) for text in documented), said


async def test_a_queue_that_is_waited_for_before_its_start() -> None:
    """The log has the documented words."""
    documented = [block.text for block in section(ROOT / "docs/errors.md", "Mistakes without an error of ours")]
    log = Log()
    with hurry(0.0):
        event = await CollectorQueue([Collector("orders", handle)], log=log).get_publisher().send(Payload(1))
        waiting = asyncio.ensure_future(event.wait())
        await until(lambda: log.lines, "the line is there")
    waiting.cancel()
    assert any(matches(text, log.lines[0][1]) for text in documented)


FAILURES: dict[str, tuple[type[Exception], Collector, Any]] = {
    "payload cannot travel": (EncodeError, Collector("orders", handle), object()),
    "result of another type": (EncodeError, Collector("orders", bill), {"number": 1}),
    "payload of another type": (PayloadTypeError, Collector("orders", bill), {"number": "one"}),
    "silent": (HeartbeatTimeout, Collector("orders", handle, heartbeat=0.1), "wait"),
    "too slow": (HandlerTimeout, Collector("orders", handle, timeout=0.1), "wait"),
    "an odd exception": (RemoteError, Collector("orders", handle), "odd"),
    "a crash": (WorkerCrashed, Collector("orders", handle), "exit"),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_failures(failure: str) -> None:
    """What goes wrong with one event is in its result, with the documented words."""
    kind, collector, value = FAILURES[failure]
    error = await outcome(collector, value)
    assert type(error) is kind
    assert_documented(error)


async def test_a_batch_with_too_few_results() -> None:
    """All events of the call have the documented error."""
    async with asyncio.timeout(BOUND), CollectorQueue([batched(error_programs.bill_first)], logging=False) as queue:
        events = await queue.get_publisher().send_many([Payload(1), Payload(2)])
        results = [(await event).first() for event in events]
    for result in results:
        assert isinstance(result, Error)
        assert isinstance(result.err, ConfigError)
        assert_documented(result.err)


async def test_calls_without_an_answer_in_time() -> None:
    """A call with a time limit has the documented error."""
    async with asyncio.timeout(BOUND), CollectorQueue([Collector("orders", handle)], logging=False) as queue:
        with pytest.raises(CallTimeout) as caught:
            await queue.call("orders", "wait", timeout=0.1)
    assert_documented(caught.value)


async def test_refusals() -> None:
    """A full queue, one that has ended, and one that gave up an event say so with the documented words."""
    queue = CollectorQueue([Collector("orders", handle)], logging=False, max_queue_size=2)
    for _ in range(2):
        queue.get_publisher().send_nowait(Payload(1))
    with pytest.raises(QueueFull) as full:
        queue.get_publisher().send_nowait(Payload(1))
    assert_documented(full.value)
    async with queue:
        pass
    with pytest.raises(QueueShutDown) as ended:
        await queue.get_publisher().send(Payload(1))
    assert_documented(ended.value)
    queue = CollectorQueue([Collector("orders", handle)], logging=False, consumer_shutdown_timeout=0.1)
    async with queue:
        event = await queue.get_publisher().send(Payload("wait"))
    given_up = (await event.wait()).first().err  # type: ignore[union-attr]
    assert isinstance(given_up, QueueShutDown)
    assert_documented(given_up)


async def test_events_that_end_while_they_wait() -> None:
    """Cancelled, dropped, or past its deadline, an event says so with the documented words."""
    queue = CollectorQueue([Collector("orders", handle)], logging=False, max_queue_size=1, overflow="drop_newest")
    publisher = queue.get_publisher()
    cancelled = publisher.send_nowait(Payload(1))
    cancelled.cancel()
    late = publisher.send_nowait(Payload(1), deadline=1e-9)
    publisher.send_nowait(Payload(1))
    dropped = publisher.send_nowait(Payload(1))
    for event in (cancelled, late, dropped):
        error = (await event.wait()).first().err  # type: ignore[union-attr]
        assert isinstance(error, (EventCancelled, DeadlineExceeded, EventDropped))
        assert_documented(error)


@pytest.mark.parametrize("mode", ["coroutine", "process"])
async def test_events_that_are_cancelled_in_their_handlers(mode: str, tmp_path: Path) -> None:
    """An event that is cancelled while it runs says where that was, with the documented words."""
    handler = wait_for_async if mode == "coroutine" else wait_for
    collector = Collector("orders", handler, mode=mode)
    async with asyncio.timeout(BOUND), CollectorQueue([collector], logging=False, max_workers=1) as queue:
        event = await queue.get_publisher().send(Payload([str(tmp_path / "begun"), str(tmp_path / "never")]))
        await until((tmp_path / "begun").exists, "it has begun")
        event.cancel()
        assert_documented((await event.wait()).first().err)  # type: ignore[union-attr]


async def test_journals_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In use, foreign, damaged, full, not open: each is said with the documented words."""
    monkeypatch.chdir(tmp_path)
    collector = Collector("orders", handle, mode="thread")
    queue = CollectorQueue([collector], journal="orders.journal", logging=False)
    with pytest.raises(JournalError) as caught:
        await queue.get_publisher().send(Payload(1))
    assert_documented(caught.value)
    async with asyncio.timeout(BOUND), queue:
        second = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "event_collector", "journal", "orders.journal", "drop", "--all",
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "workers")))},
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, said = await second.communicate()
        assert_documented(JournalError(said.decode().strip().removeprefix("event-collector journal: ")))
        monkeypatch.setattr(JournalFile, "apply", full)
        with pytest.raises(JournalError) as caught:
            await queue.get_publisher().send(Payload(1))
        assert_documented(caught.value)
        monkeypatch.undo()
        monkeypatch.chdir(tmp_path)
        with pytest.raises(EncodeError) as refused:
            await queue.get_publisher().send(Payload(Order(1)))
        assert_documented(refused.value)
        Path("orders.journal").rename("elsewhere")
        with pytest.raises(JournalError) as caught:
            await queue.get_publisher().send(Payload(1))
        assert_documented(caught.value)
        Path("elsewhere").rename("orders.journal")
    for damage in (b"text", Path("orders.journal").read_bytes()[:8192]):
        Path("orders.journal").write_bytes(damage)
        with pytest.raises(JournalError) as caught:
            JournalFile("orders.journal")
        assert_documented(caught.value)


async def test_sockets_that_cannot_be_made(tmp_path: Path) -> None:
    """In use, something else in the way, no folder: each is said with the documented words."""

    def watched(path: Path) -> CollectorQueue:
        collector = Collector("orders", handle, mode="thread")
        return CollectorQueue([collector], monitor=path, logging=False)

    (tmp_path / "file").write_text("")
    async with asyncio.timeout(BOUND), watched(tmp_path / "s"):
        for path in (tmp_path / "s", tmp_path / "file", tmp_path / "missing" / "s"):
            with pytest.raises(MonitorError) as caught:
                await watched(path).init_queue()
            assert_documented(MonitorError(str(caught.value).replace("another queue of this", "another")))


def full(file: JournalFile, _changes: Any) -> None:
    """Fail as a full disk does."""
    raise JournalError(f"the journal {file.path} cannot be written: database or disk is full")


async def test_workers_that_cannot_start() -> None:
    """A lifecycle that fails in a worker is the documented error of the start."""
    with pytest.raises(WorkerStartError) as caught:
        await start(Collector("orders", handle, lifecycle=database))
    assert_documented(caught.value)


async def test_workers_that_keep_dying(tmp_path: Path) -> None:
    """When a worker dies and no other can start, events have the documented error."""
    ctx = Context({"closed": str(tmp_path / "closed")})
    collector = Collector("orders", handle, ctx=ctx, lifecycle=shop)
    async with asyncio.timeout(BOUND), CollectorQueue([collector], logging=False, max_workers=1) as queue:
        Path(ctx.closed).touch()
        await (await queue.get_publisher().send(Payload("exit"))).wait()
        result = (await (await queue.get_publisher().send(Payload(1))).wait()).first()
    assert isinstance(result, Error)
    assert isinstance(result.err, PoolBroken)
    assert_documented(result.err)


def test_calls_that_take_too_long() -> None:
    """The future of a call with a time limit has the documented error."""
    with ScaledProcessPoolExecutor(1) as executor:
        with pytest.raises(JobTimeout) as caught:
            executor.submit_with_timeout(0.1, error_programs.rest, 60).result(BOUND)
    assert_documented(caught.value)
