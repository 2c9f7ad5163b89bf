"""Start two workers of a handler with NumPy and of one without, in turns.

    python -m bench.numeric_workers            times of both, and what NumPy adds in each round
    python -m bench.numeric_workers --check    status 1 if that is above its bound, or workers are not forked

The workers cannot have NumPy before something has imported it once. So each round measures this too: how much longer a
Python takes that imports NumPy than one that does nothing. NumPy may add no more than that to the start.

A bound is missed when even the least of the rounds is above it: a busy machine only adds.
"""

import argparse
import asyncio
import subprocess
import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter

from bench.numeric_workers import numeric, plain
from event_collector import Collector, CollectorQueue, Payload

ROUNDS = 15
AT_MOST = 1.0
"""Times the import alone."""


async def start(handler: Callable[[int], int]) -> tuple[float, int]:
    """Return the seconds in which a queue starts two workers, and the number of processes that have started them."""
    queue = CollectorQueue([Collector("parent", handler)], min_workers=2, max_workers=2, logging=False)
    begun = perf_counter()
    async with queue:
        seconds = perf_counter() - begun
        events = await queue.get_publisher().send_many(Payload(number) for number in range(8))
        return seconds, len({(await event.wait()).first().unwrap() for event in events})


def import_alone() -> float:
    """Return the seconds that a Python takes longer if it imports what the handler with NumPy needs."""
    return run_python("import numpy; numpy.random.default_rng()") - run_python("pass")


def run_python(code: str) -> float:
    """Return the seconds of a whole process."""
    begun = perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return perf_counter() - begun


async def main() -> None:
    """Measure, print a table; with --check tell by the exit status whether the bound holds."""
    parser = argparse.ArgumentParser(description="The start of two workers, with NumPy and without.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each is measured (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="status 1 if the ratio is above its bound")
    options = parser.parse_args()
    rounds, is_forked = [], True
    for _ in range(options.rounds):
        (without, one), (with_numpy, another) = await start(plain.parent), await start(numeric.parent)
        rounds.append((without, with_numpy, import_alone()))
        is_forked = is_forked and one == another == 1
    for name, times in zip(("without NumPy", "with NumPy", "import alone"), zip(*rounds, strict=True), strict=True):
        print(f"{name:<16}{median(times):>8.3f} s   {min(times):.3f} to {max(times):.3f}")
    show("with : without", [with_numpy / without for without, with_numpy, _ in rounds])
    added = [(with_numpy - without) / alone for without, with_numpy, alone in rounds]
    verdict = "MISSED" if min(added) > AT_MOST or not is_forked else "met"
    show("added : alone", added, f", bound {AT_MOST}   {verdict}")
    print(f"workers are {'forked' if is_forked else 'spawned'}")
    if options.check and verdict == "MISSED":
        raise SystemExit(1)


def show(name: str, ratios: list[float], remark: str = "") -> None:
    """Print the ratios of all rounds."""
    print(f"{name:<16}{median(ratios):>8.2f}     {min(ratios):.2f} to {max(ratios):.2f}{remark}")


if __name__ == "__main__":
    asyncio.run(main())
