"""Growth of memory: whether a handler leaks, and how much."""

from collections.abc import Sequence
from itertools import accumulate, combinations, pairwise
from statistics import median

__all__ = ["growth"]

LEAST = 4 * 1024 * 1024
"""Bytes that memory must have grown by: less is what allocators do."""
SHARE = 0.05
"""The same as a share of the memory at first."""
STEADY = 0.75
"""The share of the rounds in which it must have grown."""


def growth(memory: Sequence[int], events: Sequence[int]) -> float | None:
    """Return by how many bytes memory grows with each event; None when it does not.

    The slope is Theil and Sen's, the median over all pairs of rounds, so that one odd reading does not count. The first
    round only warms up.

    Args:
        memory: bytes after each round.
        events: events of each round.

    """
    seen, totals = list(memory[1:]), list(accumulate(events[1:]))
    if len(seen) < 4:
        return None
    grown = seen[-1] - seen[0]
    risen = sum(after > before for before, after in pairwise(seen)) / (len(seen) - 1)
    if grown < max(LEAST, SHARE * seen[0]) or risen < STEADY:
        return None
    points = zip(totals, seen, strict=True)
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x2 > x1]
    return max(0.0, median(slopes)) or None if slopes else None
