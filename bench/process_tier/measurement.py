"""One run of one contestant, and what it shows."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from typing import TYPE_CHECKING, Any

import psutil
import uvloop

from bench.process_tier.contestants import WORKERS, Contestant
from bench.process_tier.handler import burn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

Sample = dict[str, float]
"""What a run showed: figures by name."""


def flow(make: Callable[[], Contestant], values: Sequence[Any], in_flight: int) -> Sample:
    """Process the values with so many in flight: events a second, latencies, the parent's CPU time, its worst lag."""

    async def measured(contestant: Contestant) -> Sample:
        times: list[float] = []
        waiting = iter(values)

        async def sender() -> None:
            for value in waiting:
                begun = time.perf_counter()
                await contestant.send(value)
                times.append(time.perf_counter() - begun)

        sample = await _timed(lambda: asyncio.gather(*(sender() for _ in range(in_flight))), len(values))
        times.sort()
        return {**sample, "median": times[len(times) // 2], "p99": times[int(len(times) * 0.99)]}

    return _run(make, measured, values)


def burst(make: Callable[[], Contestant], values: Sequence[Any]) -> Sample:
    """Send the values as fast as the contestant takes them, and await every result."""

    async def measured(contestant: Contestant) -> Sample:
        return await _timed(lambda: contestant.burst(values), len(values))

    return _run(make, measured, values)


def bare(seconds: float) -> Sample:
    """The rate at which bare processes run the handler in a loop, with nothing beside them."""
    context = multiprocessing.get_context("forkserver")
    count = max(50, int(1.0 / seconds))
    results = context.SimpleQueue()
    crew = [context.Process(target=burn, args=(seconds, count, results)) for _ in range(WORKERS)]
    for process in crew:
        process.start()
    rate = sum(count / results.get() for _ in crew)
    for process in crew:
        process.join()
    return {"rate": rate}


async def first_result(contestant: Contestant, value: Any) -> float:
    """Return the seconds from a warm interpreter to the first result."""
    begun = time.perf_counter()
    await contestant.start()
    await contestant.send(value)
    taken = time.perf_counter() - begun
    await contestant.stop()
    return taken


def idle(make: Callable[[], Contestant], values: Sequence[Any], seconds: float) -> Sample:
    """What a pool that has worked does while there is nothing to do: CPU time, wake-ups, and each worker's memory."""

    async def measured(_contestant: Contestant) -> Sample:
        family = [psutil.Process(), *psutil.Process().children(recursive=True)]
        await asyncio.sleep(1.0)
        before = [_usage(process) for process in family]
        await asyncio.sleep(seconds)
        after = [_usage(process) for process in family]
        parent = psutil.Process()
        workers = [worker for child in parent.children() for worker in child.children()]
        return {
            "cpu": sum(b[0] - a[0] for a, b in zip(before, after, strict=True)) / seconds,
            "wake-ups": sum(b[1] - a[1] for a, b in zip(before, after, strict=True)) / seconds,
            "uss": max((worker.memory_full_info().uss for worker in workers), default=0),
        }

    return _run(make, measured, values)


def _usage(process: psutil.Process) -> tuple[float, int]:
    times = process.cpu_times()
    return times.user + times.system, process.num_ctx_switches().voluntary


def _run(
    make: Callable[[], Contestant], measured: Callable[[Contestant], Awaitable[Sample]], values: Sequence[Any]
) -> Sample:
    async def run() -> Sample:
        contestant = make()
        await contestant.start()
        try:
            await contestant.burst(values[: max(10, len(values) // 10)])
            return await measured(contestant)
        finally:
            await contestant.stop()

    return uvloop.run(run())


async def _timed(act: Callable[[], Awaitable[object]], count: int) -> Sample:
    watching = asyncio.ensure_future(_worst_lag())
    await asyncio.sleep(0)
    cpu, begun = time.process_time(), time.perf_counter()
    await act()
    taken, cpu = time.perf_counter() - begun, time.process_time() - cpu
    watching.cancel()
    return {"rate": count / taken, "parent": cpu / count, "lag": await watching}


async def _worst_lag() -> float:
    """Return how much later than asked for the loop woke at worst, when cancelled."""
    worst = 0.0
    try:
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(0.005)
            worst = max(worst, time.perf_counter() - begun - 0.005)
    except asyncio.CancelledError:
        return worst
