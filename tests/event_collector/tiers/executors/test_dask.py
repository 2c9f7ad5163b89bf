"""Collectors in the workers of a Dask cluster: a real one, of processes, whose workers and scheduler are killed."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from event_collector import (
    Batch,
    Collector,
    CollectorQueue,
    ConfigError,
    Context,
    Error,
    ExecutorLost,
    HandlerTimeout,
    Payload,
    PayloadTypeError,
    Retry,
    WorkerCrashed,
    dask_workers,
)
from event_collector.tiers.executors.dask import dask_workers as executor
from tests.docs.test_error_messages import assert_documented
from tests.event_collector import sample_handlers as handlers
from tests.event_collector.modes import ask, assert_alive, balanced_all_along, error_of, hurry, running, until
from tests.event_collector.sample_types import Order, Receipt
from tests.event_collector.tiers import sample_batches as batches
from tests.event_collector.tiers import sample_lifecycles as lifecycles
from tests.event_collector.tiers.executors import sample_dask as there
from tests.event_collector.tiers.workers.test_worker_lifecycle import logged, pids

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")

WORKERS = 2


async def near(payload: Payload[Any], ctx: Context) -> Any:
    return payload.value


@pytest.fixture
def anyio_backend() -> str:
    """One event loop is enough here: what differs between them happens elsewhere."""
    return "asyncio"


@contextlib.contextmanager
def started(workers: int) -> Iterator[Any]:
    """A client of a small cluster of processes."""
    impatience = {"distributed.comm.timeouts.connect": "2s"}  # to a scheduler that is stopped
    with (
        dask.config.set(impatience),
        distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=":0", silence_logs="CRITICAL"
        ) as cluster,
    ):
        client = distributed.Client(cluster, set_as_default=False)
        yield client
        client.close(timeout=5)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """One cluster for all of this module."""
    with started(WORKERS) as found:
        yield found


@pytest.fixture
def ready(client: Any) -> Any:
    """The client, once all workers are there, or others in place of those that an earlier test has ended."""
    missing = WORKERS - len(client.nthreads())
    if missing > 0:
        client.cluster.scale(len(client.cluster.worker_spec) + missing)
    client.wait_for_workers(WORKERS, timeout=30)
    return client


async def test_events_come_back_as_from_worker_processes(ready: Any) -> None:
    """Values, types, exceptions and tracebacks are those of mode process, event by event; equal payloads run each."""
    collectors = [
        Collector("act", handlers.act, mode=dask_workers(ready)),
        Collector("async", handlers.act_async, mode=ready.get_executor()),
    ]
    async with running(*collectors) as queue:
        publisher = queue.get_publisher()
        events = await publisher.send_many(Payload(["echo", number % 3]) for number in range(400))
        for number, event in enumerate(events):
            assert [result.unwrap() for result in await event.wait()] == [number % 3] * 2
        failed, same = await (await publisher.send(Payload(["raise", "chained"]))).wait()
        assert isinstance(failed, Error)
        assert isinstance(failed.err, ValueError)
        assert "sample_handlers.py" in str(failed.err.__cause__)
        assert "batch_host" not in str(failed.err.__cause__)
        assert type(same.err) is ValueError  # type: ignore[union-attr]
    assert [collector.usage.completions for collector in collectors] == [401, 401]


async def test_types_are_checked_in_dask_workers(ready: Any) -> None:
    """A payload is decoded into what the handler asks for, and its result into what it promises."""
    async with running(Collector("c", there.take_order, mode=dask_workers(ready))) as queue:
        assert (await ask(queue, Order(4))).unwrap() == Receipt(8)
        assert isinstance(await error_of(queue, {"number": "four"}), PayloadTypeError)


async def test_a_batch_is_one_call_in_a_dask_worker(ready: Any) -> None:
    """A call that raises is repeated for each of its events; only the guilty one fails."""
    collector = Collector("c", batches.act, mode=dask_workers(ready), batch=Batch(3, 60.0))
    async with running(collector) as queue:
        first, second, third = [await queue.get_publisher().send(value) for value in (1, "raise", 3)]
        assert [(await event.value()) for event in (first, third)] == [[1, 1], [1, 3]]
        with pytest.raises(ValueError, match="a bad item"):
            await second.value()
        events = [await queue.get_publisher().send(value) for value in range(3)]
        assert [await event.value() for event in events] == [[3, 0], [3, 1], [3, 2]]
    assert collector.usage.completions == 6


async def test_a_lifecycle_belongs_to_a_worker_and_ends_with_the_queue(ready: Any, tmp_path: Path) -> None:
    """Each worker opens a collector once, for all events, and leaves its lifecycle when the queue ends."""
    log = tmp_path / "log"
    collector = Collector(
        "c",
        lifecycles.use_context_async,
        mode=dask_workers(ready),
        ctx=Context({"log": str(log)}),
        lifecycle=lifecycles.in_one_task,
    )
    async with running(collector) as queue:
        events = await queue.get_publisher().send_many(Payload(number) for number in range(200))
        answers = [(await event.wait()).first().unwrap() for event in events]
        assert pids(log, "left") == set()
    seen = {str(pid) for pid, opened, _ in answers if opened}
    assert seen == pids(log, "entered") == pids(log, "left")
    assert len(logged(log)) == 2 * len(seen)


async def test_a_timeout_is_one_event_s_error(ready: Any) -> None:
    """A handler over its time ends with HandlerTimeout, counted from its start; the worker serves on."""
    collector = Collector("c", handlers.act, mode=dask_workers(ready), timeout=1.0)
    async with running(collector) as queue:
        await assert_alive(queue, 50)
        assert isinstance(await error_of(queue, ["sleep", 2]), HandlerTimeout)
        await assert_alive(queue, 50)


async def test_in_flight_is_what_the_cluster_has(ready: Any, tmp_path: Path) -> None:
    """Tasks wait in the queue, not in the scheduler: two for each thread of the cluster."""
    go = tmp_path / "go"
    threads = sum(ready.nthreads().values())
    collector = Collector("c", there.wait_for, mode=dask_workers(ready))
    async with running(collector) as queue:
        payloads = [Payload([str(tmp_path / "ran"), str(go)]) for _ in range(40)]
        events = await queue.get_publisher().send_many(payloads)
        await until(lambda: there.count(tmp_path / "ran") == threads, "the workers are busy")
        assert ready.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)) <= 2 * threads
        go.touch()
        assert len({(await event.wait()).first().unwrap() for event in events}) == threads


async def test_a_worker_that_dies_costs_its_batch_and_runs_nothing_twice(ready: Any, tmp_path: Path) -> None:
    """A killed worker's events fail without retry=; every event ran once at most, and the others all."""
    paths = [str(tmp_path / str(number)) for number in range(300)]
    async with running(Collector("orders", there.run, mode=dask_workers(ready))) as queue, balanced_all_along(queue):
        events = await queue.get_publisher().send_many(
            Payload(["die" if number == 200 else "live", path]) for number, path in enumerate(paths)
        )
        results = [(await event.wait()).first() for event in events]
    failed = {number for number, result in enumerate(results) if isinstance(result, Error)}
    assert 200 in failed
    assert all(isinstance(results[number].err, WorkerCrashed) for number in failed)  # type: ignore[union-attr]
    assert_documented(results[200].err)  # type: ignore[union-attr]
    assert all(there.count(path) <= 1 for path in paths)
    assert all(there.count(path) == 1 for number, path in enumerate(paths) if number not in failed)


async def test_a_worker_that_dies_in_a_batch_costs_the_event_that_killed_it(ready: Any) -> None:
    """Each event of the batch is tried alone then."""
    collector = Collector("c", batches.act, mode=dask_workers(ready), batch=Batch(3, 60.0))
    async with running(collector) as queue, balanced_all_along(queue):
        first, guilty, third = [await queue.send(value) for value in (1, "crash", 3)]
        assert [await event.value() for event in (first, third)] == [[1, 1], [1, 3]]
        with pytest.raises(WorkerCrashed):
            await guilty.value()


async def test_retries_run_the_events_of_a_dead_worker_again(ready: Any, tmp_path: Path) -> None:
    """With retry= they run again, counted: the one that killed alone, and the innocent ones succeed."""
    paths = [str(tmp_path / str(number)) for number in range(60)]
    retry = Retry(max_attempts=3, backoff=0.01)
    async with running(Collector("c", there.run, mode=dask_workers(ready), retry=retry)) as queue:
        events = await queue.get_publisher().send_many(
            Payload(["die once" if number == 45 else "live", path]) for number, path in enumerate(paths)
        )
        attempts = [(await event.wait()).first().unwrap() for event in events]
    assert attempts[45] == 2
    assert set(attempts) <= {1, 2}
    assert there.count(paths[45]) == 2
    assert all(there.count(path) <= made for path, made in zip(paths, attempts, strict=True))


async def test_what_dask_cannot_have_is_refused(ready: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """pure=True, a handler of the main module for workers elsewhere, and no client: errors that say what to do."""
    with pytest.raises(ConfigError, match=r"computes equal events once: use dask_workers\(client\)"):
        async with running(Collector("c", handlers.act, mode=ready.get_executor(pure=True))):
            pytest.fail("it started")
    with pytest.raises(ConfigError, match="takes a dask"):
        dask_workers("tcp://127.0.0.1:8786")  # type: ignore[arg-type]
    with distributed.Client(ready.cluster.scheduler_address, set_as_default=False) as stranger:
        mine = type(sys)("__main__")
        monkeypatch.setitem(sys.modules, "__main__", mine)

        def handler(payload: Payload[Any], ctx: Context) -> Any:
            return None

        handler.__module__, handler.__qualname__ = "__main__", "handler"
        mine.handler = handler  # type: ignore[attr-defined]
        with pytest.raises(ConfigError, match="this program's main module"):
            async with running(Collector("c", handler, mode=dask_workers(stranger))):
                pytest.fail("it started")


def test_the_command_runs_a_handler_in_a_cluster(ready: Any, tmp_path: Path) -> None:
    """`event-collector run --dask ADDRESS` processes its lines in the workers there."""
    command = [sys.executable, "-m", "event_collector", "run", "--quiet", "--dask", ready.cluster.scheduler_address]
    done = subprocess.run(
        [*command, "tests.event_collector.sample_handlers:act"],
        input='["pid", 0]\n["echo", 5]\n["raise", "key"]\n',
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    first, second, third = map(json.loads, done.stdout.splitlines())
    workers = set(ready.run(os.getpid).values())
    assert first["ok"] in workers
    assert second == {"id": 2, "ok": 5}
    assert third["error"]["type"] == "KeyError"
    assert (done.returncode, done.stderr) == (1, "")


async def test_a_task_is_begun_once_and_by_its_own_worker_only() -> None:
    """The scheduler grants a task to the worker that has it, once; not to one that lost it, nor a forgotten one."""
    from event_collector.tiers.executors.dask.plugins import Claims

    def on(worker: str) -> Any:
        return SimpleNamespace(processing_on=SimpleNamespace(address=worker))

    tasks = {"a": on("one"), "released": SimpleNamespace(processing_on=None)}
    scheduler: Any = SimpleNamespace(tasks=tasks, handlers={})
    claims = Claims()
    await claims.start(scheduler)
    claim = scheduler.handlers["event_collector_claim"]
    assert claim(key="a", worker="two") == (False, "two")
    assert claim(key="a", worker="one") == (True, "one")
    tasks["a"] = on("two")
    assert claim(key="a", worker="two") == (False, "one")
    assert claim(key="a", worker="one") == (False, "one")
    assert claim(key="released", worker="one") == (False, "one")
    claims.transition("a", "memory", "forgotten")
    del tasks["a"]
    assert claim(key="a", worker="two") == (False, "two")


async def test_a_scheduler_that_knows_of_no_claims_has_nothing_run(ready: Any, tmp_path: Path) -> None:
    """One that was restarted at its address would grant anything: the events end, and say what to do."""

    def forget(dask_scheduler: Any) -> None:
        dask_scheduler.handlers.pop("event_collector_claim")

    def remember(dask_scheduler: Any) -> None:
        claims = dask_scheduler.plugins["event_collector claims"]
        dask_scheduler.handlers["event_collector_claim"] = claims.claim

    path = tmp_path / "ran"
    async with running(Collector("orders", there.run, mode=dask_workers(ready))) as queue:
        ready.run_on_scheduler(forget)
        error = await error_of(queue, ["live", str(path)])
        ready.run_on_scheduler(remember)
        assert isinstance(error, ExecutorLost)
        assert_documented(error)
        assert there.count(path) == 0
        assert (await ask(queue, ["live", str(path)])).unwrap() == 1


def test_an_address_without_a_scheduler_is_told() -> None:
    """Nobody there, or no address at all: an error that names it."""
    with hurry(0.3), pytest.raises(ExecutorLost, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        executor.connected("tcp://127.0.0.1:9").__enter__()
    with pytest.raises(ConfigError, match="'nowhere://x' is no address of a Dask scheduler"):
        executor.connected("nowhere://x").__enter__()


async def test_a_worker_that_is_retired_does_not_run_an_event_twice(ready: Any, tmp_path: Path) -> None:
    """Dask gives what runs in a worker that it retires to another: there it is refused, and counts as lost."""
    path, go = tmp_path / "ran", tmp_path / "go"
    async with running(Collector("c", there.wait_for, mode=dask_workers(ready))) as queue:
        event = await queue.get_publisher().send(Payload([str(path), str(go)]))
        await until(lambda: there.count(path), "the handler runs")
        (address,) = [where for where, keys in ready.processing().items() if keys]
        retired = asyncio.create_task(asyncio.to_thread(ready.retire_workers, [address]))
        result = (await event.wait()).first()
        go.touch()
        await retired
        assert isinstance(result, Error)
        assert isinstance(result.err, WorkerCrashed)
        assert there.count(path) == 1


async def test_a_scheduler_that_is_gone_fails_its_events_and_no_others(tmp_path: Path) -> None:
    """Its events end with ExecutorLost at once, later ones too; the queue goes on."""
    path, go = tmp_path / "ran", tmp_path / "go"
    with started(1) as client:
        collectors = [Collector("orders", there.wait_for, mode=dask_workers(client)), Collector("near", near)]
        queue = CollectorQueue(collectors, logging=False)
        async with asyncio.timeout(60), queue:
            publisher = queue.get_publisher()
            event = await publisher.send(Payload([str(path), str(go)]))
            await until(lambda: there.count(path), "the handler runs")
            stopped = asyncio.create_task(asyncio.to_thread(client.cluster.sync, client.cluster.scheduler.close))
            error = (await event.wait())[0].err  # type: ignore[union-attr]
            assert isinstance(error, ExecutorLost)
            assert_documented(error)
            for number in range(3):
                far, here = await (await publisher.send(Payload(number))).wait()
                assert isinstance(far.err, ExecutorLost)  # type: ignore[union-attr]
                assert_documented(far.err)
                assert here.unwrap() == number
            go.touch()
            await stopped
    assert there.count(path) == 1
