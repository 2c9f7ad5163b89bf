"""Programs that jobs start, and helpers that do not respond: both end when the pool says so."""

import asyncio
import os
import signal
from pathlib import Path

import psutil
import pytest

from event_collector_workers import JobCancelled, JobTimeout, PoolClosed, WorkerCrashed, WorkerPool
from event_collector_workers.pool_errors import WorkerStartError
from tests.workers.pools import call, prove_alive, running, until

START_METHODS = ["forkserver", "spawn", "fork"]


async def started(path: Path) -> int:
    """The process id of the program that a job has started."""
    await until(lambda: path.exists() and path.read_text())
    return int(path.read_text())


def is_running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def ended(pid: int) -> None:
    await until(lambda: not is_running(pid), "its end")


@pytest.mark.parametrize("start_method", START_METHODS)
async def test_the_program_of_a_job_ends_when_its_worker_is_killed(start_method: str, tmp_path: Path) -> None:
    """At a timeout, at a cancellation, after a crash, and at the end of the pool."""
    async with running(1, start_method=start_method) as pool:
        late = call(pool, f"start_program {tmp_path / 'late'}", timeout=0.5)
        assert isinstance(await late.error(), JobTimeout)
        await ended(await started(tmp_path / "late"))

        cancelled = call(pool, f"start_program {tmp_path / 'cancelled'}")
        pid = await started(tmp_path / "cancelled")
        pool.cancel(cancelled)
        assert isinstance(await cancelled.error(), JobCancelled)
        await ended(pid)

        assert isinstance(await call(pool, f"start_program {tmp_path / 'crash'} crash").error(), WorkerCrashed)
        await ended(await started(tmp_path / "crash"))

        last = call(pool, f"start_program {tmp_path / 'last'}")
        pid = await started(tmp_path / "last")
        await pool.abort()
        assert isinstance(await last.error(), PoolClosed)
        await ended(pid)


async def test_the_program_of_a_job_outlives_a_worker_that_ends_in_order(tmp_path: Path) -> None:
    """What a job leaves running is its own affair: a worker that is retired kills nothing."""
    async with running(1) as pool:
        await call(pool, f"start_program {tmp_path / 'daemon'} leave").result()
        pid = await started(tmp_path / "daemon")
    assert is_running(pid)
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("start_method", START_METHODS)
async def test_processes_of_a_job_react_to_signals_as_usual(start_method: str) -> None:
    """A worker leaves SIGTERM and SIGINT to the program; what a job starts or forks does not inherit that."""
    async with running(1, start_method=start_method) as pool:
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(pool.statistics().workers[0].pid or 0, number)
        assert await call(pool, "terminate").result() == "-15,-2,-15"
        assert pool.statistics().restarts == 0


def zygote_of(pool: WorkerPool) -> psutil.Process:
    worker = pool.statistics().workers[0].pid
    found = psutil.Process(worker).parent()
    assert found is not None
    assert found.pid != os.getpid()
    return found


async def test_jobs_end_although_the_zygote_was_stopped() -> None:
    """It reports no deaths any more: it is replaced, and so are the workers that were killed meanwhile."""
    async with running(2) as pool:
        zygote = zygote_of(pool)
        zygote.suspend()
        late, behind = call(pool, "sleep 60", timeout=0.1), [call(pool, f"echo {number}") for number in range(10)]
        assert isinstance(await late.error(), JobTimeout)
        assert isinstance(await call(pool, "kill 9").error(), WorkerCrashed)
        assert [await job.result() for job in behind] == [str(number) for number in range(10)]
        await ended(zygote.pid)
        await prove_alive(pool)


async def test_a_pool_ends_although_the_zygote_was_stopped() -> None:
    """No worker of it is reported as born or dead any more."""
    async with running(1, max_workers=3) as pool:
        zygote_of(pool).suspend()
        pool.resize(3)
        async with asyncio.timeout(20):
            await pool.close(timeout=0.1)


async def test_a_worker_whose_zygote_is_stopped_is_not_waited_for(tmp_path: Path) -> None:
    """It is not born within the time that it may take to start: another zygote bears it."""
    async with running(1, max_workers=2, startup_timeout=5.0) as pool:
        zygote_of(pool).suspend()
        pool.resize(2)
        await until(lambda: pool.statistics().ready == 2)
        await prove_alive(pool)


async def test_a_start_that_is_given_up_waits_for_no_zygote() -> None:
    """A module that is imported without end is no reason to wait without end."""
    with pytest.raises(WorkerStartError, match=r"not ready within 0\.5 s"):
        async with running(1, preload=["tests.workers.never_imported"], startup_timeout=0.5):
            pass
