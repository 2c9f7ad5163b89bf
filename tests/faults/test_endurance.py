"""Faults in their hundreds, thousands where that is slow: nothing adds up, nothing is lost."""

import asyncio
import gc
import logging
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from event_collector import Collector, CollectorQueue, Payload, QueueShutDown
from event_collector_workers import JobCancelled, PoolBroken, PoolClosed, ScaledProcessPoolExecutor, WorkerCrashed
from event_collector_workers.pool import breaker
from tests.event_collector.modes import balanced as queue_balanced
from tests.faults.bystanders import Bystanders
from tests.faults.handlers import act
from tests.workers import pools

SLOW = [pytest.mark.slow, pytest.mark.timeout(900)]
START_METHODS = ["forkserver", "spawn"]
MIB = 1024 * 1024


def often(few: int, many: int) -> list[Any]:
    """A number of repetitions for the suite, and one for the slow tests."""
    return [few, pytest.param(many, marks=SLOW)]


class Possessions:
    """What this program has: descriptors, threads, children, memory."""

    def __init__(self) -> None:
        gc.collect()
        us = psutil.Process()
        self.descriptors = us.num_fds()
        self.threads = us.num_threads()
        self.children = len(us.children(recursive=True))
        self.memory = us.memory_info().rss

    def assert_within(self, before: "Possessions") -> None:
        assert self.descriptors <= before.descriptors * 1.05
        assert self.threads <= before.threads * 1.05
        assert self.children <= before.children
        assert self.memory <= before.memory * 1.05 + 2 * MIB


@pytest.mark.parametrize("count", often(300, 10_000))
async def test_recycling_adds_nothing_up(count: int, tmp_path: Path) -> None:
    """A worker for each five events: all finish, in the end there is no more of anything than after the first quarter.

    The figures of past workers and events are kept, up to a bound, which takes some thousand workers to reach.
    """
    collector = Collector("c", act, mode="process")
    async with (
        asyncio.timeout(800),
        CollectorQueue([collector], logging=False, min_workers=2, max_workers=2, max_events_per_worker=5) as queue,
    ):
        publisher = queue.get_publisher()

        async def recycle(times: int) -> None:
            pids: set[int] = set()
            while len(pids) < times:
                events = await publisher.send_many(Payload(["pid", None]) for _ in range(50))
                pids.update([(await event.wait()).first().unwrap() for event in events])

        await recycle(max(100, count // 4))
        workers = queue._engine._tiers.workers.groups["default"]
        await pools.until(lambda: workers.pool.statistics().ready == 2)
        before = Possessions()
        await recycle(count)
        await pools.until(lambda: workers.pool.statistics().ready == 2)
        await pools.until(lambda: len(psutil.Process().children(recursive=True)) <= before.children)
        Possessions().assert_within(before)
        queue_balanced(queue)


@pytest.mark.timeout(600)  # a busy machine starts workers slowly, and each further pause of the breaker is longer
@pytest.mark.parametrize(("count", "limit"), [(40, 8), pytest.param(1000, 32, marks=SLOW)])
@pytest.mark.parametrize("start_method", START_METHODS)
async def test_crashes_in_a_row_open_the_breaker(
    start_method: str, count: int, limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events that all kill their worker end with errors, after few starts; then others are processed, each once."""
    monkeypatch.setattr(breaker, "_LIMIT", limit)
    collector = Collector("c", act, mode="process")
    options: Any = {"min_workers": 2, "max_workers": 2, "start_method": start_method, "logging": False}
    async with CollectorQueue([collector], **options) as queue:
        events = await queue.get_publisher().send_many(Payload(["exit", 1]) for _ in range(count))
        errors = [(await event.wait()).first().err for event in events]  # type: ignore[union-attr]
        crashed = sum(isinstance(error, WorkerCrashed) for error in errors)
        assert crashed + sum(isinstance(error, PoolBroken) for error in errors) == count
        assert limit / 2 < crashed < count
        workers = queue._engine._tiers.workers.groups["default"]
        assert workers.pool.statistics().restarts <= crashed + 2
        while not workers.pool.statistics().ready:
            await asyncio.sleep(0.01)
        bystanders = Bystanders(queue, tmp_path / "ledger")
        await bystanders.send(200)
        await bystanders.verify()


@pytest.mark.parametrize("rounds", often(3, 50))
@pytest.mark.parametrize("start_method", START_METHODS)
async def test_nothing_is_started_after_the_end(start_method: str, rounds: int) -> None:
    """Growing and recycling while a pool closes: every job has its outcome, and no process is left."""
    moment = random.Random(rounds)
    for _ in range(rounds):
        async with pools.running(
            1, max_workers=4, start_method=start_method, max_jobs_per_worker=3, max_worker_age=0.02
        ) as pool:
            jobs = [pools.call(pool, "sleep 0.003") for _ in range(20)]
            await asyncio.sleep(moment.uniform(0, 0.03))
            pool.resize(4)
            timeout = moment.choice([None, 0.0, 0.02])
            closing = asyncio.ensure_future(pool.close(timeout))
            for workers in (1, 4, 2, 4):
                await asyncio.sleep(moment.uniform(0, 0.01))
                pool.resize(workers)
            await closing
            assert all(job.outcomes == 1 for job in jobs)
            errors = [job.future.exception() for job in jobs]
            assert all(error is None or (timeout is not None and isinstance(error, PoolClosed)) for error in errors)
            assert not pool.statistics().workers
        assert not [child for child in psutil.Process().children(recursive=True) if is_a_worker(child)]


def is_a_worker(process: psutil.Process) -> bool:
    """Whether that is not a process that multiprocessing keeps for all of the program, nor one that ends."""
    try:
        command = " ".join(process.cmdline())
        is_kept = "resource_tracker" in command or "multiprocessing.forkserver" in command
        return process.status() != psutil.STATUS_ZOMBIE and not is_kept
    except psutil.Error:
        return False


@pytest.mark.parametrize("rounds", often(2, 50))
async def test_death_in_the_middle_of_a_large_result(rounds: int) -> None:
    """A worker killed while a part of its 64 MiB is here: that job is a crash, and what follows is read right."""
    async with pools.running(2, max_shared_memory=0) as pool:
        before = psutil.Process().memory_info().rss
        for round_number in range(rounds):
            jobs = [pools.call(pool, f"echo {number}") for number in range(20)]
            victim = pools.call(pool, "give", blob=bytes(64 * MIB))
            behind = [pools.call(pool, f"echo {number}") for number in range(20)]
            worker = await receiving(pool, victim, (round_number + 1) * 64 * MIB // (2 * rounds))
            os.kill(worker.pid or 0, signal.SIGKILL)
            assert isinstance(await victim.error(), WorkerCrashed)
            for group in (jobs, behind):
                assert [await job.result() for job in group] == [str(number) for number in range(20)]
        await pools.prove_alive(pool)
        gc.collect()
        assert psutil.Process().memory_info().rss < before + 150 * MIB


@pytest.mark.parametrize("count", often(300, 10_000))
async def test_large_values_add_nothing_up(count: int) -> None:
    """Large values there and back in shared memory: their number does not matter, only how many are in use at once."""
    value = memoryview(bytes(range(256)) * 2048)
    async with pools.running(2, reference="tests.workers.value_tasks:Values") as pool:

        async def send(number: int) -> None:
            job = pools.call(pool, "give", blob=value[number % 200 :])
            await job.result()
            assert job.blob_back == value[number % 200 + 10 :]

        us, before = psutil.Process(), (0, 0)
        for start in range(0, count, 10):
            await asyncio.gather(*(send(number) for number in range(start, start + 10)))
            if start == 100:
                before = us.num_fds(), us.memory_full_info().uss
        gc.collect()
        assert 0 < pool.statistics().shared_memory.segments <= 40
        assert us.num_fds() <= before[0] + 40
        assert us.memory_full_info().uss <= before[1] * 1.05 + 2 * MIB


async def receiving(pool: Any, job: pools.Call, least: int) -> Any:
    """Wait until that much of a job's value has come from a worker."""
    seen = {worker: worker._channel._received for worker in pool._crew.workers}
    async with asyncio.timeout(pools.BOUND):
        while True:
            for worker in pool._crew.workers:
                if worker._channel._received - seen.setdefault(worker, 0) > least:
                    return worker
            assert not job.outcomes, job.future
            await asyncio.sleep(0)


@pytest.mark.parametrize("count", often(500, 10_000))
def test_ten_threads_submit_cancel_and_have_callbacks_that_raise(count: int, caplog: pytest.LogCaptureFixture) -> None:
    """Every future is resolved once, whatever its callback does, and whoever cancels it when."""
    caplog.set_level(logging.CRITICAL + 1)
    called: list[int] = []

    def raising(_: "Future[Any]") -> None:
        called.append(1)
        raise ValueError("a callback's own")

    with ScaledProcessPoolExecutor(2) as executor:
        futures: list[Future[Any]] = []

        def work(seed: int) -> None:
            chance = random.Random(seed)
            mine: list[Future[Any]] = []
            for number in range(count):
                mine.append(executor.submit(abs, -number))
                mine[-1].add_done_callback(raising)
                chance.choice(mine).cancel()
            futures.extend(mine)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wait(futures, timeout=300).not_done
    assert len(called) == len(futures) == 10 * count
    for position, future in enumerate(futures):
        try:
            assert future.result() == position % count
        except CancelledError:
            assert future.cancelled()


@pytest.mark.parametrize("rounds", often(5, 100))
@pytest.mark.parametrize("start_method", START_METHODS)
async def test_threads_and_locks_of_the_program_stop_no_start(start_method: str, rounds: int, tmp_path: Path) -> None:
    """Whatever other threads hold when a worker starts, it starts, and has none of the program's descriptors."""
    with busy_threads(), (tmp_path / "file").open("w") as file:
        for _ in range(rounds):
            async with pools.running(1, start_method=start_method) as pool:
                assert file.name not in (await pools.call(pool, "descriptors").result())
                await pools.prove_alive(pool, 5)


@contextmanager
def busy_threads() -> Iterator[None]:
    """Threads that hold the locks of logging, of imports and of a stream most of the time, and allocate."""
    ended = threading.Event()
    quiet = logging.getLogger("quiet")
    quiet.addHandler(logging.NullHandler())
    quiet.propagate = False

    def work() -> None:
        while not ended.is_set():
            with logging._lock:  # type: ignore[attr-defined]
                quiet.warning("%d", len(bytes(1000)))
                time.sleep(0.0005)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("start_method", START_METHODS)
async def test_a_worker_outlives_the_thread_that_started_it(start_method: str) -> None:
    """Workers end with the program, not with the thread whose call brought them to life."""
    async with pools.running(2, start_method=start_method) as pool:
        await pools.until(lambda: not [t for t in threading.enumerate() if t.name == "worker-launch"])
        pids = {worker.pid for worker in pool.statistics().workers}
        await pools.prove_alive(pool)
        assert {worker.pid for worker in pool.statistics().workers} == pids
        assert pool.statistics().restarts == 0


def test_an_executor_outlives_the_thread_that_used_it_first() -> None:
    """The first call may come from a thread that is long gone when the others come."""
    with ScaledProcessPoolExecutor(1) as executor:
        pids: list[int] = []
        for _ in range(3):
            thread = threading.Thread(target=lambda: pids.append(executor.submit(os.getpid).result()))
            thread.start()
            thread.join()
        assert len(pids) == 3
        assert len(set(pids)) == 1


@pytest.mark.parametrize("rounds", often(20, 200))
async def test_cancel_at_any_moment_has_one_outcome(rounds: int) -> None:
    """Jobs that are cancelled around the moment they end have one outcome each, and harm no others."""
    moment = random.Random(rounds)
    async with pools.running(2) as pool:
        for _ in range(rounds):
            jobs = [pools.call(pool, "burn 0.0003") for _ in range(10)]
            others = [pools.call(pool, f"echo {number}") for number in range(10)]
            await asyncio.sleep(moment.uniform(0, 0.003))
            for job in moment.sample(jobs, 5):
                pool.cancel(job)
            await pool.drain()
            assert all(job.outcomes == 1 for job in jobs + others)
            assert all(isinstance(job.future.exception(), (JobCancelled, type(None))) for job in jobs)
            assert [await job.result() for job in others] == [str(number) for number in range(10)]
        assert pools.balanced(pool)


@pytest.mark.parametrize("rounds", often(5, 50))
async def test_a_queue_that_gives_up_answers_every_event(rounds: int) -> None:
    """A shutdown that runs out of time while workers die and are replaced: one result for each event."""
    moment = random.Random(rounds)
    for _ in range(rounds):
        collector = Collector("c", act, mode="process")
        queue = CollectorQueue(
            [collector], logging=False, max_workers=3, consumer_shutdown_timeout=0.05, max_events_per_worker=5
        )
        async with asyncio.timeout(pools.BOUND), queue:
            deeds = [["sleep", 0.01], ["exit", 1], ["pid", None], ["large", 500_000]]
            events = await queue.get_publisher().send_many(Payload(moment.choice(deeds)) for _ in range(200))
            await asyncio.sleep(moment.uniform(0, 0.1))
        results = [event.get_result() for event in events]
        assert all(result is not None and result.size() == 1 for result in results)
        errors = {type(result.first().err) for result in results if result.first().is_error}  # type: ignore[union-attr]
        assert errors <= {QueueShutDown, WorkerCrashed, PoolBroken}
        queue_balanced(queue)
