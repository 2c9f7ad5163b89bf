"""Pools and jobs for the tests of the worker pool."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from event_collector_workers import Job, PoolListener, TaskSpec, WorkerPool

ACTOR = "tests.workers.tasks:actor"
BOUND = 30.0
"""Seconds that anything may take before a test gives up: far more than it ever should."""


class Call(Job):
    """A job whose outcome can be awaited; counts its outcomes, of which there must be one."""

    __slots__ = ("blob_back", "elapsed", "future", "outcomes")

    def __init__(self, command: str, blob: bytes | None = None, timeout: float | None = None, task: int = 0):
        super().__init__(task, command.encode(), blob, timeout)
        self.future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.outcomes = 0
        self.elapsed = 0.0
        self.blob_back: bytes | None = None

    def succeeded(self, body: bytes | memoryview, blob: bytes | None, elapsed: float) -> None:
        self.outcomes += 1
        self.elapsed = elapsed
        self.blob_back = blob
        if not self.future.done():
            self.future.set_result(bytes(body))

    def failed(self, error: BaseException, elapsed: float) -> None:
        self.outcomes += 1
        self.elapsed = elapsed
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # retrieved: a test that does not await it does not care

    async def result(self) -> str:
        return (await asyncio.wait_for(asyncio.shield(self.future), BOUND)).decode()

    async def error(self) -> BaseException:
        try:
            value = await self.result()
        except Exception as error:
            return error
        raise AssertionError(f"succeeded with {value!r}")


class Ear(PoolListener):
    """Remembers what it heard."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def room(self) -> None:
        self.heard.append(("room",))

    def worker_started(self, pid: int, seconds: float) -> None:
        self.heard.append(("started", pid))

    def worker_stopped(self, pid: int | None, reason: str, exitcode: int | None) -> None:
        self.heard.append(("stopped", pid, reason, exitcode))

    def worker_complained(self, pid: int | None, trace: str) -> None:
        self.heard.append(("complained", pid, trace))

    def breaker_opened(self, error: BaseException) -> None:
        self.heard.append(("opened", error))

    def breaker_closed(self) -> None:
        self.heard.append(("closed",))

    def of(self, what: str) -> list[tuple[Any, ...]]:
        return [entry for entry in self.heard if entry[0] == what]


@asynccontextmanager
async def running(
    workers: int = 2, reference: str = ACTOR, argument: bytes = b"", **options: Any
) -> AsyncIterator[WorkerPool]:
    """A started pool, closed at the end; a test that fails does not wait for its jobs."""
    options.setdefault("max_workers", max(workers, 1))
    pool = WorkerPool([TaskSpec(reference, argument)], **options)
    await pool.start(workers)
    try:
        yield pool
        await asyncio.wait_for(pool.close(), BOUND)
    finally:
        await pool.abort()


def call(pool: WorkerPool, command: str, **options: Any) -> Call:
    """Submit one call."""
    job = Call(command, **options)
    pool.submit(job)
    return job


async def until(condition: Callable[[], object], what: str = "the condition") -> None:
    """Wait until `condition` holds, and fail when it does not for too long."""
    async with asyncio.timeout(BOUND):
        while not condition():
            await asyncio.sleep(0.002)


async def prove_alive(pool: WorkerPool, count: int = 1000) -> None:
    """Run follow-up jobs and check each of them."""
    jobs = [call(pool, f"echo {number}") for number in range(count)]
    for number, job in enumerate(jobs):
        assert await job.result() == str(number)
    await pool.drain()
    assert all(job.outcomes == 1 for job in jobs)


def balanced(pool: WorkerPool) -> bool:
    """Whether every submitted job is accounted for."""
    seen = pool.statistics()
    return seen.submitted == seen.finished + seen.failed + seen.backlog + sum(w.in_hand for w in seen.workers)
