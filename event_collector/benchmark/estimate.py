"""Robust statistics of a few rounds: medians with intervals, ratios, and the growth of memory."""

import random
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import accumulate, combinations, pairwise
from statistics import median

import msgspec

RESAMPLES = 1000
CONFIDENCE = 0.95
MIN_GROWTH = 8 * 1024 * 1024  # bytes that memory must grow by; smaller changes are noise of the allocator
MIN_GROWTH_SHARE = 0.1  # the same as a share of the memory at first
MIN_READINGS = 5  # readings of memory after the warm-up; fewer look like a line by chance
STEADY = 0.75  # the share of the rounds in which memory must grow
LASTING = 0.6  # the growth per event in the second half, as a share of that in the first
LINEAR = 0.25  # how far a reading may be from the line, as a share of the growth


class Estimate(msgspec.Struct, frozen=True):
    """A median with its interval.

    The interval is the percentile bootstrap's (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter
    13): the middle 95 percent of the medians of samples drawn from the sample. It assumes no distribution, and it is
    too narrow with fewer than five rounds.
    """

    median: float
    low: float
    high: float
    rounds: int

    @property
    def half_width(self) -> float:
        """Half of the interval as a share of the median; infinite for a median of 0."""
        return (self.high - self.low) / 2 / self.median if self.median else float("inf")


def estimate(values: Sequence[float]) -> Estimate:
    """Return the median of at least one value, with its interval."""
    return _bootstrap(tuple(values))


def paired_ratio(over: Sequence[float], under: Sequence[float]) -> Estimate:
    """Return the median ratio of figures of the same rounds, in which other load of the machine affects both.

    Raises ValueError if they have no round in common, or a figure is not above 0.
    """
    pairs = list(zip(over, under, strict=False))
    if not pairs or any(value <= 0 for pair in pairs for value in pair):
        raise ValueError("a ratio takes figures above 0 of at least one round")
    return estimate([first / second for first, second in pairs])


@lru_cache(maxsize=256)
def _bootstrap(values: tuple[float, ...]) -> Estimate:
    draw: Callable[..., list[float]] = random.Random(0).choices  # the same values give the same interval
    medians = sorted(median(draw(values, k=len(values))) for _ in range(RESAMPLES))
    cut = round(RESAMPLES * (1 - CONFIDENCE) / 2)
    return Estimate(median(values), medians[cut], medians[-1 - cut], len(values))


def memory_growth(memory: Sequence[int], events: Sequence[int]) -> float | None:
    """Return by how many bytes memory grows per event; None if it does not grow.

    `memory` is in bytes, after each round. The first round is a warm-up and does not count. The slope is the estimator
    of Theil and Sen, the median over all pairs of rounds, which tolerates single outliers. Growth that is not in
    proportion to the events does not count: caches fill up, and the heap of a process takes a while to settle.
    """
    bytes_after, totals = list(memory[1:]), list(accumulate(events[1:]))
    if len(bytes_after) < MIN_READINGS:
        return None
    grown = bytes_after[-1] - bytes_after[0]
    rising = sum(after > before for before, after in pairwise(bytes_after)) / (len(bytes_after) - 1)
    if grown < max(MIN_GROWTH, MIN_GROWTH_SHARE * bytes_after[0]) or rising < STEADY:
        return None
    points = list(zip(totals, bytes_after, strict=True))
    middle = len(points) // 2
    slope, early, late = _slope(points), _slope(points[: middle + 1]), _slope(points[middle:])
    begin = median(y - slope * x for x, y in points)
    is_line = all(abs(y - begin - slope * x) <= LINEAR * grown for x, y in points)
    return slope if slope > 0 and late >= LASTING * early and is_line else None


def _slope(points: Sequence[tuple[int, int]]) -> float:
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x2 > x1]
    return median(slopes) if slopes else 0.0
