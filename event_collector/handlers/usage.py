"""Usage: counts and times of the handler of one collector."""

from collections import deque
from collections.abc import Sequence


class Usage:
    """Counts and times of the handler of one collector, since the collector was made; times in seconds.

    All methods are called in the thread of the event loop, and only they write the fields.

    Attributes:
        running: attempts in the handler now.
        completions: attempts that have ended.
        errors: attempts that have failed.
        wall: time of all ended attempts.
        times: time of each of the last attempts; None unless `keep()` was called.
        waits: time from sending to the end of each of the last events; None unless `keep()` was called.
    """

    __slots__ = ("completions", "errors", "running", "times", "waits", "wall")

    def __init__(self) -> None:
        self.running = self.completions = self.errors = 0
        self.wall = 0.0
        self.times: deque[float] | None = None
        self.waits: deque[float] | None = None

    def keep(self, events: int) -> None:
        """Keep the times of the last `events` events from now on."""
        self.times, self.waits = deque(maxlen=events), deque(maxlen=events)

    def began(self) -> None:
        """Count an attempt that begins."""
        self.running += 1

    def left(self) -> None:
        """Count an attempt that is no longer running, whether it has ended or was withdrawn."""
        self.running -= 1

    def took(self, seconds: float) -> None:
        """Count the time of an attempt that has ended."""
        self.completions += 1
        self.wall += seconds
        if self.times is not None:
            self.times.append(seconds)

    def ended(self, seconds: float) -> None:
        """Count an attempt that is no longer running, and its time."""
        self.running -= 1
        self.took(seconds)

    def ended_together(self, seconds: Sequence[float]) -> None:
        """Do what `ended()` does for several attempts."""
        count = len(seconds)
        self.running -= count
        self.completions += count
        self.wall += sum(seconds)
        if self.times is not None:
            self.times.extend(seconds)

    def took_many(self, seconds: Sequence[float], wait: float) -> None:
        """Count the times of attempts that have ended, of events that were sent so long ago."""
        self.completions += len(seconds)
        self.wall += sum(seconds)
        if self.times is not None:
            self.times.extend(seconds)
        if self.waits is not None:
            self.waits.extend([wait] * len(seconds))

    def failed(self) -> None:
        """Count an attempt that failed."""
        self.errors += 1

    def waited(self, seconds: float) -> None:
        """Keep the time from the sending of an event to its end, after `keep()`."""
        if self.waits is not None:
            self.waits.append(seconds)

    def set_totals(self, completions: int, wall: float) -> None:
        """Replace the totals by those of the queue, which counts the events of its only collector itself."""
        self.completions, self.wall = completions, wall
