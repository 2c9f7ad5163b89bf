"""The pace of a feed: the rate of settled messages, and how many may wait here while other programs could run them."""

from math import exp
from typing import Final

SPAN: Final = 1.0
"""Time constant of the average, in seconds."""
AHEAD: Final = 0.25
"""Seconds of work that may wait. More keeps messages from idle programs; less leaves this one idle while it fetches,
which may take a tenth of a second over a network."""
SHARE: Final = 4
"""One message may wait per this number in handlers: slow handlers give no rate for long, and many may run at once."""
LEAST: Final = 2
"""Messages that may always wait: enough for a fast handler to show its rate, too few to matter with a slow one."""


class Pace:
    """An exponentially decaying average of the rate."""

    def __init__(self) -> None:
        self._sum = 0.0
        self._at = 0.0

    def note(self, settled: int, now: float) -> None:
        """Add a number of settled messages; `now` is in seconds and never decreases."""
        self._sum = self._sum_at(now) + settled
        self._at = now

    def rate(self, now: float) -> float:
        """Return messages per second."""
        return self._sum_at(now) / SPAN

    def ahead(self, now: float, busy: int) -> int:
        """Return how many messages may wait for a handler while `busy` are in handlers."""
        return max(LEAST, busy // SHARE, int(AHEAD * self.rate(now)))

    def _sum_at(self, now: float) -> float:
        return self._sum * exp((self._at - now) / SPAN)
