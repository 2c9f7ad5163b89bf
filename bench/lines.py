"""`event-collector run` against other ways to run a function over lines, as whole processes: `python -m bench.lines`.

A file of short lines of JSON, two worker processes, a handler that adds one. The sides alternate for an odd number of
rounds, the start of each program included. Ratios are of rates, taken within a round: above 1, the command is faster.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.front_end.contest import Spread

WORKERS = 2

HANDLER = """\
def add_one(value):
    return value + 1
"""

POOL = """\
import json, sys
from multiprocessing import Pool

def act(line):
    return json.dumps(json.loads(line) + 1)

if __name__ == "__main__":
    with open(sys.argv[1]) as lines, Pool(2) as pool:
        for line in pool.imap(act, lines, chunksize=512):
            print(line)
"""

LOOP = """\
import json, sys

for line in sys.stdin:
    print(json.dumps(json.loads(line) + 1))
"""

Sample = tuple[float, float]
"""Seconds, and seconds of CPU time of all processes."""


def programs(folder: Path, lines: int) -> dict[str, list[str]]:
    """Write the programs and their input; return the command lines, the first one of `event-collector run`."""
    for name, text in (("handler.py", HANDLER), ("pool.py", POOL), ("loop.py", LOOP)):
        (folder / name).write_text(text)
    source = folder / "input.ndjson"
    source.write_text("".join(f"{number}\n" for number in range(lines)))
    workers = [f"--workers={WORKERS}", f"--min-workers={WORKERS}"]
    found = {
        "run": [sys.executable, "-m", "event_collector", "run", "handler:add_one", str(source), "--quiet", *workers],
        "Pool.imap": [sys.executable, "pool.py", str(source)],
    }
    parallel = shutil.which("parallel")
    if parallel is None:
        print("  GNU parallel is not installed: left out")
    else:
        loop = f"{sys.executable} loop.py"
        found["parallel --pipe -k"] = ["sh", "-c", f"{parallel} -j{WORKERS} --pipe -k {loop} < {source}"]
    return found


def sample(command: list[str], folder: Path, lines: int) -> Sample:
    """Run a program to its end."""
    output = folder / "output"
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # users have compiled modules
    before, begun = _cpu(), time.perf_counter()
    with output.open("wb") as stdout:
        subprocess.run(command, check=True, cwd=folder, stdout=stdout, env=environment)
    taken = time.perf_counter() - begun
    if (written := output.read_bytes().count(b"\n")) != lines:
        raise RuntimeError(f"{command[0]} has written {written} lines of {lines}")
    return taken, _cpu() - before


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Hold the contest."""
    parser = argparse.ArgumentParser(prog="python -m bench.lines", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="each side once in each (default: %(default)s)")
    parser.add_argument("--lines", type=int, default=400_000, help="lines of input (default: %(default)s)")
    arguments = parser.parse_args()
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"== Python {sys.version.split()[0]}, {os.cpu_count()} CPUs, load {load}, {arguments.lines:,} lines")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sides = programs(folder, arguments.lines)
        names = list(sides)
        found: list[dict[str, Sample]] = []
        for number in range(-1, arguments.rounds):  # the first round warms up
            shift = number % len(names)
            order = (*names[shift:], *names[:shift])
            found.append({name: sample(sides[name], folder, arguments.lines) for name in order})
        _print(found[1:], names, arguments.lines)


def _print(found: list[dict[str, Sample]], names: list[str], lines: int) -> None:
    for name in names:
        rate = Spread.of([lines / samples[name][0] for samples in found])
        cpu = Spread.of([samples[name][1] / lines * 1e6 for samples in found])
        print(f"  {name:<24} {rate.median:12,.0f} lines/s   {cpu.median:8.2f} us of CPU a line in all processes")
    for name in names[1:]:
        ratio = Spread.of([samples[name][0] / samples[names[0]][0] for samples in found])
        print(f"  run : {name:<18} {ratio.median:12.3f} [{ratio.least:.3f} .. {ratio.greatest:.3f}]")


if __name__ == "__main__":
    main()
