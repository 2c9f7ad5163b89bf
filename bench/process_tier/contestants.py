"""The contestants: one handler, run by the pool, by its executor facade, and by the standard library's executor."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

from bench.process_tier.handler import decode, encode, work
from event_collector_workers import Job, ScaledProcessPoolExecutor, TaskSpec, WorkerPool

if TYPE_CHECKING:
    from collections.abc import Callable

WORKERS = 2


class Contestant(Protocol):
    """Something that runs the handler."""

    async def start(self) -> None: ...

    def send(self, value: Any, done: Callable[[Any], None]) -> None:
        """Run the handler on a value; call `done` with the result."""

    async def stop(self) -> None: ...


class _Call(Job):
    __slots__ = ("done",)

    def __init__(self, body: bytes, blob: bytes | None, done: Callable[[Any], None]) -> None:
        super().__init__(0, body, blob)
        self.done = done

    def succeeded(self, body: bytes | memoryview, blob: bytes | None, elapsed: float) -> None:
        self.done(decode(body) if blob is None else blob)

    def failed(self, error: BaseException, elapsed: float) -> None:
        raise error


class Pool:
    """The pool, as the event queue drives it."""

    def __init__(self, seconds: float) -> None:
        task = TaskSpec("bench.process_tier.handler:open_work", str(seconds).encode())
        self._pool = WorkerPool([task], max_workers=WORKERS)

    async def start(self) -> None:
        await self._pool.start(WORKERS)

    def send(self, value: Any, done: Callable[[Any], None]) -> None:
        body, blob = (b"", value) if isinstance(value, bytes) else (encode(value), None)
        self._pool.submit(_Call(body, blob, done))

    async def stop(self) -> None:
        await self._pool.close()


class ThroughExecutor:
    """A concurrent.futures.Executor, driven through loop.run_in_executor: one task an event."""

    def __init__(self, seconds: float, executor: Executor) -> None:
        self._seconds = seconds
        self._executor = executor

    def bind(self) -> None:
        self._loop = asyncio.get_running_loop()

    async def start(self) -> None:
        self.bind()
        warm = [self._loop.run_in_executor(self._executor, time.sleep, 0.05) for _ in range(WORKERS)]
        await asyncio.gather(*warm)

    def send(self, value: Any, done: Callable[[Any], None]) -> None:
        future = self._loop.run_in_executor(self._executor, work, self._seconds, value)
        future.add_done_callback(lambda ended: done(ended.result()))

    async def stop(self) -> None:
        await asyncio.to_thread(self._executor.shutdown)


def standard_library(seconds: float) -> ThroughExecutor:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bench.process_tier.handler"])
    return ThroughExecutor(seconds, ProcessPoolExecutor(WORKERS, mp_context=context))


def facade(seconds: float) -> ThroughExecutor:
    return ThroughExecutor(seconds, ScaledProcessPoolExecutor(WORKERS))
