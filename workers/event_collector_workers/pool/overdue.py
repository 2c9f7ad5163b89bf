"""Jobs that have run longer than their timeout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from event_collector_workers.pool_errors import JobTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from event_collector_workers.pool.worker import Worker

_LAG: Final = 0.5  # seconds; a deadline that is checked later than this was missed by this process: it is extended


class Overdue(NamedTuple):
    """A job, or an item of a chunk, that has run too long."""

    worker: Worker
    sequence: int
    error: JobTimeout


def find_overdue(workers: Iterable[Worker], late: float, arm: Callable[[float], None]) -> list[Overdue]:
    """Return the overdue jobs of these workers; call `arm` with the seconds until others may be.

    `late` is how many seconds too late this is called.
    """
    found = []
    for worker in workers:
        current, running_for = worker.running()
        for sequence, job in worker.in_hand.items():
            if job is None or job.timeout is None:
                continue
            left = job.timeout - running_for if sequence <= current < sequence + job.count else job.timeout
            if left > 0:
                arm(left)
            elif late > _LAG:  # this process was suspended, perhaps the worker too
                arm(min(late, 1.0))
            else:
                found.append(Overdue(worker, current, _error(job.timeout, worker.pid)))
    return found


def _error(timeout: float, pid: int | None) -> JobTimeout:
    text = f"the job ran longer than its timeout of {timeout:g} s; its worker (pid {pid}) was killed"
    return JobTimeout(text, pid=pid, timeout=timeout)
