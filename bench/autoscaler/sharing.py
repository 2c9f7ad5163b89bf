"""A resource that all jobs in it share equally: cores, a back end."""

import heapq
import math
from collections.abc import Callable
from typing import Any


class Sharing:
    """Equal sharing in virtual time: every job's remaining work shrinks at the same speed.

    Args:
        speed: tells the speed of each job when there are so many of them.

    """

    __slots__ = ("_heap", "_now", "_number", "_speed", "_speed_of", "_virtual")

    def __init__(self, speed: Callable[[int], float]) -> None:
        self._speed_of = speed
        self._heap: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._now = self._virtual = 0.0
        self._speed = 1.0
        self._number = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, now: float, work: float, then: Callable[[Any], None], what: Any) -> None:
        """Put a job of `work` seconds in; `then(what)` is called when it is done."""
        self._advance(now)
        self._number += 1
        heapq.heappush(self._heap, (self._virtual + work, self._number, then, what))
        self._speed = self._speed_of(len(self._heap))

    def due(self) -> float:
        """Return when the next job is done."""
        if not self._heap or self._speed <= 0.0:
            return math.inf
        return self._now + max(0.0, self._heap[0][0] - self._virtual) / self._speed

    def finish(self, now: float) -> None:
        """End the job that is due."""
        self._advance(now)
        _, _, then, what = heapq.heappop(self._heap)
        self._speed = self._speed_of(len(self._heap))
        then(what)

    def changed(self, now: float) -> None:
        """Take in that the speed follows another rule from now on."""
        self._advance(now)
        self._speed = self._speed_of(len(self._heap))

    def _advance(self, now: float) -> None:
        self._virtual += (now - self._now) * self._speed
        self._now = now
