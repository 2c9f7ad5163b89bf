"""The clock of all queues: one object that tells the time, and whose source of time tests exchange."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

__all__ = ["Clock", "TimeSource", "clock"]


class TimeSource:
    """Real time. A subclass may tell another one; see `event_collector.testing.ManualClock`."""

    least_pause: float = 0.0
    """Seconds between two looks of what looks regularly, at least."""

    def monotonic(self) -> float:
        """Return the seconds of a clock that never goes back."""
        return time.monotonic()

    def wall(self) -> float:
        """Return the seconds since the epoch."""
        return time.time()

    def ending(self) -> AbstractContextManager[None]:
        """Return what a queue enters while it ends."""
        return nullcontext()

    def watch(self, call: Any) -> None:
        """Note that a thread got a call, a future or a job, whose end the event loop will hear of."""

    def forget(self, job: Any) -> None:
        """Note that the event loop has heard of the end of a job; futures tell that themselves."""


REAL_TIME: Final = TimeSource()


class Clock:
    """Tells the time of whatever source is in use.

    Attributes:
        now: returns the seconds of a clock that never goes back. Look it up at each call: a test exchanges it.
        wall: returns the seconds since the epoch.
        source: what is in use.

    """

    __slots__ = ("now", "source", "wall")

    now: Callable[[], float]
    wall: Callable[[], float]
    source: TimeSource

    def __init__(self) -> None:
        self._use(REAL_TIME)

    def read(self) -> float:
        """Return what `now()` does, for those who keep a function and not the clock."""
        return self.now()

    @contextmanager
    def using(self, source: TimeSource) -> Iterator[None]:
        """Tell the time of another source within this context."""
        before = self.source
        self._use(source)
        try:
            yield
        finally:
            self._use(before)

    def _use(self, source: TimeSource) -> None:
        self.source = source
        if source is REAL_TIME:  # every event asks: without a call in between
            self.now, self.wall = time.monotonic, time.time
        else:
            self.now, self.wall = source.monotonic, source.wall


clock: Final = Clock()
"""The clock of this program."""
