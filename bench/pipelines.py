"""What a pipeline gives of the rate of its slowest stage alone.

    python -m bench.pipelines            each figure, with the least and the greatest of the rounds
    python -m bench.pipelines --check    status 1 if one is below its bound

Both sides send the same values through queues of the same kind, in turns: the pipeline, and a pipeline of the slowest
stage alone, with the values that it gets there. The others are faster by a third at least. All results are checked.
"""

import argparse
import asyncio
import os
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from statistics import median
from typing import Any, NamedTuple

from event_collector import Collector, CollectorQueue

__all__ = ["main"]

AT_LEAST = 0.95
ROUNDS = 5
AHEAD = 200
PARTS = 10
"""Parts of each value, where a stage yields."""


def compute(seconds: float) -> None:
    """Keep a CPU busy."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def take_apart(number: int) -> int:
    """Compute for 4 ms; in a worker process."""
    compute(0.004)
    return number + 1


def split(number: int) -> Iterator[int]:
    """Compute for 0.4 ms before each part; in a worker process."""
    for part in range(PARTS):
        compute(0.0004)
        yield PARTS * number + part


def ask(number: int) -> int:
    """Wait for 5 ms; in a thread."""
    time.sleep(0.005)
    return number + 1


def server(seconds: float, clients: int) -> Callable[[int], Any]:
    """Return a handler that asks a server which serves so many at the same time, and takes so long for each."""
    places = asyncio.Semaphore(clients)

    async def request(number: int) -> int:
        async with places:
            await asyncio.sleep(seconds)
            return number + 1

    return request


class Figure(NamedTuple):
    """Stages, and which of them is the slowest."""

    name: str
    stages: Callable[[], list[Collector]]
    slowest: int
    values: int
    ordered: bool = True


def around(slowest: Collector) -> list[Collector]:
    """Put a stage between two that wait for others, of 10,000 values a second."""
    return [Collector("fetch", server(0.005, 50)), slowest, Collector("store", server(0.005, 50))]


FIGURES = (
    Figure("workers compute", lambda: around(Collector("take_apart", take_apart)), 1, 1500),
    Figure("workers compute, unordered", lambda: around(Collector("take_apart", take_apart)), 1, 1500, ordered=False),
    Figure("a server answers", lambda: around(Collector("ask_server", server(0.01, 20))), 1, 6000),
    Figure("threads wait", lambda: around(Collector("ask", ask, mode="thread")), 1, 3000),
    Figure("workers yield parts", lambda: around(Collector("split", split)), 1, 1500, ordered=False),
)


async def seconds_of(
    collectors: list[Collector], stages: list[Collector], values: Iterable[int], expected: list[int], figure: Figure
) -> float:
    """Send values through stages, check the results, and return how long it took."""
    cpus = os.cpu_count() or 1
    options: dict[str, Any] = {"min_workers": cpus, "max_workers": cpus, "max_threads": 8, "logging": False}
    async with CollectorQueue(collectors, **options) as queue:
        pipeline = queue.pipeline(*stages, ahead=AHEAD, ordered=figure.ordered)
        await drain(pipeline.map(range(AHEAD)))  # warm: threads and connections are there
        began = time.perf_counter()
        results = await drain(pipeline.map(values))
        took = time.perf_counter() - began
    if (results if figure.ordered else sorted(results)) != expected:
        raise SystemExit(f"{figure.name}: wrong results")
    return took


async def drain(results: AsyncGenerator[int, None]) -> list[int]:
    """Return all results."""
    return [result async for result in results]


async def measure(figure: Figure, scale: float) -> float:
    """Return the rate of the pipeline, as a multiple of that of its slowest stage alone."""
    count, collectors = max(1, int(figure.values * scale)), figure.stages()
    is_yielding = collectors[figure.slowest].is_generator

    def after(stages: int) -> list[int]:
        """Return what is expected after so many stages."""
        if not is_yielding:
            return [number + stages for number in range(count)]
        parts = [PARTS * (number + figure.slowest) + part for number in range(count) for part in range(PARTS)]
        return [part + stages - figure.slowest - 1 for part in parts]

    values = range(figure.slowest, figure.slowest + count)
    whole = await seconds_of(collectors, collectors, range(count), after(len(collectors)), figure)
    collectors = figure.stages()
    alone = [collectors[figure.slowest]]
    return await seconds_of(alone, alone, values, after(figure.slowest + 1), figure) / whole


def main(arguments: list[str] | None = None) -> None:
    """Measure, print a table; with --check tell by the exit status whether the bounds hold."""
    parser = argparse.ArgumentParser(description="What a pipeline gives of the rate of its slowest stage alone.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each is measured (default: %(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="part of the values (default: %(default)g)")
    parser.add_argument("--check", action="store_true", help="status 1 if one is below its bound")
    options = parser.parse_args(arguments)
    print(f"{'slowest stage':<28}{'median':>8}{'least':>8}{'most':>8}{'bound':>8}   of the rate of that stage alone")
    is_missed = False
    for figure in FIGURES:
        ratios = [asyncio.run(measure(figure, options.scale)) for _ in range(options.rounds)]
        verdict = "MISSED" if median(ratios) < AT_LEAST else "met"
        numbers = "".join(f"{number:>8.2f}" for number in (median(ratios), min(ratios), max(ratios), AT_LEAST))
        print(f"{figure.name:<28}{numbers}   {verdict}", flush=True)
        is_missed |= verdict == "MISSED"
    if is_missed and options.check:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
