"""The circuit breaker: when dying workers may be replaced. Pure decisions over events and times."""

from math import inf
from typing import Final

_LIMIT: Final = 32  # strikes in a row that open the breaker
_CRASH: Final = 1  # strikes for a worker that a job killed: likely the job's fault
_STILLBORN: Final = 8  # strikes for a worker that did not start: no job is to blame, and none can help
_FREE: Final = 4  # strikes up to which replacements are immediate
_STEP: Final = 0.005  # seconds of delay for each further strike, before the breaker opens
_FIRST_PAUSE: Final = 1.0  # seconds that the breaker stays open the first time; doubled each further time
_LONGEST_PAUSE: Final = 30.0


class Breaker:
    """Counts deaths in a row. A finished job ends the row.

    Closed: the first replacements are immediate, later ones are delayed. Open: there are no replacements until the
    pause ends. Then the breaker is half open: workers start, and the next death opens it again for longer.
    """

    def __init__(self) -> None:
        self._strikes = 0
        self._pause = _FIRST_PAUSE
        self._not_before = 0.0
        self._opened_at = 0.0
        self.is_open = False
        """True if the limit of deaths was reached and no job has finished since. Also while half open."""

    def __repr__(self) -> str:
        return f"<Breaker {'open' if self.is_open else 'closed'} strikes={self._strikes} pause={self._pause:g} s>"

    def wait(self, now: float) -> float:
        """Return the seconds until a worker may be started; 0.0 for at once."""
        return max(0.0, self._not_before - now)

    def is_refusing(self, now: float) -> bool:
        """Return whether jobs must fail: the breaker is open and its pause has not ended."""
        return self.is_open and now < self._not_before

    def finished(self) -> bool:
        """Record a finished job. Return whether it closed the breaker."""
        closed = self.is_open
        self._strikes, self._pause, self._not_before, self.is_open = 0, _FIRST_PAUSE, 0.0, False
        return closed

    def crashed(self, now: float, made_at: float = inf) -> bool:
        """Record the death of a worker made at `made_at`. Return whether it opened the breaker."""
        return self._strike(_CRASH, now, made_at)

    def stillborn(self, now: float, made_at: float = inf) -> bool:
        """Record a worker that could not start. Return whether it opened the breaker."""
        return self._strike(_STILLBORN, now, made_at)

    def _strike(self, weight: int, now: float, made_at: float) -> bool:
        # A worker older than the opening belongs to the row that opened it. Its death may be seen after the pause, on a
        # busy machine, and is no verdict on the one that was started as the test.
        if self.is_refusing(now) or (self.is_open and made_at <= self._opened_at):
            return False
        self._strikes = min(self._strikes + weight, _LIMIT)
        if self._strikes < _LIMIT:
            self._not_before = now + _STEP * max(0, self._strikes - _FREE)
            return False
        self._opened_at, self._not_before = now, now + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        self.is_open = True
        return True
