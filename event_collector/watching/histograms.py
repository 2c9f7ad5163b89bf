"""Histograms of the times of events, with the same buckets in every program, so that they can be added.

Nothing is counted per event: each look at a queue takes the times that have come since the look before from the windows
that percentiles are made of. If more have come than a window holds, those it holds stand for the others.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from itertools import islice, pairwise
from typing import Final, Protocol

import msgspec

BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the buckets, in seconds. The last bucket has none."""


class TimeHistogram(msgspec.Struct, frozen=True):
    """Times since the histograms are kept."""

    counts: list[float]
    """Events in each bucket, one more than `BOUNDS`. No whole numbers if some stand for others."""
    sum: float
    """Seconds."""

    @property
    def count(self) -> float:
        """Events in all buckets."""
        return sum(self.counts)

    def cumulative(self) -> Iterator[tuple[str, float]]:
        """Yield the upper bound of each bucket, as Prometheus writes it, and the events up to it."""
        total = 0.0
        for bound, count in zip([*map(str, BOUNDS), "+Inf"], self.counts, strict=True):
            total += count
            yield bound, total


class TimeWindow(Protocol):
    """The last times of a collector: a deque of them, or nothing."""

    def __len__(self) -> int: ...
    def __reversed__(self) -> Iterator[float]: ...


class Growing:
    """A histogram that grows. It belongs to the thread of the event loop."""

    def __init__(self) -> None:
        self._counts = [0.0] * (len(BOUNDS) + 1)
        self._sum = 0.0

    def take(self, times: TimeWindow, new: int) -> None:
        """Add the last `new` times of a window."""
        fresh = sorted(islice(reversed(times), new))
        if not fresh:
            return
        weight = new / len(fresh)
        ends = [0, *(bisect_right(fresh, bound) for bound in BOUNDS), len(fresh)]
        for bucket, (begin, end) in enumerate(pairwise(ends)):
            self._counts[bucket] += (end - begin) * weight
        self._sum += sum(fresh) * weight

    def now(self) -> TimeHistogram:
        """Return what it has now."""
        return TimeHistogram(list(self._counts), self._sum)

    def __repr__(self) -> str:
        return f"<Growing {sum(self._counts):g} times>"


class CollectorWindows(Protocol):
    """The windows of one collector, and how many attempts have ended."""

    @property
    def events(self) -> int:
        """Attempts that have ended."""

    @property
    def service_times(self) -> TimeWindow:
        """Seconds in the handler, of the last attempts."""

    @property
    def wait_times(self) -> TimeWindow:
        """Seconds from sending to the end, of the last events."""


class Histograms:
    """The histograms of one queue, from when they are first asked for. `read` returns the windows of its collectors."""

    def __init__(self, read: Callable[[], Mapping[str, CollectorWindows]]) -> None:
        self._read = read
        windows = read()
        self._seen = {key: one.events for key, one in windows.items()}
        self._growing = {key: (Growing(), Growing()) for key in windows}

    def look(self) -> None:
        """Take the times that have come since the last look."""
        for key, one in self._read().items():
            new, self._seen[key] = one.events - self._seen[key], one.events
            if new > 0:
                service, wait = self._growing[key]
                service.take(one.service_times, new)
                wait.take(one.wait_times, new)

    def of(self, key: str) -> tuple[TimeHistogram, TimeHistogram]:
        """Return the histograms of a collector: of its service times and of its wait times."""
        service, wait = self._growing[key]
        return service.now(), wait.now()

    def __repr__(self) -> str:
        return f"<Histograms {self._growing}>"
