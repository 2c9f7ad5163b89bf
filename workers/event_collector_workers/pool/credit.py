"""Who gets the next jobs, and how deep: pure decisions over numbers that are handed in."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "DEEPEST",
    "HELD_UP",
    "HORIZON",
    "LONG_HORIZON",
    "SHALLOWEST",
    "SHORTEST_VISIT",
    "Credit",
    "credit_for",
    "depth_for",
    "head_start",
    "is_held_up",
    "load_of",
    "room_for",
    "share_out",
    "visit_pause",
]

HORIZON: Final = 0.008
"""Seconds of work a worker may hold: enough to hide the round trip and the parent's other business, and what
an event behind a long one loses is little, because jobs that have not started are taken back."""
LONG_HORIZON: Final = 0.032
"""The same where nothing that comes later can be more urgent: fewer looks are needed, each of which takes a processor
from a worker."""

SHALLOWEST: Final = (
    2  # the next job is there when one ends; more gains nothing once a job takes a millisecond
)
DEEPEST: Final = 256  # more gains nothing even when a job takes no time
SHORTEST_VISIT: Final = 0.001  # a loop's timers round to that
USUAL_VISIT: Final = 0.002
LONGEST_VISIT: Final = 0.008
HELD_UP: Final = 0.002  # seconds in one job after which those behind it are better off elsewhere
UNSTARTED: Final = 0.05  # seconds without starting a job after which all are


class Credit(NamedTuple):
    """How many jobs a worker may hold, and when it gets more.

    Attributes:
        depth: so many in all, at most.
        low: none while it has more than so many: they are handed over in batches.

    """

    depth: int
    low: int


def credit_for(service_time: float, horizon: float) -> Credit:
    """Return the credit of a worker for jobs of `service_time` seconds that may hold `horizon` seconds of work.

    It gets more once half of that is done and no more than HORIZON is left. With more left there is no hurry, and a
    few events in flight would each be handed over alone.
    """
    depth = depth_for(service_time, horizon)
    return Credit(depth, min(depth // 2, depth_for(service_time, HORIZON)))


def depth_for(service_time: float, horizon: float) -> int:
    """Return how many jobs of `service_time` seconds a worker may hold: those of `horizon` seconds."""
    if service_time * DEEPEST <= horizon:
        return DEEPEST
    return max(SHALLOWEST, round(horizon / service_time))


def visit_pause(service_time: float, in_hand: int) -> float:
    """Return the seconds until the next look at the results of workers with `in_hand` jobs of `service_time` seconds.

    Half of what they hold: then they are refilled before they run dry. A result waits no longer than that, and only
    where more work is behind it. Where they hold little, their last results announce themselves.
    """
    least = max(SHORTEST_VISIT, min(USUAL_VISIT, service_time * DEEPEST / 4))
    return max(least, min(LONGEST_VISIT, service_time * in_hand / 2))


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


def is_held_up(in_hand: int, age: float, service_time: float, *, begun: bool, idle: bool) -> bool:
    """Return whether what a worker has not started is better off with others, of whom somebody takes jobs.

    Args:
        in_hand: how many jobs it has.
        age: seconds that it has been in one of them, or has had them and begun none.
        service_time: seconds that a job takes.
        begun: whether it is in one.
        idle: whether somebody has nothing to do at all.

    """
    if not begun:
        return in_hand > 0 and age > UNSTARTED
    if idle and in_hand > depth_for(service_time, HORIZON):
        return True
    return in_hand > 1 and age > (HELD_UP if idle else max(HELD_UP, 2 * service_time))


def room_for(load: int, credit: Credit) -> int:
    """Return how many jobs a worker takes that has such a load."""
    return credit.depth - load if load <= credit.low else 0


def share_out(jobs: int, loads: Sequence[int], credit: Credit) -> list[int]:
    """Divide `jobs` among workers so that the least loaded come first and the loads end as equal as they can.

    Returns:
        For each worker how many it gets; together no more than `jobs`, none above its depth in all.

    """
    shares = [0] * len(loads)
    open_ones = sorted((load, place) for place, load in enumerate(loads) if room_for(load, credit))
    jobs = min(jobs, sum(credit.depth - load for load, _ in open_ones))
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
