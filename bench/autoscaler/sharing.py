"""A resource that all jobs in it share equally: cores, a back end."""

import heapq
import math
from collections.abc import Callable
from typing import Any


class Sharing:
    """Equal sharing in virtual time: every job's remaining work shrinks at the same speed.

    `done` and `delay` add up what the jobs that are `counted` got, and what they lacked to full speed, in seconds.

    Args:
        speed: Returns the speed of each job for a number of jobs. It is constant between two calls of `changed()`.

    """

    __slots__ = ("_counted", "_heap", "_now", "_number", "_speed", "_speed_of", "_speeds", "_virtual", "delay", "done")

    def __init__(self, speed: Callable[[int], float]) -> None:
        self._speed_of = speed
        self._speeds: dict[int, float] = {}  # the speeds for numbers of jobs that have occurred
        self._heap: list[tuple[float, int, bool, Callable[[Any], None], Any]] = []
        self._now = self._virtual = 0.0
        self._speed = 1.0
        self._number = self._counted = 0
        self.done = self.delay = 0.0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, now: float, work: float, then: Callable[[Any], None], what: Any, *, counted: bool = False) -> None:
        """Put a job of `work` seconds in; `then(what)` is called when it is done."""
        if now > self._now:
            self.advance(now)
        self._number += 1
        self._counted += counted
        heapq.heappush(self._heap, (self._virtual + work, self._number, counted, then, what))
        self._set_speed()

    def due(self) -> float:
        """Return when the next job is done."""
        if not self._heap or self._speed <= 0.0:
            return math.inf
        left = self._heap[0][0] - self._virtual
        return self._now + left / self._speed if left > 0.0 else self._now

    def finish(self, now: float) -> None:
        """End the job that is due."""
        self.advance(now)
        _, _, counted, then, what = heapq.heappop(self._heap)
        self._counted -= counted
        self._set_speed()
        then(what)

    def changed(self, now: float) -> None:
        """Take in that the speed follows another rule from now on."""
        self.advance(now)
        self._speeds.clear()
        self._set_speed()

    def advance(self, now: float) -> None:
        """Let time pass."""
        passed = now - self._now
        self._virtual += passed * self._speed
        if self._counted:
            self.done += passed * self._speed * self._counted
            self.delay += passed * (1.0 - self._speed) * self._counted
        self._now = now

    def _set_speed(self) -> None:
        number = len(self._heap)
        speed = self._speeds.get(number)
        if speed is None:
            speed = self._speeds[number] = self._speed_of(number)
        self._speed = speed
