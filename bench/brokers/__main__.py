"""What an event costs that comes from a broker, against one that the same program has sent.

    python -m bench.brokers [--events N] [--size BYTES] [--rounds N]

All is on this machine, by loopback: the program, one worker process, the server of the broker. Messages are in the
broker before the clock starts; it stops when the last one is acknowledged. Contestants take turns; a ratio is taken
within a round. That of CPU time, program and broker together, is the steadier one where the machine has other things to
do.
"""

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvloop

from bench.brokers.contestants import HANDLERS, Broker, Jetstream, Redis, Sample, fed, local
from bench.brokers.server import NoServer, nats_server, redis_server


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.brokers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=10_000, help="in each run (default: %(default)s)")
    parser.add_argument("--size", type=int, default=200, help="bytes of each payload (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    return parser.parse_args()


@contextlib.contextmanager
def brokers() -> Iterator[list[Broker]]:
    """Have the servers run that there are."""
    found: list[Broker] = []
    with contextlib.ExitStack() as stack:
        for kind, make in ((Jetstream, nats_server), (Redis, redis_server)):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            try:
                server = make(folder)
            except NoServer as exc:
                print(f"NOTE: {kind.name} is left out: {exc}")
                continue
            server.start()
            stack.callback(server.stop)
            found.append(kind(server))
        yield found


def contests(found: list[Broker], mode: str, options: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    """Return the contestants of a mode, the local one first."""
    sides: dict[str, Callable[[], Any]] = {"local": lambda: local(mode, options.events, options.size)}
    for broker in found:
        sides[type(broker).name] = lambda broker=broker: fed(broker, mode, options.events, options.size)  # type: ignore[attr-defined,misc]
    return sides


def show(mode: str, samples: dict[str, list[Sample]]) -> None:
    """Print the medians, and the ratios to the local queue."""
    print(f"\nhandler of mode {mode!r}: microseconds for each event, median of {len(samples['local'])} rounds")
    print(
        f"  {'':<14} {'time':>8} {'CPU here':>9} {'broker':>8}   against local, median [least .. greatest]: time; CPU"
    )
    for side, taken in samples.items():
        wall, program, broker, publishing = (statistics.median(figure) * 1e6 for figure in zip(*taken, strict=True))
        pairs = list(zip(taken, samples["local"], strict=True))
        times = _spread([mine.wall / theirs.wall for mine, theirs in pairs])
        cpu = _spread([(mine.program + mine.broker) / (theirs.program + theirs.broker) for mine, theirs in pairs])
        print(f"  {side:<14} {wall:8.1f} {program:9.1f} {broker:8.1f} {publishing:8.1f}   {times};  {cpu}", flush=True)


def _spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):5.1f} [{min(ratios):.1f} .. {max(ratios):.1f}]"


def main() -> int:
    options = _arguments()
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"== Python {sys.version.split()[0]}, {os.cpu_count()} CPUs, load {load}, {options.events:,} events a run")
    with brokers() as found:
        for mode in HANDLERS:
            sides = contests(found, mode, options)
            samples: dict[str, list[Sample]] = {side: [] for side in sides}
            for number in range(options.rounds + 1):
                for side, run in sides.items():
                    sample = uvloop.run(run())
                    if number:  # the first round warms up
                        samples[side].append(sample)
            show(mode, samples)
    return 0


if __name__ == "__main__":
    sys.exit(main())
