"""Crash, cancellation, timeout, resize and recycling of real processes: the pool works afterwards, in any order."""

import asyncio

import pytest

from event_collector_workers import JobCancelled, JobTimeout, WorkerCrashed, WorkerPool
from tests.workers.pools import BOUND, Call, balanced, call, prove_alive, running, until

FAULTS = ("crash", "cancel", "timeout", "resize", "recycle")
ORDERS = [
    pytest.param((*some[start:], *some[:start]), id=" ".join((*some[start:], *some[:start])), marks=marks)
    for some, marks in ((FAULTS, ()), (FAULTS[::-1], pytest.mark.slow))
    for start in range(len(FAULTS))
]
"""Each fault comes first and last, and before and after each neighbour."""
QUOTA = 50


class Load:
    """Jobs in a pool, and what has become of them."""

    def __init__(self, pool: WorkerPool) -> None:
        self.pool = pool
        self.jobs: list[Call] = []
        self.expected: dict[Call, type[Exception]] = {}
        self.cancelled: set[Call] = set()
        self._size = 2

    def add(self, command: str, count: int = 1, timeout: float | None = None) -> Call:
        self.jobs += [call(self.pool, command, timeout=timeout) for _ in range(count)]
        return self.jobs[-1]

    async def crash(self) -> None:
        self.expected[self.add("exit 9")] = WorkerCrashed

    async def cancel(self) -> None:
        """Cancel what came last, and the oldest that is left."""
        left = [job for job in self.jobs if not job.future.done() and job not in self.expected]
        self.cancelled |= {job for job in (*left[:1], *left[10:]) if self.pool.cancel(job)}

    async def timeout(self) -> None:
        self.expected[self.add("burn 60", timeout=0.05)] = JobTimeout

    async def resize(self) -> None:
        self._size = 3 - self._size
        self.pool.resize(self._size)

    async def recycle(self) -> None:
        """Have both workers use up their quota."""
        self.add("echo 1", 2 * QUOTA)

    async def end(self) -> None:
        """Wait for all outcomes, of which each job has one that is right."""
        async with asyncio.timeout(BOUND):
            for job in self.jobs:
                await asyncio.wait([job.future])
        for job in self.jobs:
            assert job.outcomes == 1
            error = job.future.exception()
            if job in self.cancelled:
                assert error is None or isinstance(error, JobCancelled)
            else:
                assert type(error) is self.expected.get(job, type(None))


@pytest.mark.parametrize("order", ORDERS)
async def test_a_pool_works_after_any_order_of_faults(order: tuple[str, ...]) -> None:
    """Each job has one outcome, nobody else's fault, and as many workers as wanted take new ones."""
    async with running(2, max_jobs_per_worker=QUOTA) as pool:
        await prove_alive(pool, 20)
        load = Load(pool)
        load.add("burn 0.002", 30)
        for fault in order:
            await getattr(load, fault)()
            load.add("burn 0.001", 15)
            await asyncio.sleep(0)
        await load.end()
        await prove_alive(pool, 2 * QUOTA)
        await until(lambda: pool.room > 0, "there is room")
        await until(lambda: pool.statistics().ready == load._size, "all workers are ready")
        assert pool.backlog == 0
        assert balanced(pool)
