"""Jobs that give parts, in a pool: suspended, continued, closed, and what the pool makes of them."""

from typing import Any

from event_collector_workers import WorkerCrashed, WorkerPool
from event_collector_workers.job import PARTS_AHEAD
from tests.workers.pools import Call, balanced, call, running, until

GIVER = "tests.workers.tasks:giver"


class Reading(Call):
    """A job that lets the pool go on as it is told to."""

    __slots__ = ("credit", "parts")

    def __init__(self, command: str, **options: Any) -> None:
        super().__init__(command, **options)
        self.parts: list[bytes] = []
        self.credit = PARTS_AHEAD

    def produced(self, body: bytes | memoryview, blob: bytes | None) -> bool:
        self.parts.append(bytes(body) if blob is None else blob)
        self.credit -= 1
        return self.credit > 0


def reading(pool: WorkerPool, count: int) -> Reading:
    job = Reading(f"count {count}")
    pool.submit(job)
    return job


async def suspended(pool: WorkerPool, *jobs: Reading) -> None:
    """Wait until the jobs have given as many parts as they may."""
    for job in jobs:
        await until(lambda job=job: len(job.parts) == PARTS_AHEAD)
    assert balanced(pool)


def go_on(pool: WorkerPool, job: Reading, credit: int) -> None:
    job.credit += credit
    pool.go_on(job, credit)


async def test_a_worker_runs_others_while_jobs_are_suspended() -> None:
    """They go on in any order, and each ends with the reply that follows its parts."""
    async with running(1, GIVER) as pool:
        first, second = reading(pool, 20), reading(pool, 1000)
        await suspended(pool, first, second)
        assert await call(pool, "echo free").result() == "free"
        go_on(pool, second, 984)
        go_on(pool, first, 100)
        assert await first.result() == "counted"
        await until(lambda: len(second.parts) == 1000)
        go_on(pool, second, 1)
        assert await second.result() == "counted"
        assert second.parts == [str(number).encode() for number in range(1000)]
        assert balanced(pool)


async def test_a_suspended_job_is_closed_or_cancelled_without_harm_to_its_worker() -> None:
    async with running(1, GIVER) as pool:
        left, cancelled, other = (reading(pool, 100) for _ in range(3))
        await suspended(pool, left, cancelled, other)
        pool.go_on(left, 0)
        assert await left.result() == "closed"
        assert pool.cancel(cancelled)
        assert await cancelled.result() == "closed"
        go_on(pool, other, 1000)
        assert await other.result() == "counted"
        assert pool.statistics().restarts == 0
        pool.go_on(left, 5)  # it has ended: nothing happens


async def test_a_worker_that_retires_ends_after_its_suspended_jobs() -> None:
    async with running(1, GIVER) as pool:
        job = reading(pool, 100)
        await suspended(pool, job)
        pool.resize(0)
        for _ in range(6):
            before = len(job.parts)
            go_on(pool, job, PARTS_AHEAD)
            await until(lambda before=before: len(job.parts) == min(100, before + PARTS_AHEAD))
        assert await job.result() == "counted"


async def test_suspended_jobs_end_with_the_worker_that_dies() -> None:
    async with running(1, GIVER) as pool:
        job = reading(pool, 100)
        await suspended(pool, job)
        crash = call(pool, "exit 3")
        assert isinstance(await crash.error(), WorkerCrashed)
        assert isinstance(await job.error(), WorkerCrashed)
        assert len(job.parts) == PARTS_AHEAD
        assert balanced(pool)
