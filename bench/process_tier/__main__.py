"""The process tier against its opponents, all in one run: `python -m bench.process_tier FIGURE...`.

Each contest alternates its sides for an odd number of rounds, takes ratios within a round, and prints the median with
the least and the greatest. Absolute figures depend on the machine and on what else runs there; ratios less.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

from bench.front_end.contest import Spread
from bench.process_tier.contestants import Queue, standard_library
from bench.process_tier.figures import FIGURES, Contest
from bench.process_tier.handler import VALUE
from bench.process_tier.measurement import Sample, first_result


def _arguments() -> argparse.Namespace:
    figures = "\n".join(f"  {name:<12} {figure.__doc__}" for name, figure in FIGURES.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench.process_tier",
        description="What an event costs on its way to a worker process and back, and its rivals.",
        epilog=f"figures:\n{figures}\n  all          every one of them, which is the default",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("figures", nargs="*", choices=[*FIGURES, "all"], metavar="figure", default="all")
    parser.add_argument("--rounds", type=int, default=7, help="each side once in each (default: %(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of events (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if a bound is missed")
    parser.add_argument("--first-result", choices=["queue", "stdlib"], help=argparse.SUPPRESS)
    return parser.parse_args()


def _hold(contest: Contest, rounds: int) -> bool:
    """Run a contest, print what came of it, and return whether all bounds were kept."""
    print(f"\n{contest.title}: median of {rounds} [least .. greatest]", flush=True)
    found: list[dict[str, Sample]] = []
    names = list(contest.sides)
    for number in range(rounds):
        shift = number % len(names)
        found.append({name: contest.sides[name]() for name in (*names[shift:], *names[:shift])})
    if "rate" in found[0][names[0]]:
        for name in names:
            spread = Spread.of([samples[name]["rate"] for samples in found])
            print(f"  {name:<52} {_line(spread)} events/s")
    kept = True
    for bound in contest.bounds:
        spread = Spread.of([bound.value(samples) for samples in found])
        met = bound.met(spread.median)
        kept = kept and met is not False
        verdict = "" if met is None else f"  {bound.promise}: {'met' if met else 'MISSED'}"
        print(f"  {bound!s:<52} {_line(spread)}{verdict}")
    sys.stdout.flush()
    return kept


def _line(spread: Spread) -> str:
    return f"{spread.median:10,.3f} [{spread.least:,.3f} .. {spread.greatest:,.3f}]"


def main() -> int:
    arguments = _arguments()
    if arguments.first_result:
        contestant = Queue() if arguments.first_result == "queue" else standard_library(warm=False)
        print(asyncio.run(first_result(contestant, VALUE)))
        return 0
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"== Python {sys.version.split()[0]}, {os.cpu_count()} CPUs, load {load}")
    names = list(FIGURES) if "all" in arguments.figures else arguments.figures
    contests = (contest for name in names for contest in FIGURES[name](arguments.scale))
    kept = [_hold(contest, arguments.rounds) for contest in contests]
    return 1 if arguments.check and not all(kept) else 0


if __name__ == "__main__":
    sys.exit(main())
