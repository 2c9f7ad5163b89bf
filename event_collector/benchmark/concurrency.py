"""How many events at once: which numbers are worth a try, and which of them is enough."""

import math
from collections.abc import Mapping

__all__ = ["crowd", "knee", "steps"]

FACTOR = 4
ENOUGH = 0.9
"""The share of the greatest throughput that is enough: more events at once than it takes only wait longer."""
TOP = {"coroutine": 1024, "thread": 256}
"""Events at once beyond which nothing is tried."""
CREDIT = 64
"""Events at once for each worker process beyond which nothing is tried."""
TRAVEL = 0.01
"""Seconds of work in the hands of each worker process beyond which nothing is tried."""
COMPUTING = 1.0
"""Seconds of computing at once beyond which nothing is tried where one core does it all."""
TRY = 0.1
"""Seconds that a try takes at least."""
CROWD = 8
"""Worker processes for each CPU beyond which nothing is tried."""


def steps(mode: str, workers: int, service: float, busy: float, seconds: float) -> list[int]:
    """Return numbers of events at once to try after 1, in ascending order, at least one.

    Args:
        mode: coroutine, thread or process.
        workers: worker processes, in that mode.
        service: seconds of one event that is alone, above 0.
        busy: the share of that in which a CPU was busy for it.
        seconds: how long it may take altogether; a try takes twice the time of an event, at least `TRY`.

    """
    if mode == "process":
        # A worker runs one at a time: the others only hide how long they travel.
        number = 2 * workers
        top = workers * min(CREDIT, max(2, round(TRAVEL / service)))
    else:
        computing = max(1e-9, service * busy)
        number = FACTOR if FACTOR * computing < COMPUTING else 2
        top = max(number, min(TOP[mode], round(COMPUTING / computing)))
    found = [number]
    while found[-1] < top:
        found.append(min(top, found[-1] * FACTOR))
    tries = max(1, int(seconds / max(2 * service, TRY)))
    # Without time for all: the greatest tell most.
    return found[-tries:]


def knee(rates: Mapping[int, float], *, least: int = 1) -> int:
    """Return the least number of events at once with which the throughput is nearly the greatest seen.

    Args:
        rates: events per second by number of events at once, at least one of them for `least` or more.
        least: smaller numbers do not count, such as less than one for each worker.

    """
    able = {number: rate for number, rate in rates.items() if number >= least}
    return min(number for number, rate in able.items() if rate >= ENOUGH * max(able.values()))


def crowd(cpus: int, busy: float) -> int:
    """Return how many worker processes keep the CPUs busy when each is so for a share of its time.

    N = CPUs * (1 + wait / compute): Goetz et al., Java Concurrency in Practice, 2006, section 8.2. Not more than 8 for
    each CPU.
    """
    return min(CROWD * cpus, math.ceil(cpus / max(busy, 1 / CROWD)))
