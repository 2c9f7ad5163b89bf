"""What it costs to import this package, and what a worker imports, as multiples of `import asyncio`.

    python -m bench.imports            each figure, with the least and the greatest of the rounds
    python -m bench.imports --check    status 1 if one is above its bound

Every program is a process of its own, started in turns; measured is its CPU time, from which that of a Python that does
nothing is taken away. Modules are compiled already.
"""

import argparse
import os
import subprocess
import sys
from statistics import median
from typing import NamedTuple

__all__ = ["main"]

ROUNDS = 21


class Import(NamedTuple):
    """Something that is imported, and how much it may cost at most."""

    name: str
    code: str
    at_most: float
    """Multiples of `import asyncio`."""


NOTHING = Import("nothing", "pass", 0.0)
YARDSTICK = Import("asyncio", "import asyncio", 0.0)
IMPORTS = (
    Import("the package", "import event_collector", 0.5),
    Import("what handlers use", "from event_collector import Context, Ok, Payload", 1.2),
    Import("a queue", "from event_collector import Collector, CollectorQueue", 8.0),
    Import("a worker, `def`", "import event_collector_workers.launch.zygote, event_collector.remote.host", 2.2),
    Import(
        "a worker, `async def`",
        "import event_collector_workers.launch.zygote, event_collector.remote.host, event_collector.remote.host_loop",
        3.2,
    ),
)
"""A bound is missed when even the least of the rounds is above it: a busy machine only adds. They are there to notice a
module that should not be there, not a few percent."""


def cpu_seconds(code: str) -> float:
    """Return the CPU time of a Python that runs this."""
    process = subprocess.Popen([sys.executable, "-c", code])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # so that Popen does not look for it
    if process.returncode:
        raise SystemExit(f"{code}: ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure, print a table; with --check tell by the exit status whether the bounds hold."""
    parser = argparse.ArgumentParser(description="What imports cost, as multiples of `import asyncio`.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each is measured (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="status 1 if one is above its bound")
    options = parser.parse_args()
    everything = (NOTHING, YARDSTICK, *IMPORTS)
    for one in everything:  # compiles what is not yet, and has files in memory
        cpu_seconds(one.code)
    rounds = [{one.name: cpu_seconds(one.code) for one in everything} for _ in range(options.rounds)]
    print(f"{'import of':<24}{'median':>8}{'least':>8}{'most':>8}{'bound':>8}   x import asyncio")
    broken = []
    yardstick = median(costs["asyncio"] - costs["nothing"] for costs in rounds)
    for one in IMPORTS:
        ratios = [(costs[one.name] - costs["nothing"]) / yardstick for costs in rounds]
        middle = median(ratios)
        verdict = "MISSED" if min(ratios) > one.at_most else "met"
        print(f"{one.name:<24}{middle:>8.2f}{min(ratios):>8.2f}{max(ratios):>8.2f}{one.at_most:>8.2f}   {verdict}")
        if min(ratios) > one.at_most:
            broken.append(one.name)
    if broken and options.check:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
