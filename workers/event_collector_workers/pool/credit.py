"""Assignment of jobs to workers: how many each may hold, and which gets the next. Pure functions of numbers."""

from collections.abc import Sequence
from math import ceil
from typing import Final, NamedTuple

from event_collector_workers.transport.sheet import LONG

HORIZON: Final = 0.008
"""Seconds of work a worker may hold. Enough to hide the round trip and the parent's other work; a job behind a long
one loses little, because jobs that have not started are taken back."""
LONG_HORIZON: Final = 0.032
"""Seconds of work a worker may hold if no later job can be more urgent. Fewer visits are needed, and each visit takes
a processor from a worker."""

SHALLOWEST: Final = 2  # jobs; one runs, one waits. More gains nothing once a job takes a millisecond
DEEPEST: Final = 256  # jobs; more gains nothing even if a job takes no time
SHORTEST_VISIT: Final = 0.001  # seconds; the resolution of the loop's timers
USUAL_VISIT: Final = 0.002
LONGEST_VISIT: Final = 0.008
LONGEST_CHUNK_VISIT: Final = 0.024
"""Seconds between visits to workers that hold chunks, each with many results. Each visit wakes the program, which costs
a processor as much as many results."""
HELD_UP: Final = LONG  # seconds in one job after which the jobs behind it are better off elsewhere
UNSTARTED: Final = 0.05  # seconds without starting a job after which all jobs are better off elsewhere


class Credit(NamedTuple):
    """How many jobs a worker may hold, and when it is refilled."""

    depth: int  # jobs a worker may hold
    low: int  # a worker is refilled only when it holds no more than this, so jobs travel in batches


def credit_for(service_time: float, horizon: float) -> Credit:
    """Return the credit of a worker that may hold `horizon` seconds of work in jobs of `service_time` seconds.

    The worker is refilled when half of that is done and at most HORIZON is left. An earlier refill is not urgent, and
    with few events in flight each would be handed over alone.
    """
    depth = depth_for(service_time, horizon)
    return Credit(depth, min(depth // 2, depth_for(service_time, HORIZON)))


def depth_for(service_time: float, horizon: float) -> int:
    """Return how many jobs of `service_time` seconds make up `horizon` seconds of work."""
    if service_time * DEEPEST <= horizon:
        return DEEPEST
    return max(SHALLOWEST, round(horizon / service_time))


def visit_pause(service_time: float, in_hand: int, longest: float = LONGEST_VISIT) -> float:
    """Return the seconds, at most `longest`, until the next visit to workers that hold `in_hand` jobs.

    `service_time` is the seconds that a job takes.

    It is half of the work that they hold, so they are refilled before they run dry. A result waits at most that long,
    and only if more work is behind it. Workers with little work announce their last results.
    """
    least = max(SHORTEST_VISIT, min(USUAL_VISIT, service_time * DEEPEST / 4))
    return max(least, min(longest, service_time * in_hand / 2))


def head_start(quota: int, startup: float, service_time: float) -> int:
    """Return how many jobs before the end of its quota, at most a quarter, a successor must start to be in time."""
    return min(quota // 4, ceil(startup / max(service_time, 1e-6)))


def worker_load(in_hand: int, running_for: float, service_time: float) -> int:
    """Return the work that a worker holds, in typical jobs.

    A job that has already run longer than typical is expected to run as long again, as in heavy-tailed distributions.
    """
    if in_hand == 0 or running_for <= service_time:
        return in_hand
    return in_hand - 1 + max(1, round(running_for / max(service_time, 1e-6)))


def is_held_up(in_hand: int, age: float, service_time: float, *, begun: bool, idle: bool) -> bool:
    """Return whether the jobs that a worker has not started are better off with other workers that have room.

    `age` is the seconds that it has been in its current job or, if none has `begun`, has held jobs. `idle` is whether
    another worker has no job.
    """
    if not begun:
        return in_hand > 0 and age > UNSTARTED
    if idle and in_hand > depth_for(service_time, HORIZON):
        return True
    return in_hand > 1 and age > (HELD_UP if idle else max(HELD_UP, 2 * service_time))


def room_for(load: int, credit: Credit) -> int:
    """Return how many jobs a worker with this load accepts."""
    return credit.depth - load if load <= credit.low else 0


def share_out(jobs: int, loads: Sequence[int], credit: Credit) -> list[int]:
    """Return how many of `jobs` each worker gets: loads become as equal as possible, and none exceeds the depth."""
    shares = [0] * len(loads)
    refillable = sorted((load, index) for index, load in enumerate(loads) if room_for(load, credit))
    jobs = min(jobs, sum(credit.depth - load for load, _ in refillable))
    if jobs:
        level = _level(jobs, [load for load, _ in refillable])
        for load, index in refillable:
            shares[index] = max(0, level - 1 - load)
        remaining = jobs - sum(shares)  # one more for each of the least loaded, up to the level itself
        for load, index in refillable[:remaining]:
            shares[index] = level - load
    return shares


def _level(jobs: int, loads: list[int]) -> int:
    """Return the lowest level such that raising all `loads` (ascending) to it takes at least `jobs`."""
    total = 0
    for count, load in enumerate(loads, 1):
        total += load
        level = -(-(jobs + total) // count)
        if count == len(loads) or level <= loads[count]:
            return level
    return 0
