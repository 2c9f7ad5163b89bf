"""Who gets the next jobs, and how deep: pure decisions over numbers that are handed in."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "DEEPEST",
    "HORIZON",
    "SHALLOWEST",
    "SHORTEST_VISIT",
    "depth_for",
    "head_start",
    "load_of",
    "room_for",
    "share_out",
    "visit_pause",
]

HORIZON: Final = 0.008
"""Seconds of work a worker may hold: enough to hide the round trip and the parent's other business, and what
an event behind a long one loses is little, because jobs that have not started are taken back."""

SHALLOWEST: Final = (
    2  # the next job is there when one ends; more gains nothing once a job takes a millisecond
)
SHORTEST_VISIT: Final = 0.001  # a loop's timers round to that
LONGEST_VISIT: Final = 0.002
DEEPEST: Final = 256  # more gains nothing even when a job takes no time


def depth_for(service_time: float) -> int:
    """Return how many jobs of `service_time` seconds a worker may hold."""
    if service_time * DEEPEST <= HORIZON:
        return DEEPEST
    return max(SHALLOWEST, round(HORIZON / service_time))


def visit_pause(service_time: float) -> float:
    """Return the seconds between two looks at the results of workers that have more jobs of `service_time` seconds.

    A quarter of what they hold: then they are refilled long before they run dry. A result waits no longer than that,
    and only where more work is behind it.
    """
    return min(max(SHORTEST_VISIT, depth_for(service_time) * service_time / 4), LONGEST_VISIT)


def head_start(quota: int, startup: float, service_time: float) -> int:
    """Return how many jobs before the end of its quota a worker's successor is started, so that none waits for it.

    Args:
        quota: jobs that a worker may run; never is more than a quarter of it given up for this.
        startup: seconds that a worker takes to start.
        service_time: seconds that a job takes.

    """
    return min(quota // 4, ceil(startup / max(service_time, 1e-6)))


def load_of(in_hand: int, running_for: float, service_time: float) -> int:
    """Return how many typical jobs of work a worker has before it.

    A job that has already run longer than is typical is expected to run as long again: heavy tails do.
    """
    if in_hand == 0 or running_for <= service_time:
        return in_hand
    return in_hand - 1 + max(1, round(running_for / max(service_time, 1e-6)))


def room_for(load: int, depth: int) -> int:
    """Return how many jobs a worker takes: in batches, so none until half its depth is used up."""
    return depth - load if load <= depth // 2 else 0


def share_out(jobs: int, loads: Sequence[int], depth: int) -> list[int]:
    """Divide `jobs` among workers so that the least loaded come first and the loads end as equal as they can.

    Returns:
        For each worker how many it gets; together no more than `jobs`, none above `depth` in all.

    """
    shares = [0] * len(loads)
    open_ones = sorted((load, place) for place, load in enumerate(loads) if room_for(load, depth))
    jobs = min(jobs, sum(depth - load for load, _ in open_ones))
    if jobs:
        level = _level(jobs, [load for load, _ in open_ones])
        for load, place in open_ones:
            shares[place] = max(0, level - 1 - load)
        over = jobs - sum(shares)  # these fill some workers to the level itself
        for load, place in open_ones[:over]:
            shares[place] = level - load
    return shares


def _level(jobs: int, loads: list[int]) -> int:
    """Return the lowest level up to which filling all `loads` (ascending) takes at least `jobs`."""
    total = 0
    for count, load in enumerate(loads, 1):
        total += load
        level = -(-(jobs + total) // count)
        if count == len(loads) or level <= loads[count]:
            return level
    return 0
