"""Write index.html, report.json and report.md beside a file of pytest-benchmark, and hold the bounds against it."""

import argparse
import sys
from pathlib import Path

import msgspec

from bench.reporting.guard import read_bounds, verdicts
from bench.reporting.page import markdown, page
from bench.reporting.records import read


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.reporting", description=__doc__)
    parser.add_argument("benchmark", type=Path, help="what --benchmark-json has written")
    parser.add_argument("--command", default="make bench", help="what it was called with, for the report")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if a bound is broken")
    options = parser.parse_args()
    run = read(options.benchmark, options.command)
    judged = verdicts(run, read_bounds())
    folder: Path = options.benchmark.parent
    (folder / "index.html").write_text(page(run, judged), encoding="utf-8")
    (folder / "report.md").write_text(markdown(run, judged), encoding="utf-8")
    (folder / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1))
    print(f"written: {folder / 'index.html'}, report.md, report.json")
    broken = [bound for bound, _, holds in judged if not holds]
    for bound in broken:
        print(f"BROKEN: {bound.scenario}: {bound.ours} / {bound.opponent} below {bound.at_least:g}", file=sys.stderr)
    return 1 if options.check and broken else 0


if __name__ == "__main__":
    sys.exit(main())
