"""What a viewer that asks for everything takes of the event loop: the share of its time, at a given rate of events.

    python -m bench.watching                     20,000 coroutine events a second, in one collector and in 1,000
    python -m bench.watching --check             status 1 if a share is above its bound
    python -m bench.watching --workers 64        with worker processes that wait, besides
    python -m bench.watching --process           the events go to worker processes

One queue gets the same events all the time. A viewer in another process is connected in every other window. Figures are
CPU seconds of the loop's thread per second; the difference of neighbouring windows is the cost of the viewer.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from event_collector import Collector, CollectorQueue, Delivery, Payload

__all__ = ["main"]

AT_MOST = 0.02
WINDOW = 3.0
"""Seconds of a window. Snapshots are made every second."""
SETTLING = 1.2
"""Seconds at its begin that do not count."""
TICK = 0.002
"""Seconds between two bursts of the sender."""

VIEWER = """
import socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
connection.sendall(b"details\\n")
while connection.recv(1 << 20):
    pass
"""


async def no_op(value: Any) -> Any:
    """Return the value."""
    return value


def no_op_there(value: Any) -> Any:
    """Return the value, in a worker process."""
    return value


async def send(queue: CollectorQueue, rate: float, keys: list[str]) -> None:
    """Send events at a rate, to one collector after the other."""
    publisher, due, place = queue.get_publisher(), time.perf_counter(), 0
    while True:
        due += TICK
        for _ in range(round(rate * TICK)):
            place = (place + 1) % len(keys)
            await publisher.send(Payload(place, Delivery.KEY, (keys[place],)))
        await asyncio.sleep(max(0.0, due - time.perf_counter()))


async def window() -> float:
    """Return the share of the time in which the loop's thread is on a CPU."""
    await asyncio.sleep(SETTLING)
    began, cpu = time.perf_counter(), time.thread_time()
    await asyncio.sleep(WINDOW - SETTLING)
    return (time.thread_time() - cpu) / (time.perf_counter() - began)


async def measure(rate: float, collectors: int, workers: int, rounds: int, *, process: bool) -> tuple[float, float]:
    """Return the median share of the loop without a viewer, and what a viewer adds to it."""
    handler, mode = (no_op_there, "process") if process else (no_op, "coroutine")
    everyone: list[Collector] = [Collector(f"collector-{n}", handler, mode=mode) for n in range(collectors)]
    keys = [collector.key for collector in everyone]
    if workers and not process:
        everyone.append(Collector("idle", no_op_there, mode="process"))
    pool = {"max_workers": workers, "min_workers": workers} if workers else {"max_workers": 2} if process else {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "queue.sock"
        async with CollectorQueue(everyone, monitor=path, logging=False, **pool) as queue:  # type: ignore[arg-type]
            sender = asyncio.create_task(send(queue, rate, keys))
            alone, more = [], []
            for _ in range(rounds):
                alone.append(await window())
                viewer = await asyncio.create_subprocess_exec(sys.executable, "-c", VIEWER, str(path))
                more.append(await window() - alone[-1])
                viewer.terminate()
                await viewer.wait()
            sender.cancel()
    return median(alone), median(more)


def main() -> None:
    """Measure, print, and compare with the bound."""
    parser = argparse.ArgumentParser(prog="python -m bench.watching", description=__doc__)
    parser.add_argument("--rate", type=float, default=20_000, help="events a second (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="windows of each kind (default: %(default)s)")
    parser.add_argument("--collectors", type=int, nargs="*", default=[1, 1000], help="default: 1 and 1000")
    parser.add_argument("--workers", type=int, default=0, help="worker processes")
    parser.add_argument("--process", action="store_true", help="the events go to worker processes")
    parser.add_argument("--check", action="store_true", help=f"status 1 if a viewer takes more than {AT_MOST:.0%}")
    options = parser.parse_args()
    is_missed = False
    for collectors in options.collectors:
        alone, more = asyncio.run(
            measure(options.rate, collectors, options.workers, options.rounds, process=options.process)
        )
        is_missed = is_missed or more > AT_MOST
        print(
            f"{collectors:5} collectors, {options.workers} workers, {options.rate:,.0f} events/s: "
            f"the loop is busy {alone:6.2%} of the time, a viewer adds {more:6.2%}"
        )
    sys.exit(options.check and is_missed)


if __name__ == "__main__":
    main()
