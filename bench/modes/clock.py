"""The clock that rounds are timed with: it stands still while a contestant is only being talked to."""

import time

__all__ = ["CLOCK"]


class Clock:
    """Seconds, but for those that were left out."""

    def __init__(self) -> None:
        self._left_out = 0.0

    def now(self) -> float:
        """Return the reading."""
        return time.perf_counter() - self._left_out

    def leave_out(self, seconds: float) -> None:
        """Have so many seconds not count: what a contestant in another interpreter costs to be asked and to answer."""
        self._left_out += seconds


CLOCK = Clock()
