"""The command line: which figures, on which interpreters and loops, how often, and whether promises are checked."""

import argparse
import contextlib
import os
import sys
from pathlib import Path

from bench.front_end.contest import Contest, Spread, hold
from bench.front_end.figures import EXISTING, FIGURES, Cast, Options
from bench.front_end.measurer import MeasurementError, Measurer
from bench.interpreters import ROOT, Unavailable, existing_library, interpreter_of, version_of


def _arguments() -> argparse.Namespace:
    figures = "\n".join(f"  {name:<14} {figure.summary}" for name, figure in FIGURES.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench.front_end",
        description="What an event costs in the front-end, and its rivals.",
        epilog=f"figures:\n{figures}\n  {'all':<14} every one of them",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("figures", nargs="+", choices=[*FIGURES, "all"], metavar="figure")
    parser.add_argument("--python", metavar="3.11,3.13", help="versions to measure on (default: the running one)")
    parser.add_argument("--loop", default="asyncio,uvloop", help="event loops (default: %(default)s)")
    parser.add_argument("--events", type=int, default=100_000, help="events of a round (default: %(default)s)")
    parser.add_argument("--consumers", type=int, default=64, help="size of fixed pools (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds, each side once in each (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="how long idleness is watched (default: %(default)s)"
    )
    parser.add_argument("--settle", type=float, default=2.0, help="seconds before that (default: %(default)s)")
    parser.add_argument("--against", type=Path, metavar="DIR", help="another checkout of this project, as a rival")
    parser.add_argument("--cpu", action="store_true", help="compare CPU time, on a machine that has other things to do")
    parser.add_argument("--alone", action="store_true", help=f"leave {EXISTING} out")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if a promise is not kept")
    return parser.parse_args()


def _existing(alone: bool) -> Path | None:
    if alone:
        return None
    try:
        return existing_library()
    except Unavailable as exc:
        print(f"NOTE: {exc}\n")
        return None


def _show(contest: Contest, rounds: int) -> bool:
    """Hold a contest, print what came of it, and return whether all promises were kept."""
    print(f"\n{contest.title}: median of {rounds} [least .. greatest]", flush=True)
    found, ratios = hold(contest, rounds)
    for side, figures in found.items():
        spread = Spread(*(value * contest.unit.factor for value in Spread.of(figures[contest.figure])))
        more = "".join(f"   {name} {Spread.of(figures[name]).median:,.5g}" for name in contest.also)
        print(f"  {side:<48} {_line(spread)} {contest.unit.name}{more}")
    kept = True
    for ratio, spread in ratios:
        met = ratio.met(spread.median)
        kept = kept and met is not False
        verdict = "" if met is None else f"  {ratio.promise}: {'met' if met else 'MISSED'}"
        print(f"  {ratio.name:<64} {_line(spread)}{verdict}")
    sys.stdout.flush()
    return kept


def _line(spread: Spread) -> str:
    return f"{spread.median:9.3f} [{spread.least:.3f} .. {spread.greatest:.3f}]"


def _measure(arguments: argparse.Namespace, python: Path, loop: str, existing: Path | None) -> bool:
    names = list(FIGURES) if "all" in arguments.figures else arguments.figures
    figure = "cpu seconds" if arguments.cpu else "seconds"
    options = Options(loop, arguments.events, arguments.consumers, arguments.seconds, arguments.settle, figure)
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"\n== Python {version_of(python)}, {loop}, {os.cpu_count()} CPUs, load {load}")
    kept = True
    with contextlib.ExitStack() as stack:
        this, bare = (stack.enter_context(Measurer(python, ROOT)) for _ in range(2))
        other = None if existing is None else stack.enter_context(Measurer(existing, None))
        rival = None
        if arguments.against is not None:
            rival = stack.enter_context(Measurer(python, arguments.against.resolve(strict=True)))
        cast = Cast(this, bare, other, rival)
        for name in names:
            for contest in FIGURES[name].contests(cast, options):
                kept = _show(contest, arguments.rounds) and kept
    return kept


def main() -> int:
    arguments = _arguments()
    existing, kept = _existing(arguments.alone), True
    for version in arguments.python.split(",") if arguments.python else [None]:
        try:
            python = interpreter_of(version)
        except Unavailable as exc:
            print(f"NOTE: Python {version} is left out: {exc}")
            continue
        for loop in arguments.loop.split(","):
            kept = _measure(arguments, python, loop, existing) and kept
    return 1 if arguments.check and not kept else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MeasurementError as error:
        sys.exit(f"error: {error}")
