"""Send float64 arrays to two workers, by each contestant in turns.

    python -m bench.arrays                     MB per second of each, and how many times as fast shared memory is
    python -m bench.arrays --check             status 1 if shared memory misses a bound

Within a round every contestant has its turn, and the ratios are those of one round. A bound is missed when even the
best round is below it: a busy machine only takes away. The workers are kept from one round to the next.
"""

import argparse
import asyncio
import gc
from contextlib import AsyncExitStack
from statistics import median

import numpy as np

from bench.arrays.contestants import CONTESTANTS, HANDLERS, Measure

OURS = "shared memory"
BOUNDS = {
    ("in", 1.0, "ProcessPoolExecutor"): 5.0,
    ("in", 10.0, "ProcessPoolExecutor"): 10.0,
    ("in", 50.0, "ProcessPoolExecutor"): 10.0,
    ("in", 10.0, "sockets"): 3.0,
    ("in and out", 10.0, "ProcessPoolExecutor"): 5.0,
}
VOLUME = 100.0
"""MB that each contestant sends in a round, and no fewer than LEAST arrays."""
LEAST = 4

Speeds = dict[str, list[float]]
"""MB per second of each contestant, in each round."""


async def measure(way: str, megabytes: float, rounds: int, names: list[str]) -> Speeds:
    """Return the speeds of the contestants with arrays of one size."""
    array = np.random.default_rng(0).random(round(megabytes * 1e6) // 8)
    count = max(LEAST, round(VOLUME / megabytes))
    speeds: Speeds = {name: [] for name in names}
    async with AsyncExitStack() as stack:
        runs: dict[str, Measure] = {
            name: await stack.enter_async_context(CONTESTANTS[name](HANDLERS[way])) for name in names
        }
        for run in runs.values():
            await run(array, LEAST)
        for _ in range(rounds):
            for name, run in runs.items():
                gc.collect()
                speeds[name].append(count * array.nbytes / 1e6 / await run(array, count))
    return speeds


def report(way: str, megabytes: float, speeds: Speeds) -> bool:
    """Print the speeds; return whether the bounds hold."""
    print(f"{way}, {megabytes:g} MB")
    is_met = True
    for name, values in speeds.items():
        ratios = sorted(ours / theirs for ours, theirs in zip(speeds[OURS], values, strict=True))
        bound = BOUNDS.get((way, megabytes, name))
        verdict = "" if bound is None else f"   bound {bound:g} {'met' if ratios[-1] >= bound else 'MISSED'}"
        is_met = is_met and "MISSED" not in verdict
        spread = f"{ratios[0]:.1f} to {ratios[-1]:.1f}"
        print(f"  {name:<20}{median(values):>8.0f} MB/s   ratio {median(ratios):>6.1f} ({spread}){verdict}", flush=True)
    return is_met


async def main() -> None:
    """Measure and print; with --check tell by the exit status whether the bounds hold."""
    parser = argparse.ArgumentParser(description="Arrays to worker processes and back.")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default: %(default)s)")
    parser.add_argument("--sizes", type=float, nargs="*", default=[0.1, 1, 10, 50], help="MB of an array")
    parser.add_argument("--only", nargs="*", default=list(CONTESTANTS), help="the contestants")
    parser.add_argument("--check", action="store_true", help="status 1 if a bound is missed")
    options = parser.parse_args()
    is_met = True
    for way in HANDLERS:
        for megabytes in options.sizes if way == "in" else [size for size in options.sizes if size == 10]:
            is_met &= report(way, megabytes, await measure(way, megabytes, options.rounds, options.only))
    if options.check and not is_met:
        raise SystemExit(1)


if __name__ == "__main__":
    asyncio.run(main())
