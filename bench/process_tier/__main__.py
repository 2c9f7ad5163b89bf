"""Ratios of the process tier against ProcessPoolExecutor, both in one run: `python -m bench.process_tier`.

Each comparison alternates the contestants for an odd number of rounds and prints the median ratio and its spread.
Absolute figures depend on the machine and on what else runs there; ratios within one run depend on them less.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import uvloop

from bench.process_tier.contestants import (
    WORKERS,
    Contestant,
    Pool,
    facade,
    standard_library,
)
from bench.process_tier.handler import VALUE, burn

if TYPE_CHECKING:
    from collections.abc import Callable


_CAPTURED: Any = {"capture_output": True, "text": True}


async def flow(contestant: Contestant, value: Any, count: int, in_flight: int) -> list[float]:
    """Run `count` events with `in_flight` at a time; return each one's seconds."""
    ended = asyncio.get_running_loop().create_future()
    times: list[float] = []
    left = count

    def launch() -> None:
        nonlocal left
        left -= 1
        begun = time.perf_counter()
        contestant.send(value, lambda _result: done(begun))

    def done(begun: float) -> None:
        times.append(time.perf_counter() - begun)
        if left:
            launch()
        elif len(times) == count:
            ended.set_result(None)

    for _ in range(min(count, in_flight)):
        launch()
    await ended
    return times


def measure(
    make: Callable[[float], Contestant], seconds: float, value: Any, count: int, in_flight: int
) -> Sample:
    """Run one contestant once, warmed up."""

    async def run() -> Sample:
        contestant = make(seconds)
        await contestant.start()
        await flow(contestant, value, max(10, count // 10), in_flight)
        loop_lag = asyncio.ensure_future(worst_lag())
        await asyncio.sleep(0)
        cpu, begun = time.process_time(), time.perf_counter()
        times = await flow(contestant, value, count, in_flight)
        taken, cpu = time.perf_counter() - begun, time.process_time() - cpu
        loop_lag.cancel()
        lag = (await asyncio.gather(loop_lag, return_exceptions=True))[0]
        await contestant.stop()
        return Sample(count / taken, times, cpu / count, lag if isinstance(lag, float) else 0.0)

    return uvloop.run(run())


async def worst_lag() -> float:
    """Return how much later than asked for the loop woke at worst, when cancelled."""
    worst = 0.0
    try:
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(0.005)
            worst = max(worst, time.perf_counter() - begun - 0.005)
    except asyncio.CancelledError:
        return worst


class Sample:
    """What one run showed."""

    def __init__(self, rate: float, times: list[float], parent_cpu: float, lag: float) -> None:
        self.rate = rate
        self.parent_cpu = parent_cpu
        self.lag = lag
        ordered = sorted(times)
        self.median = ordered[len(ordered) // 2]
        self.p99 = ordered[int(len(ordered) * 0.99)]


def bare(seconds: float) -> float:
    """Return the events per second that two processes reach with the handler in a loop and nothing beside them."""
    context = multiprocessing.get_context("forkserver")
    count = max(50, int(1.0 / max(seconds, 1e-5)))
    results = context.SimpleQueue()
    crew = [context.Process(target=burn, args=(seconds, count, results)) for _ in range(WORKERS)]
    for process in crew:
        process.start()
    rate: float = sum(count / results.get() for _ in crew)
    for process in crew:
        process.join()
    return rate


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):8.2f}  ({min(values):.2f} to {max(values):.2f})"


def compare(
    name: str, rounds: int, seconds: float, value: Any, ours: int, theirs: int, in_flight: int
) -> None:
    """Alternate the pool, the facade and the standard library; print the ratios."""
    samples: dict[str, list[Sample]] = {"pool": [], "executor": [], "stdlib": []}
    bares = []
    makers: dict[str, tuple[Callable[[float], Contestant], int]] = {
        "pool": (Pool, ours),
        "executor": (facade, theirs),
        "stdlib": (standard_library, theirs),
    }
    for _ in range(rounds):
        for who, (make, count) in makers.items():
            samples[who].append(measure(make, seconds, value, count, in_flight))
        if seconds:
            bares.append(bare(seconds))
    print(f"\n{name}: {in_flight} in flight, {rounds} rounds")
    for who in ("pool", "executor"):
        pairs = list(zip(samples[who], samples["stdlib"], strict=True))
        print(f"  {who:9} rate / stdlib's        {spread([a.rate / b.rate for a, b in pairs])}")
        if in_flight == 1:
            print(f"  {who:9} median / stdlib's      {spread([a.median / b.median for a, b in pairs])}")
            print(f"  {who:9} p99 / stdlib's         {spread([a.p99 / b.p99 for a, b in pairs])}")
    if bares:
        shares = [sample.rate / rate for sample, rate in zip(samples["pool"], bares, strict=True)]
        print(f"  pool      rate / bare processes' {spread(shares)}")
    print(f"  pool      events/s               {spread([sample.rate for sample in samples['pool']])}")
    print(
        f"  pool      parent's us an event   {spread([1e6 * sample.parent_cpu for sample in samples['pool']])}"
    )
    if isinstance(value, bytes):
        print(
            f"  pool      worst loop lag, ms     {spread([1e3 * sample.lag for sample in samples['pool']])}"
        )


def first_result(rounds: int) -> None:
    """Compare the time from a warm interpreter to the first result; each try in a fresh one."""
    ratios = []
    for _ in range(rounds):
        ours, theirs = (
            float(
                subprocess.run(
                    [sys.executable, "-m", __package__, "--cold", who], check=True, **_CAPTURED
                ).stdout
            )
            for who in ("pool", "stdlib")
        )
        ratios.append(ours / theirs)
    print(f"\nfirst result: time / stdlib's {spread(ratios)}")


async def cold(who: str) -> None:
    """Print the seconds to the first result."""
    contestant = Pool(0.0) if who == "pool" else standard_library(0.0)
    begun = time.perf_counter()
    if isinstance(contestant, Pool):
        await contestant.start()
    else:
        contestant.bind()
    await flow(contestant, VALUE, 1, 1)
    print(time.perf_counter() - begun)
    await contestant.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cold", choices=["pool", "stdlib"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    rounds = options.rounds
    if options.cold:
        asyncio.run(cold(options.cold))
        return
    compare("no work", rounds, 0.0, VALUE, 100_000, 5_000, 1000)
    compare("no work", rounds, 0.0, VALUE, 5_000, 2_000, 1)
    compare("100 us of work", rounds, 100e-6, VALUE, 15_000, 5_000, 64)
    compare("1 ms of work", rounds, 1e-3, VALUE, 2_000, 1_500, 64)
    for size, count in ((100_000, 400), (1_000_000, 100), (10_000_000, 20), (50_000_000, 5)):
        compare(f"{size:,} bytes there and back", rounds, 0.0, bytes(size), count, count, WORKERS)
    first_result(rounds)


if __name__ == "__main__":
    main()
