"""When workers that keep dying may be replaced: a pure decision over events and times that are handed in."""

from __future__ import annotations

from typing import Final

__all__ = ["Breaker"]

_LIMIT: Final = 32
"""Strikes without one finished job in between that open the breaker."""
_CRASH: Final = (
    1  # a job killed its worker: likely the job's fault, so many may follow before anything is wrong
)
_STILLBORN: Final = 8  # the worker did not even start: nothing that is submitted can help
_FREE: Final = 4  # strikes after which replacements are no longer immediate
_STEP: Final = 0.005  # seconds, times the strikes: the pace of replacements before the breaker opens
_FIRST_PAUSE: Final = (
    1.0  # seconds that the breaker stays open the first time; each further time twice as long
)
_LONGEST_PAUSE: Final = 30.0


class Breaker:
    """Counts deaths in a row; a finished job ends the row.

    Closed, replacements are immediate at first and paced later. Open, there are none until the pause is over;
    then it is half open: workers start, and the next death opens it again for longer.
    """

    def __init__(self) -> None:
        self._strikes = 0
        self._pause = _FIRST_PAUSE
        self._not_before = 0.0
        self._open = False

    @property
    def is_open(self) -> bool:
        """Whether workers have died too often in a row, and none has finished a job since."""
        return self._open

    def wait(self, now: float) -> float:
        """Return the seconds until a worker may be started; 0.0 for at once."""
        return max(0.0, self._not_before - now)

    def is_refusing(self, now: float) -> bool:
        """Whether jobs have no prospect: open, and the pause is not over."""
        return self._open and now < self._not_before

    def finished(self) -> bool:
        """A job finished: all is well again. Return whether that closed the breaker."""
        closed = self._open
        self._strikes, self._pause, self._not_before, self._open = 0, _FIRST_PAUSE, 0.0, False
        return closed

    def crashed(self, now: float) -> bool:
        """A worker died. Return whether that opened the breaker."""
        return self._strike(_CRASH, now)

    def stillborn(self, now: float) -> bool:
        """A worker could not start. Return whether that opened the breaker."""
        return self._strike(_STILLBORN, now)

    def _strike(self, weight: int, now: float) -> bool:
        if self.is_refusing(now):
            return False  # the others of a crew that died together
        self._strikes = min(self._strikes + weight, _LIMIT)
        if self._strikes < _LIMIT:
            self._not_before = now + _STEP * max(0, self._strikes - _FREE)
            return False
        self._not_before = now + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        self._open = True
        return True
