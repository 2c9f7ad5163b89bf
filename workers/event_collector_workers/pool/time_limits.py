"""The time limits of jobs. A worker whose job exceeds one is asked for its stack, and then killed."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from event_collector_workers.job import TimeLimit
from event_collector_workers.pool.roster import Roster
from event_collector_workers.pool.timer import EarliestTimer
from event_collector_workers.pool.worker import Worker
from event_collector_workers.pool_errors import JobSilent, JobTimeout
from event_collector_workers.stack_dumps import StackDump

_LAG: Final = 0.5  # seconds; a limit that is checked later than this was missed by this process: it is extended


class TimeLimits:
    """Watches the jobs of the workers in a roster, in the loop's thread.

    `look` collects the results that are there. `vacate` gives up a job: it takes the worker's other jobs away, and
    drops the answer of this one. For the signal that asks for the stack may interrupt native code, and so alter it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        roster: Roster,
        look: Callable[[], None],
        vacate: Callable[[Worker, int], bool],
    ) -> None:
        self._roster, self._look, self._vacate = roster, look, vacate
        self._timer = EarliestTimer(loop, self._check)

    def __repr__(self) -> str:
        return f"<TimeLimits {self._timer!r}>"

    def watch(self, limit: TimeLimit) -> None:
        """Check the limit of a job that a worker is given."""
        self._timer.arm(limit.left())

    def close(self) -> None:
        """Cancel the timer."""
        self._timer.disarm()

    def _check(self, late: float) -> None:
        self._look()
        for worker in list(self._roster.attached):
            current, running_for = worker.running()
            for sequence, job in list(worker.in_hand.items()):
                limit = None if job is None else job.limit
                if limit is None:
                    continue
                is_in_it = sequence <= current < sequence + (1 if job is None else job.count)
                left = limit.left(running_for, worker.silent_for(current)) if is_in_it else limit.left()
                if left > 0:
                    self._timer.arm(left)
                elif late > _LAG:  # this process was suspended, perhaps the worker too
                    self._timer.arm(min(late, 1.0))
                elif self._vacate(worker, current):
                    worker.probe.take(worker.pid, partial(_end, worker, current, limit, running_for))


def _end(worker: Worker, sequence: int, limit: TimeLimit, running_for: float, dump: StackDump) -> None:
    worker.condemn(sequence, _late(worker, limit, running_for, dump))


def _late(worker: Worker, limit: TimeLimit, running_for: float, dump: StackDump) -> JobTimeout:
    """Return the error of a job that has exceeded one of its limits."""
    timeout, heartbeat = limit
    kind: type[JobTimeout]
    if heartbeat is not None and (timeout is None or running_for < timeout):
        kind, seconds, what = JobSilent, heartbeat, "reported no progress for its heartbeat"
    else:
        kind, seconds, what = JobTimeout, timeout or 0.0, "ran longer than its timeout"
    place = f"it was in {dump.place}; " if dump.place else ""
    text = f"the job {what} of {seconds:g} s; {place}its worker (pid {worker.pid}) was killed"
    return kind(text, pid=worker.pid, timeout=seconds, stack=dump.text, place=dump.place)
