"""The ways to map a function over many values with two worker processes: each returns seconds and its own CPU time."""

from __future__ import annotations

import asyncio
import importlib.util
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from event_collector import Collector, CollectorQueue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from bench.streams.work import Work

WORKERS = 2
FEW = 200
"""Values of the run that warms a contestant up."""

Sample = tuple[float, float]
"""Seconds, and seconds of CPU time of the program itself."""


def timed(act: Callable[[], object]) -> Sample:
    """Run a blocking contestant."""
    cpu, begun = time.process_time(), time.perf_counter()
    act()
    return time.perf_counter() - begun, time.process_time() - cpu


def stream(work: Work, **options: Any) -> Sample:
    """`queue.stream()`."""

    async def run() -> Sample:
        act = Collector("act", work.handler, mode="process")
        async with CollectorQueue([act], logging=False, min_workers=WORKERS, max_workers=WORKERS) as queue:
            async for _ in queue.stream(act, work.values[:FEW], **options):
                pass
            return await consumed(queue.stream(act, work.values, **options), len(work.values))

    return asyncio.run(run())


async def consumed(results: AsyncIterator[Any], expected: int) -> Sample:
    """Take all results of a contestant whose loop is asynchronous."""
    count, cpu, begun = 0, time.process_time(), time.perf_counter()
    async for _ in results:
        count += 1
    taken, cpu = time.perf_counter() - begun, time.process_time() - cpu
    if count != expected:
        raise RuntimeError(f"{count} results of {expected} values")
    return taken, cpu


def pool_map(work: Work) -> Sample:
    """`multiprocessing.Pool.map` with its default chunks."""
    with multiprocessing.get_context("fork").Pool(WORKERS) as pool:
        pool.map(work.handler, work.values[:FEW])
        return timed(lambda: pool.map(work.handler, work.values))


def executor_map(work: Work, chunk: int) -> Sample:
    """`ProcessPoolExecutor.map` with chunks of this size."""
    with ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("fork")) as pool:
        list(pool.map(work.handler, work.values[:FEW], chunksize=10))
        return timed(lambda: list(pool.map(work.handler, work.values, chunksize=chunk)))


def best_executor_map(work: Work) -> Callable[[Work], Sample]:
    """Return `executor_map` with the chunk size that suits the work best."""
    sizes = (1, 8, 64, 512, max(1, len(work.values) // (4 * WORKERS)))
    return partial(executor_map, chunk=min(sizes, key=lambda size: executor_map(work, size)[0]))


def loky_map(work: Work) -> Sample:
    """`loky`, with chunks as `Pool.map` has them."""
    from loky import get_reusable_executor

    pool = get_reusable_executor(max_workers=WORKERS)
    list(pool.map(work.handler, work.values[:FEW], chunksize=10))
    chunk = max(1, len(work.values) // (4 * WORKERS))
    return timed(lambda: list(pool.map(work.handler, work.values, chunksize=chunk)))


def joblib_map(work: Work) -> Sample:
    """`joblib.Parallel` with its automatic batches."""
    from joblib import Parallel, delayed

    with Parallel(n_jobs=WORKERS) as parallel:
        parallel(delayed(work.handler)(value) for value in work.values[:FEW])
        return timed(lambda: parallel(delayed(work.handler)(value) for value in work.values))


def bare(work: Work) -> Sample:
    """Processes that call the function in a loop, each with its part of the values and nothing else."""
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(WORKERS + 1)
    crew = [context.Process(target=_loop, args=(work, number, barrier)) for number in range(WORKERS)]
    for process in crew:
        process.start()
    barrier.wait()
    return timed(lambda: [process.join() for process in crew])


def _loop(work: Work, number: int, barrier: Any) -> None:
    values, handler = work.values[number::WORKERS], work.handler
    barrier.wait()
    for value in values:
        handler(value)


def others(work: Work) -> dict[str, Callable[[Work], Sample]]:
    """Return the opponents that are installed."""
    found: dict[str, Callable[[Work], Sample]] = {
        "Pool.map": pool_map,
        "ProcessPoolExecutor.map": best_executor_map(work),
    }
    for name, contestant in (("loky", loky_map), ("joblib", joblib_map)):
        if importlib.util.find_spec(name) is None:
            print(f"  {name} is not installed: pip install {name}")
        else:
            found[name] = contestant
    return found


def waiting_stream(count: int, at_once: int) -> Sample:
    """Coroutines that wait, by `queue.stream()`."""
    from bench.streams.work import wait

    async def run() -> Sample:
        act = Collector("act", wait, mode="coroutine")
        async with CollectorQueue([act], logging=False, max_consumers=at_once) as queue:
            cpu, begun = time.process_time(), time.perf_counter()
            async for _ in queue.stream(act, range(count), ahead=at_once):
                pass
            return time.perf_counter() - begun, time.process_time() - cpu

    return asyncio.run(run())


def waiting_group(count: int, at_once: int) -> Sample:
    """The same by a TaskGroup and a semaphore."""
    from bench.streams.work import wait

    async def run() -> Sample:
        semaphore = asyncio.Semaphore(at_once)

        async def one(number: int) -> int:
            async with semaphore:
                return await wait(number)

        cpu, begun = time.process_time(), time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(one(number))
        return time.perf_counter() - begun, time.process_time() - cpu

    return asyncio.run(run())


def memory_over(count: int) -> tuple[float, float]:
    """Return the MiB that the program uses after a tenth of a stream of `count` values, and at its end."""
    import psutil

    from bench.streams.work import no_op

    async def run() -> tuple[float, float]:
        act, own, early, seen = Collector("act", no_op, mode="process"), psutil.Process(), 0.0, 0
        async with CollectorQueue([act], logging=False, min_workers=WORKERS, max_workers=WORKERS) as queue:
            async for _ in queue.stream(act, iter(range(count))):
                seen += 1
                if seen == count // 10:
                    early = own.memory_info().rss / 2**20
            return early, own.memory_info().rss / 2**20

    return asyncio.run(run())
