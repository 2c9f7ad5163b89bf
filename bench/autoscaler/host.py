"""The simulated host: its clock and timers, its cores, and the event loop that runs on one of them."""

import heapq
import math
from collections import deque
from collections.abc import Callable
from typing import Any

from bench.autoscaler.sharing import Sharing
from bench.autoscaler.workloads import Workload, full_speed

Then = Callable[[Any], None]


class Host:
    """Time, timers, cores and back ends of one run."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.now = 0.0
        self.cores = Sharing(self._core_speed)
        self._back_ends = {
            number: Sharing(self._back_end_speed(number))
            for number, source in enumerate(workload.sources)
            if source.capacity < math.inf or source.slowness is not full_speed
        }
        self._sharings = [self.cores, *self._back_ends.values()]
        self._timers: list[tuple[float, int, Then, Any]] = []
        self._number = 0
        for change in workload.changes:
            self.at(change, self._speeds_changed, None)

    def at(self, moment: float, then: Then, what: Any) -> None:
        """Have `then(what)` called at a moment."""
        self._number += 1
        heapq.heappush(self._timers, (moment, self._number, then, what))

    def compute(self, seconds: float, then: Then, what: Any, *, counted: bool = False) -> None:
        """Have `then(what)` called after so much work on a core."""
        self.cores.add(self.now, seconds, then, what, counted=counted)

    def wait(self, source: int, seconds: float, then: Then, what: Any) -> None:
        """Have `then(what)` called after so much work of the back end of a source."""
        back_end = self._back_ends.get(source)
        if back_end is None:
            self.at(self.now + seconds, then, what)
        else:
            back_end.add(self.now, seconds, then, what)

    def pass_until(self, end: float) -> bool:
        """Let the next thing happen before `end`; return whether there was one."""
        moment, first = self._timers[0][0] if self._timers else math.inf, None
        for sharing in self._sharings:
            due = sharing.due()
            if due < moment:
                moment, first = due, sharing
        if moment > end:
            self.now = end
            return False
        self.now = moment
        if first is None:
            _, _, then, what = heapq.heappop(self._timers)
            then(what)
        else:
            first.finish(moment)
        return True

    def taken_by_neighbours(self) -> float:
        """Return how many cores other programs keep busy."""
        neighbours = self.workload.neighbours(self.now)
        return neighbours * min(1.0, self.workload.cores / max(1, len(self.cores) + neighbours))

    def _core_speed(self, threads: int) -> float:
        """Every thread gets an equal share of the host, and ours together no more than the quota."""
        everyone = max(1, threads + self.workload.neighbours(self.now))
        return min(1.0, self.workload.cores / everyone, self.workload.quota(self.now) / max(1, threads))

    def _back_end_speed(self, number: int) -> Callable[[int], float]:
        source = self.workload.sources[number]

        def speed(events: int) -> float:
            crowd = max(1.0, events / source.capacity)
            return float(1.0 / (source.slowness(self.now) * crowd ** (1.0 + source.collapse)))

        return speed

    def _speeds_changed(self, _: None) -> None:
        for sharing in self._sharings:
            sharing.changed(self.now)


class Loop:
    """The event loop: one thread of the host, one step at a time, first come, first served.

    `busy` adds up the CPU time of its steps, `delay` the time in which a step had no CPU, `began` is when the present
    step did.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._steps: deque[tuple[float, Then, Any]] = deque()
        self._is_running = False
        self.busy = self.delay = self.began = 0.0

    def run(self, seconds: float, then: Then, what: Any) -> None:
        """Have a step of so much CPU run in its turn, and `then(what)` called after it."""
        self._steps.append((seconds, then, what))
        if not self._is_running:
            self._begin()

    def go_on(self, seconds: float, then: Then, what: Any) -> None:
        """Have the step that has just ended go on for so long, before any other."""
        self._steps.appendleft((seconds, then, what))

    def _begin(self) -> None:
        self._is_running, self.began = True, self._host.now
        step = self._steps.popleft()
        self._host.compute(step[0], self._end, step)

    def _end(self, step: tuple[float, Then, Any]) -> None:
        self.busy += step[0]
        self.delay += max(0.0, self._host.now - self.began - step[0])
        step[1](step[2])
        if self._steps:
            self._begin()
        else:
            self._is_running = False
