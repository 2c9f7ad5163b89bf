"""Decisions about concurrency: numbers of events in flight to try, the best of them, and how many workers."""

import math
from collections.abc import Mapping, Sequence

FACTOR = 4
ENOUGH = 0.9  # the share of the maximum throughput that is enough: with more in flight, mostly latency grows
MAX_IN_FLIGHT = {"coroutine": 1024, "thread": 256}  # upper limit of events in flight
MAX_PER_WORKER = 64  # upper limit of events in flight per worker process
MAX_WORK_PER_WORKER = 0.01  # upper limit of the work in flight per worker process, in seconds
MAX_COMPUTING = 1.0  # upper limit of the CPU time in flight, in seconds, in modes that use one core
MIN_TRY = 0.1  # minimum duration of a try, in seconds
MAX_WORKERS_PER_CPU = 8


def numbers_to_try(mode: str, workers: int, service: float, busy: float, seconds: float) -> list[int]:
    """Return numbers of events in flight to try after 1, in ascending order, at least one.

    An event that is alone takes `service` seconds, more than 0, and keeps a CPU busy for the share `busy` of them.
    All tries take about `seconds`; one takes twice the time of an event, at least `MIN_TRY`.
    """
    if mode == "process":
        # A worker runs one event at a time; further events in flight hide the transfer time.
        number = 2 * workers
        top = workers * min(MAX_PER_WORKER, max(2, round(MAX_WORK_PER_WORKER / service)))
    else:
        computing = max(1e-9, service * busy)
        number = FACTOR if FACTOR * computing < MAX_COMPUTING else 2
        top = max(number, min(MAX_IN_FLIGHT[mode], round(MAX_COMPUTING / computing)))
    numbers = [number]
    while numbers[-1] < top:
        numbers.append(min(top, numbers[-1] * FACTOR))
    tries = max(1, int(seconds / max(2 * service, MIN_TRY)))
    # If the time does not suffice for all, the largest numbers are the most informative.
    return numbers[-tries:]


def of_batches(calls: Sequence[int], batch: int, most: int) -> list[int]:
    """Return the numbers of events in flight for these numbers of calls, of `batch` events each, up to `most`.

    Without batches, 0, a call has one event.
    """
    return sorted({min(most, number * batch) for number in calls}) if batch else list(calls)


def knee(rates: Mapping[int, float], *, least: int = 1) -> int:
    """Return the smallest number of events in flight whose throughput is close to the maximum.

    `rates` has events per second by events in flight, at least one of them for `least` or more. Smaller numbers do not
    count, such as fewer than one per worker.
    """
    eligible = {number: rate for number, rate in rates.items() if number >= least}
    return min(number for number, rate in eligible.items() if rate >= ENOUGH * max(eligible.values()))


def saturating_workers(cpus: int, busy: float) -> int:
    """Return how many worker processes keep the CPUs busy if each computes for a share `busy` of its time.

    N = CPUs * (1 + wait / compute): Goetz et al., Java Concurrency in Practice, 2006, section 8.2. At most 8 per CPU.
    """
    return min(MAX_WORKERS_PER_CPU * cpus, math.ceil(cpus / max(busy, 1 / MAX_WORKERS_PER_CPU)))
