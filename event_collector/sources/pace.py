"""Pace: how fast messages are settled here, and so how many may wait here while other programs could have them."""

from math import exp
from typing import Final

__all__ = ["Pace"]

SPAN: Final = 1.0
"""Seconds over which the rate is an average."""
AHEAD: Final = 0.25
"""Seconds of work that may wait: more keeps messages from programs that are free, less leaves this one without any
while it asks for more, which over a network may take a tenth of a second."""
SHARE: Final = 4
"""One message may wait for so many in handlers: slow handlers give no rate for long, and many may run at once."""
LEAST: Final = 2
"""Messages that may wait in any case: a fast handler shows soon what it can do, a slow one keeps few from others."""


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

    def ahead(self, now: float, busy: int) -> int:
        """Return how many messages may wait for a handler, while so many are in one."""
        return max(LEAST, busy // SHARE, int(AHEAD * self.rate(now)))

    def _sum_at(self, now: float) -> float:
        return self._sum * exp((self._at - now) / SPAN)
