"""Robust statistics of a few rounds: medians with intervals, ratios, and the growth of memory."""

import random
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import accumulate, combinations, pairwise
from statistics import median

import msgspec

RESAMPLES = 1000
CONFIDENCE = 0.95
MIN_GROWTH = 4 * 1024 * 1024  # bytes that memory must grow by; smaller changes are noise of the allocator
MIN_GROWTH_SHARE = 0.05  # the same as a share of the memory at first
STEADY = 0.75  # the share of the rounds in which memory must grow


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
    of Theil and Sen, the median over all pairs of rounds, which tolerates single outliers.
    """
    bytes_after, totals = list(memory[1:]), list(accumulate(events[1:]))
    if len(bytes_after) < 4:
        return None
    grown = bytes_after[-1] - bytes_after[0]
    rising = sum(after > before for before, after in pairwise(bytes_after)) / (len(bytes_after) - 1)
    if grown < max(MIN_GROWTH, MIN_GROWTH_SHARE * bytes_after[0]) or rising < STEADY:
        return None
    points = zip(totals, bytes_after, strict=True)
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x2 > x1]
    return max(0.0, median(slopes)) or None if slopes else None
