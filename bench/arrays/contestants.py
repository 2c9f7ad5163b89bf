"""The contestants: each sends an array again and again, with a few on their way at once."""

import asyncio
import importlib.util
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from time import perf_counter
from typing import Any

from bench.arrays.work import negated, total
from event_collector import Collector, CollectorQueue

AHEAD = 4
"""Arrays on their way at once."""
WORKERS = 2

Measure = Callable[[Any, int], Awaitable[float]]
"""Sends an array so many times, and returns the seconds."""


@asynccontextmanager
async def through_queue(handler: Callable[[Any], Any], shared: int | None = None) -> AsyncIterator[Measure]:
    """Send through a queue: by `call()`, as a program would."""
    collector = Collector("c", handler, mode="process")
    queue = CollectorQueue(
        [collector], min_workers=WORKERS, max_workers=WORKERS, max_shared_memory=shared, logging=False
    )

    async def measure(array: Any, count: int) -> float:
        begun = perf_counter()
        ahead: deque[asyncio.Task[Any]] = deque()
        for _ in range(count):
            ahead.append(asyncio.create_task(queue.call("c", array)))
            if len(ahead) > AHEAD:
                await ahead.popleft()
        while ahead:
            await ahead.popleft()
        return perf_counter() - begun

    async with queue:
        yield measure


@asynccontextmanager
async def through_executor(handler: Callable[[Any], Any]) -> AsyncIterator[Measure]:
    """Send through a ProcessPoolExecutor."""
    with ProcessPoolExecutor(WORKERS) as executor:
        yield partial(_by_futures, partial(executor.submit, handler), lambda future: future.result())


@asynccontextmanager
async def through_joblib(handler: Callable[[Any], Any]) -> AsyncIterator[Measure]:
    """Send through joblib, which writes large arrays to files that workers map."""
    from joblib import Parallel, delayed

    with Parallel(WORKERS, max_nbytes="100K", pre_dispatch=AHEAD, batch_size=1) as parallel:

        async def measure(array: Any, count: int) -> float:
            begun = perf_counter()
            parallel(delayed(handler)(array + number) for number in range(count))  # it would send an equal one once
            return perf_counter() - begun

        yield measure


@asynccontextmanager
async def through_ray(handler: Callable[[Any], Any]) -> AsyncIterator[Measure]:
    """Send through Ray."""
    import ray

    ray.init(num_cpus=WORKERS, log_to_driver=False, configure_logging=False)
    remote = ray.remote(handler).remote
    try:
        yield partial(_by_futures, remote, ray.get)
    finally:
        ray.shutdown()


async def _by_futures(submit: Callable[[Any], Any], result: Callable[[Any], Any], array: Any, count: int) -> float:
    begun = perf_counter()
    ahead: deque[Any] = deque()
    for _ in range(count):
        ahead.append(submit(array))
        if len(ahead) > AHEAD:
            result(ahead.popleft())
    while ahead:
        result(ahead.popleft())
    return perf_counter() - begun


Contestant = Callable[[Callable[[Any], Any]], Any]

CONTESTANTS: dict[str, Contestant] = {
    "shared memory": through_queue,
    "sockets": partial(through_queue, shared=0),
    "ProcessPoolExecutor": through_executor,
}
if importlib.util.find_spec("joblib"):
    CONTESTANTS["joblib"] = through_joblib
if importlib.util.find_spec("ray"):
    CONTESTANTS["Ray"] = through_ray

HANDLERS = {"in": total, "in and out": negated}
