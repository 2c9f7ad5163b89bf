"""The same collector in three places, all in one run: `python -m bench.scaling`.

Each round measures every place once, in an order that changes; ratios are taken within a round; shown are the median,
the least and the greatest. All places are on this machine: it is what each adds to an event, not what machines gain.
"""

import argparse
import asyncio
import os
from collections.abc import Mapping
from concurrent.futures import Executor

from bench.front_end.contest import Spread
from bench.process_tier.handler import spending
from bench.scaling.contestants import POOL, alone, burst, places, queue_of

FIGURES = (
    ("a burst of events that do nothing", 0.0, 20_000, "events/s"),
    ("a burst of events that compute for 100 us", 1e-4, 10_000, "events/s"),
    ("a burst of events that compute for 10 ms", 1e-2, 200, "events/s"),
    ("one event at a time, which does nothing", 0.0, 50, "us"),
)


async def measure(found: Mapping[str, str | Executor], rounds: int, workers: int, scale: float) -> None:
    """Run all figures and print them."""
    for title, seconds, events, unit in FIGURES:
        value = spending(seconds)
        count = max(10, int(events * scale))
        measured: list[dict[str, float]] = []
        names = list(found)
        for number in range(rounds):
            shift = number % len(names)
            once: dict[str, float] = {}
            for name in (*names[shift:], *names[:shift]):
                async with queue_of(found[name], workers) as queue:
                    await burst(queue, value, min(count, 2000))  # processes have started, batches have grown
                    once[name] = await (burst if unit == "events/s" else alone)(queue, value, count)
            measured.append(once)
        show(f"{title}: {count} events, median of {rounds} [least .. greatest]", measured, unit)


def show(title: str, measured: list[dict[str, float]], unit: str) -> None:
    """Print one figure: the values of each place, and how they compare with the queue's own workers."""
    print(f"\n{title}", flush=True)
    factor = 1e6 if unit == "us" else 1.0
    for name in measured[0]:
        values = Spread.of([once[name] * factor for once in measured])
        ratios = Spread.of([once[name] / once[POOL] for once in measured])
        print(f"  {name:<32} {line(values, ',.0f')} {unit:<9} x {line(ratios, '.3g')}", flush=True)


def line(spread: Spread, form: str) -> str:
    """Return a spread as text."""
    return f"{spread.median:>9{form}} [{spread.least:{form}} .. {spread.greatest:{form}}]"


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=__doc__.partition(":")[0])
    parser.add_argument("--rounds", type=int, default=5, help="each place once in each (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=min(8, len(os.sched_getaffinity(0))), help="of each place")
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of events (default: %(default)s)")
    options = parser.parse_args()
    with places(options.workers) as found:
        asyncio.run(measure(found, options.rounds, options.workers, options.scale))


if __name__ == "__main__":
    main()
