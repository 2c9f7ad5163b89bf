"""Pace: how fast messages are settled here, and so how many may wait here while other programs could have them."""

from math import exp
from typing import Final

__all__ = ["Pace"]

SPAN: Final = 1.0
"""Seconds over which the rate is an average."""
AHEAD: Final = 1.0
"""Seconds of work that may wait: more keeps messages from programs that are free, less has this one wait itself."""
LEAST: Final = 16
"""Messages that may wait before there is a rate: enough that a fast handler shows what it can do."""


class Pace:
    """An average of the rate, which decays exponentially."""

    def __init__(self) -> None:
        self._sum = 0.0
        self._at = 0.0

    def note(self, settled: int, now: float) -> None:
        """So many messages were settled; `now` is in seconds and never goes back."""
        self._sum = self._sum_at(now) + settled
        self._at = now

    def rate(self, now: float) -> float:
        """Return the messages a second."""
        return self._sum_at(now) / SPAN

    def ahead(self, now: float) -> int:
        """Return how many messages may wait for a handler."""
        return max(LEAST, int(AHEAD * self.rate(now)))

    def _sum_at(self, now: float) -> float:
        return self._sum * exp((self._at - now) / SPAN)
