"""Estimates: the median of a few rounds and how far it can be trusted."""

import random
from collections.abc import Callable, Sequence
from functools import lru_cache
from statistics import median

import msgspec

__all__ = ["Estimate", "estimate", "paired_ratio"]

RESAMPLES = 1000
CONFIDENCE = 0.95


class Estimate(msgspec.Struct, frozen=True):
    """A median with its interval.

    The interval is the percentile bootstrap's (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter
    13): the middle 95 percent of the medians of samples drawn anew from the sample. It assumes nothing of the
    distribution, and with fewer than five rounds it is too narrow.
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
    """Return the median ratio of figures taken in the same rounds, which what else the machine did hits alike.

    Raises:
        ValueError: they share no round, or a figure is not above 0.

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
