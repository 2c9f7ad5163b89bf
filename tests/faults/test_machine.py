"""What the machine refuses: memory, processes, descriptors. Nothing is stranded, and all is well when it gives."""

import asyncio
import errno
import gc
import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from pathlib import Path

import psutil
import pytest

from event_collector import Payload
from event_collector_workers import PoolBroken, TaskSpec, WorkerCrashed, WorkerPool, WorkerStartError
from tests.event_collector.modes import ask, error_of, until
from tests.faults.bystanders import surrounded
from tests.faults.control_group import control_group, enter
from tests.workers import pools

LEAST = 6
"""Descriptors without which no worker can start, whatever the start method."""


async def test_the_kernels_out_of_memory_killer_costs_one_event(tmp_path: Path) -> None:
    """The event whose worker the kernel kills for its memory says so; program and other workers are untouched."""
    limit = str(64 * 1024 * 1024)
    version_1 = {"memory.limit_in_bytes": limit}
    version_2 = {"memory.max": limit, "memory.swap.max": "0"}
    with control_group("memory", version_1, version_2) as group:
        async with surrounded(tmp_path) as queue:
            victim = await queue.get_publisher().send(Payload(["linger", [str(tmp_path / "mark"), 0.2]]))
            await until((tmp_path / "mark").exists, "the handler runs")
            for worker in workers_of_this():
                enter(group, worker.pid)
            await victim.wait()
            error = await error_of(queue, ["hold memory", 512])
            assert isinstance(error, WorkerCrashed)
            assert error.exitcode == -signal.SIGKILL
            assert "out-of-memory" in str(error)


def zygotes_of_this() -> list[psutil.Process]:
    """The zygotes; multiprocessing has processes of its own, which stay for as long as the program does."""
    return [child for child in psutil.Process().children() if "event_collector_workers" in " ".join(child.cmdline())]


def workers_of_this() -> list[psutil.Process]:
    """The workers: children of the zygote."""
    return [worker for child in zygotes_of_this() for worker in child.children()]


async def test_a_limit_of_processes_strands_no_event(tmp_path: Path) -> None:
    """With pids.max reached no worker is replaced: events fail and say why, and work again when there is room."""
    with control_group("pids", {"pids.max": "max"}, {"pids.max": "max"}) as group:
        async with surrounded(tmp_path, max_workers=1, before=10) as queue:
            await ask(queue, ["pid", None])
            (zygote,) = zygotes_of_this()
            enter(group, zygote.pid)
            (group / "pids.max").write_text("1")
            assert isinstance(await error_of(queue, ["exit", 1]), WorkerCrashed)
            error = await error_of(queue, ["pid", None])
            assert isinstance(error, PoolBroken)
            assert os.strerror(errno.EAGAIN) in str(error)
            (group / "pids.max").write_text("max")
            async with asyncio.timeout(pools.BOUND):
                while (await ask(queue, ["pid", None])).is_error:
                    await asyncio.sleep(0.05)


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM])
async def test_a_fork_that_fails_is_tried_again_later(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the zygote cannot fork, jobs fail with the system's words, little is tried, and nothing is used up."""
    refuse = tmp_path / "refuse"
    monkeypatch.setenv("REFUSE_TO_FORK", str(refuse))
    async with pools.running(1, preload=["tests.faults.refuses_to_fork"]) as pool:
        (zygote,) = zygotes_of_this()
        descriptors = zygote.num_fds()
        refuse.write_text(str(number))
        await refused_and_recovered(pool, os.strerror(number), refuse.unlink)
        assert zygote.num_fds() <= descriptors


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE])
async def test_a_process_that_cannot_be_spawned_is_tried_again_later(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same where multiprocessing starts the workers."""
    async with pools.running(1, mp_context=multiprocessing.get_context("spawn")) as pool:

        def refuse(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr("multiprocessing.util.spawnv_passfds", refuse)
        await refused_and_recovered(pool, os.strerror(number), monkeypatch.undo)


@pytest.mark.parametrize("start_method", ["forkserver", "spawn"])
async def test_a_program_without_descriptors_starts_no_worker_and_keeps_its_jobs_accounted_for(
    start_method: str,
) -> None:
    """With every descriptor taken, no worker starts; when some are free again, one does, and none has leaked."""
    async with pools.running(1, start_method=start_method) as pool:
        await pools.prove_alive(pool, 10)
        before = psutil.Process().num_fds()
        with no_descriptors(spare=0) as free:
            await refused_and_recovered(pool, os.strerror(errno.EMFILE), free)
        assert psutil.Process().num_fds() <= before


@pytest.mark.parametrize("spare", range(12))
@pytest.mark.parametrize("start_method", ["forkserver", "spawn"])
async def test_a_start_without_descriptors_fails_and_keeps_none(start_method: str, spare: int) -> None:
    """Wherever on its way a start runs out of descriptors, it says so and gives back those it had."""
    pool = WorkerPool([TaskSpec(pools.ACTOR, b"")], max_workers=1, start_method=start_method)
    resource_tracker.ensure_running()  # or its pipe would be counted, which is there for as long as the program is
    gc.collect()  # what the test before has left
    before = psutil.Process().num_fds()
    with no_descriptors(spare=spare):
        try:
            await pool.start(1)
            assert spare >= LEAST
        except WorkerStartError as error:
            said = str(error)
        else:
            said = os.strerror(errno.EMFILE)
            await pool.close()
    assert os.strerror(errno.EMFILE) in said
    gc.collect()
    await until(lambda: psutil.Process().num_fds() <= before, "all descriptors are given back")


async def refused_and_recovered(pool: WorkerPool, reason: str, relieve: Callable[[], object]) -> None:
    """The worker dies and cannot be replaced; jobs fail with the reason, until the cause is removed."""
    assert isinstance(await pools.call(pool, "exit 1").error(), WorkerCrashed)
    spent = time.process_time()
    jobs = [pools.call(pool, "echo 1") for _ in range(10)]
    for job in jobs:
        error = await job.error()
        assert isinstance(error, PoolBroken)
        assert reason in str(error)
    await asyncio.sleep(0.5)
    assert time.process_time() - spent < 0.4  # no busy loop
    assert pools.balanced(pool)
    relieve()
    await pools.until(lambda: pool.statistics().ready, "a worker")
    await pools.prove_alive(pool)


@contextmanager
def no_descriptors(spare: int) -> Iterator[Callable[[], None]]:
    """Take all descriptors but `spare`; what is yielded gives them back."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []

    def free() -> None:
        while taken:
            os.close(taken.pop())

    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit[0], 256), limit[1]))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        for _ in range(spare):
            os.close(taken.pop())
        yield free
    finally:
        free()
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
