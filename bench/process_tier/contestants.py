"""The contestants: one handler, run by the pool, by its executor facade, and by the standard library's executor."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from event_collector_workers import Job, ScaledProcessPoolExecutor, TaskSpec, WorkerPool

if TYPE_CHECKING:
    from collections.abc import Callable

WORKERS = 2
VALUE = {"id": 1234, "name": "event", "tags": ["a", "b"], "amount": 12.5}

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def work(seconds: float, value: Any) -> Any:
    """The handler: pure Python for `seconds`, then the value itself."""
    if seconds:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            pass
    return value


def burn(seconds: float, count: int, results: Any) -> None:
    """Run the handler `count` times with nothing beside it; put the seconds that took."""
    begun = time.perf_counter()
    for _ in range(count):
        work(seconds, VALUE)
    results.put(time.perf_counter() - begun)


class WorkTask:
    """The handler behind the pool's interface: msgpack in, msgpack out, or a blob."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def run(self, body: bytes | memoryview, blob: bytes | None) -> tuple[bytes, bytes | None]:
        if blob is not None:
            return b"", blob
        return _encode(work(self._seconds, _decode(body))), None

    def close(self) -> None:
        pass


def open_work(argument: bytes) -> WorkTask:
    return WorkTask(float(argument))


class Contestant(Protocol):
    """Something that runs the handler."""

    async def start(self) -> None: ...

    def send(self, value: Any, done: Callable[[Any], None]) -> None:
        """Run the handler on a value; call `done` with the result."""

    async def stop(self) -> None: ...


class _Call(Job):
    __slots__ = ("done",)

    def succeeded(self, body: bytes | memoryview, blob: bytes | None, elapsed: float) -> None:
        self.done(_decode(body) if blob is None else blob)

    def failed(self, error: BaseException, elapsed: float) -> None:
        raise error


class Pool:
    """The pool, as the event queue drives it."""

    def __init__(self, seconds: float) -> None:
        task = TaskSpec("bench.process_tier.contestants:open_work", str(seconds).encode())
        self._pool = WorkerPool([task], max_workers=WORKERS)

    async def start(self) -> None:
        await self._pool.start(WORKERS)

    def send(self, value: Any, done: Callable[[Any], None]) -> None:
        call = _Call(0, b"", value) if isinstance(value, bytes) else _Call(0, _encode(value))
        call.done = done
        self._pool.submit(call)

    async def stop(self) -> None:
        await self._pool.close()


class ThroughExecutor:
    """A concurrent.futures.Executor, driven through loop.run_in_executor: one task an event."""

    def __init__(self, seconds: float, executor: Executor) -> None:
        self._seconds = seconds
        self._executor = executor

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        warm = [self._loop.run_in_executor(self._executor, time.sleep, 0.05) for _ in range(WORKERS)]
        await asyncio.gather(*warm)

    def send(self, value: Any, done: Callable[[Any], None]) -> None:
        future = self._loop.run_in_executor(self._executor, work, self._seconds, value)
        future.add_done_callback(lambda ended: done(ended.result()))

    async def stop(self) -> None:
        await asyncio.to_thread(self._executor.shutdown)


def standard_library(seconds: float) -> ThroughExecutor:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bench.process_tier.contestants"])
    return ThroughExecutor(seconds, ProcessPoolExecutor(WORKERS, mp_context=context))


def facade(seconds: float) -> ThroughExecutor:
    return ThroughExecutor(seconds, ScaledProcessPoolExecutor(WORKERS))
