"""Streams against their opponents, all in one run: `python -m bench.streams FIGURE...`.

The sides of a contest alternate for an odd number of rounds. Ratios are of rates, taken within a round: above 1, the
stream is faster. Absolute figures depend on the machine and on what else runs there; ratios less.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from typing import TYPE_CHECKING

from bench.front_end.contest import Spread
from bench.streams import contestants
from bench.streams.floor import floor
from bench.streams.work import Work, works

if TYPE_CHECKING:
    from collections.abc import Callable

FIGURES = ("no-op", "100us", "1ms", "parse", "compress", "json", "waiting", "memory")
WAITING = 1000
"""Coroutines that wait at once."""


def contest(title: str, count: int, rounds: int, sides: dict[str, Callable[[], contestants.Sample]]) -> None:
    """Alternate the sides, of which the first is the stream, and print rates, CPU time and ratios."""
    print(f"\n{title}: median of {rounds} [least .. greatest]", flush=True)
    names = list(sides)
    found: list[dict[str, contestants.Sample]] = []
    for number in range(rounds):
        shift = number % len(names)
        found.append({name: sides[name]() for name in (*names[shift:], *names[:shift])})
    for name in names:
        rate = Spread.of([count / samples[name][0] for samples in found])
        cpu = Spread.of([samples[name][1] / count * 1e6 for samples in found])
        print(f"  {name:<28} {rate.median:12,.0f} values/s   {cpu.median:8.2f} us of CPU a value in the program")
    for name in names[1:]:
        ratio = Spread.of([samples[name][0] / samples[names[0]][0] for samples in found])
        print(f"  stream : {name:<19} {ratio.median:12.3f} [{ratio.least:.3f} .. {ratio.greatest:.3f}]")
    sys.stdout.flush()


def against_others(name: str, work: Work, rounds: int) -> None:
    """Hold the contest of one kind of work."""
    others = {**contestants.others(work), "bare processes": contestants.bare}
    if name == "no-op":
        others["floor"] = floor
    sides = {other: partial(run, work) for other, run in others.items()}
    contest(name, len(work.values), rounds, {"stream": partial(contestants.stream, work), **sides})


def main() -> None:
    """Hold the contests that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.streams", description=__doc__)
    parser.add_argument("figures", nargs="*", choices=[*FIGURES, "all"], default="all", metavar="figure")
    parser.add_argument("--rounds", type=int, default=5, help="each side once in each (default: %(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of values (default: %(default)s)")
    arguments = parser.parse_args()
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"== Python {sys.version.split()[0]}, {os.cpu_count()} CPUs, load {load}")
    chosen = FIGURES if "all" in arguments.figures else arguments.figures
    for name in chosen:
        if name == "waiting":
            count = int(20_000 * arguments.scale)
            sides = {
                "stream": partial(contestants.waiting_stream, count, WAITING),
                "TaskGroup and semaphore": partial(contestants.waiting_group, count, WAITING),
            }
            contest(f"{WAITING} coroutines that wait", count, arguments.rounds, sides)
        elif name == "memory":
            count = int(10_000_000 * arguments.scale)
            early, late = contestants.memory_over(count)
            print(f"\nmemory of the program: {early:.1f} MiB after {count // 10:,} values, {late:.1f} after {count:,}")
        else:
            against_others(name, works(arguments.scale)[name], arguments.rounds)


if __name__ == "__main__":
    main()
