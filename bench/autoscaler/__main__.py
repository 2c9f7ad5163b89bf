"""Compare scaling laws in simulation: `python -m bench.autoscaler`."""

import argparse
import os
import sys
from pathlib import Path

from bench.autoscaler.contest import (
    FAMILIES,
    ORACLE,
    OURS,
    SIZES,
    Score,
    Standing,
    breaches,
    contest,
    law_names,
    run_law,
    standings,
)
from bench.autoscaler.drawing import draw

HEAD = f"{'':22}{'min thr':>8}{'p50x':>8}{'p99x':>8}{'ws':>7}{'actions':>9}{'lost':>7}{'to 90%':>8}{'slow':>7}"
DETAIL = f"{'':22}{'thr':>8}{'p50x':>8}{'p99x':>8}{'ws':>7}{'actions':>9}{'lost':>7}{'to 90%':>8}"


def main() -> None:
    options = _options()
    laws = [OURS] if options.ours else law_names()
    broken: list[str] = []
    for family, cores in [(one, size) for one in options.family for size in options.cores or SIZES[one]]:
        scores = contest(cores, range(1, options.seeds + 1), laws, options.jobs, family)
        print(
            f"\n{family} workloads, {cores} cores, {options.seeds} seeds; "
            "thr, p50x, p99x and ws (worker-seconds) against the oracle's"
        )
        print(HEAD)
        for standing in standings(scores):
            print(_line(standing))
        if options.detail:
            _print_detail(scores)
        if options.draw:
            _draw(options.draw, family, cores, laws)
        ours = [one for one in standings(scores) if one.law == OURS]
        broken += [breach for one in ours for breach in breaches(one, family)]
    if options.check and broken:
        sys.exit("\n".join(broken))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.autoscaler", description=__doc__)
    parser.add_argument("--cores", type=int, nargs="+", help="sizes of the machine; each family has its own")
    parser.add_argument(
        "--family",
        choices=list(FAMILIES),
        nargs="+",
        default=list(FAMILIES),
        help="the workloads that the law was made with, others, those that failed once, or several of them",
    )
    parser.add_argument("--seeds", type=int, default=3, help="runs of each workload, each with other random numbers")
    parser.add_argument("--ours", action="store_true", help="leave out the opponents")
    parser.add_argument("--detail", action="store_true", help="show every workload")
    parser.add_argument("--check", action="store_true", help="fail when this library breaks one of its bounds")
    parser.add_argument(
        "--draw", type=Path, metavar="FOLDER", help="draw the courses of the first seed, a page for each workload"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes to simulate in")
    return parser.parse_args()


def _line(one: Standing) -> str:
    reached = f"{one.reached:>7.2f}s{one.reached_slow:>6.2f}s"
    return (
        f"{one.law:22}{one.throughput:>8.3f}{one.p50:>8.2f}{one.p99:>8.2f}{one.cost:>7.2f}"
        f"{one.actions:>9,.0f}{one.lost:>7,.0f}{reached}"
    )


def _print_detail(scores: list[Score]) -> None:
    for name in dict.fromkeys(one.workload for one in scores):
        print(f"\n  {name}\n{DETAIL}")
        for law in dict.fromkeys(one.law for one in scores):
            for one in scores:
                if (one.workload, one.law) == (name, law):
                    reached = "" if one.reached is None else f"{one.reached:>7.2f}s"
                    cost = "-" if one.cost is None else f"{one.cost:.2f}"
                    print(
                        f"{law:22}{one.throughput:>8.3f}{one.p50:>8.2f}{one.p99:>8.2f}{cost:>7}"
                        f"{one.actions:>9,}{one.lost:>7,}{reached}"
                    )


def _draw(folder: Path, family: str, cores: int, laws: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for workload in FAMILIES[family](cores):
        outcomes = {name: run_law(name, workload, 1) for name in (ORACLE, *laws)}
        path = folder / f"{cores}-cores-{workload.name.replace(' ', '-').lower()}.html"
        draw(path, f"{workload.name}, {cores} cores", workload.duration, outcomes)
    print(f"drawn: {folder}/{cores}-cores-*.html")


if __name__ == "__main__":
    main()
