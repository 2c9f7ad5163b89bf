"""The contestants: one handler, run by a queue, by the pool's executor, and by the standard library's executor."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from bench.process_tier.handler import process, work
from event_collector import Collector, CollectorQueue, Payload
from event_collector_workers import ScaledProcessPoolExecutor
from event_collector_workers.pool import traffic as dispatch
from event_collector_workers.pool.credit import Credit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Iterator

WORKERS = 2


class Contestant(Protocol):
    """Something that runs the handler in worker processes, started and ended within an event loop."""

    async def start(self) -> None: ...

    def send(self, value: Any) -> Awaitable[Any]:
        """Begin to process a value; what is returned waits for the result."""

    async def burst(self, values: Iterable[Any]) -> None:
        """Process all values, sent as fast as they can be, and wait for every result."""

    async def stop(self) -> None: ...


class Queue:
    """A CollectorQueue with one process collector, end to end."""

    async def start(self) -> None:
        collector = Collector("c", process, mode="process")
        self._queue = CollectorQueue([collector], logging=False, min_workers=WORKERS, max_workers=WORKERS)
        await self._queue.init_queue()
        self._publisher = self._queue.get_publisher()

    async def send(self, value: Any) -> Any:
        event = await self._publisher.send(Payload(value))
        return (await event.wait()).first().unwrap()

    async def burst(self, values: Iterable[Any]) -> None:
        send = self._publisher.send
        for event in [await send(Payload(value)) for value in values]:
            (await event.wait()).first().unwrap()

    async def stop(self) -> None:
        await self._queue.shut_down_queue()


class ThroughExecutor:
    """A concurrent.futures.Executor, driven through loop.run_in_executor: one task an event."""

    def __init__(self, executor: Executor, *, warm: bool = True) -> None:
        self._executor = executor
        self._warm = warm

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        if self._warm:
            run = self._loop.run_in_executor
            await asyncio.gather(*(run(self._executor, time.sleep, 0.05) for _ in range(WORKERS)))

    def send(self, value: Any) -> Awaitable[Any]:
        return self._loop.run_in_executor(self._executor, work, value)

    async def burst(self, values: Iterable[Any]) -> None:
        for future in [self.send(value) for value in values]:
            await future

    async def stop(self) -> None:
        await asyncio.to_thread(self._executor.shutdown)


def facade() -> ThroughExecutor:
    """Our executor."""
    return ThroughExecutor(ScaledProcessPoolExecutor(WORKERS))


def standard_library(*, warm: bool = True) -> ThroughExecutor:
    """The standard library's, with a fork server that has imported what the handler needs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bench.process_tier.handler"])
    return ThroughExecutor(ProcessPoolExecutor(WORKERS, mp_context=context), warm=warm)


@contextmanager
def shallow_dispatch() -> Iterator[None]:
    """Let a worker have one event at a time, whatever it takes: nothing waits behind another in the same worker."""
    chosen = dispatch.depth_for, dispatch.credit_for
    dispatch.depth_for = lambda _service_time, _horizon: 1
    dispatch.credit_for = lambda _service_time, _horizon: Credit(1, 0)
    try:
        yield
    finally:
        dispatch.depth_for, dispatch.credit_for = chosen
