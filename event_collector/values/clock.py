"""The clock of all queues, whose source of time tests can replace."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final


class TimeSource:
    """Real time. Subclasses simulate time; see `event_collector.testing.ManualClock`."""

    least_pause: float = 0.0
    """Minimum interval of periodic work, in seconds."""

    def monotonic(self) -> float:
        """Return the seconds of a clock that never goes back."""
        return time.monotonic()

    def wall(self) -> float:
        """Return the seconds since the epoch."""
        return time.time()

    def patience(self, seconds: float) -> float:
        """Return the seconds of a wait that the library has chosen itself; a test may have none of them be long."""
        return seconds

    def ending(self) -> AbstractContextManager[None]:
        """Return a context manager that a queue enters while it shuts down."""
        return nullcontext()

    def watch(self, call: Any) -> None:
        """Register a future or job that another thread completes and the event loop will process."""

    def forget(self, job: Any) -> None:
        """Unregister a job whose completion the event loop has processed; futures unregister themselves."""


REAL_TIME: Final = TimeSource()


class Clock:
    """Tells the time of its source: `now()` is its `monotonic()`. Look up `now` at each call: `using()` replaces it."""

    __slots__ = ("now", "source", "wall")

    now: Callable[[], float]
    wall: Callable[[], float]
    source: TimeSource

    def __init__(self) -> None:
        self._use(REAL_TIME)

    def read(self) -> float:
        """Return `now()`. Unlike `now`, this method can be stored: it follows changes of the source."""
        return self.now()

    @contextmanager
    def using(self, source: TimeSource) -> Iterator[None]:
        """Use another source of time within this context."""
        before = self.source
        self._use(source)
        try:
            yield
        finally:
            self._use(before)

    def _use(self, source: TimeSource) -> None:
        self.source = source
        if source is REAL_TIME:  # each event reads the clock several times: save one call
            self.now, self.wall = time.monotonic, time.time
        else:
            self.now, self.wall = source.monotonic, source.wall


clock: Final = Clock()
"""The clock of this program."""
