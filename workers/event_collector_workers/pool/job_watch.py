"""A watch over the jobs of a pool: which worker has ended which job, and how long it took.

Nothing watches a pool unless its owner asks. A watch stands between the workers and the traffic of jobs, so a pool
without one does nothing for it.

    Worker --records--> JobWatch --> Traffic --> job.succeeded, job.failed
                           '--> JobWatcher: entered() before, left() after
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from event_collector_workers.job import ChunkJob
from event_collector_workers.pool.chunk_records import times_in
from event_collector_workers.pool.listener import tell
from event_collector_workers.transport.frames import Outcome

if TYPE_CHECKING:
    from event_collector_workers.job import Job
    from event_collector_workers.pool.worker import Worker
    from event_collector_workers.transport.frames import Record

_DONE: Final = Outcome.DONE.value  # 0
_SKIPPED: Final = Outcome.SKIPPED.value


class EndedJobs(NamedTuple):
    """Jobs that one worker has ended, in their order, before they receive their outcomes."""

    worker: int
    """Its number."""
    pid: int
    jobs: list[Job]
    seconds: list[float]
    """Of each job, in the worker."""
    items: list[int]
    """Of each job that is a chunk, the number of its items that have ended, else 1. Empty if there is no chunk."""
    until: float
    """When the last one ended, in monotonic seconds."""
    is_killed: bool = False
    """Whether the worker has ended during it."""


class JobWatcher(Protocol):
    """Is told of the jobs that end, in the thread of the loop."""

    def entered(self, ended: EndedJobs, /) -> None:
        """Take jobs before they receive their outcomes."""

    def left(self) -> None:
        """Note that they have received them."""


class JobTraffic(Protocol):
    """Takes what workers have to say of their jobs."""

    def on_records(self, worker: Worker, records: list[Record], blob: bytes | None) -> None:
        """Hand each result to its job."""

    def settle(self, worker: Worker) -> None:
        """End the job during which a worker has ended."""


class JobWatch:
    """Tells a watcher of jobs, and hands all on to the traffic."""

    def __init__(self, traffic: JobTraffic, watcher: JobWatcher) -> None:
        self._traffic, self._watcher = traffic, watcher

    def __repr__(self) -> str:
        return f"<JobWatch for {self._watcher!r}>"

    def on_records(self, worker: Worker, records: list[Record], blob: bytes | None) -> None:
        """Hand each result to its job."""
        tell(self._enter, worker, records)
        self._traffic.on_records(worker, records, blob)
        tell(self._watcher.left)

    def settle(self, worker: Worker) -> None:
        """End the job during which a worker has ended."""
        now, (sequence, since) = monotonic(), worker.page.running()
        jobs = [
            job
            for first, job in (*worker.in_hand.items(), *worker.given_up.items())
            if job is not None and first <= sequence < first + job.count
        ]
        if jobs:
            pid, seconds = worker.pid or 0, max(0.0, now - since)
            tell(self._watcher.entered, EndedJobs(worker.number, pid, jobs[:1], [seconds], [], now, is_killed=True))
        self._traffic.settle(worker)
        if jobs:
            tell(self._watcher.left)

    def _enter(self, worker: Worker, records: list[Record]) -> None:
        held, items = worker.in_hand.get, list[int]()
        jobs = [job for record in records if not record[1] and (job := held(record[0])) is not None]
        seconds = [record[2] for record in records]
        if len(jobs) < len(records):  # not all of them are DONE, or still here
            jobs, seconds, items = _read_all([held(record[0]) for record in records], records)
        if jobs:
            until = _end_of(worker, records[-1][0])
            self._watcher.entered(EndedJobs(worker.number, worker.pid or 0, jobs, seconds, items, until))


def _read_all(held: list[Job | None], records: list[Record]) -> tuple[list[Job], list[float], list[int]]:
    """Return the jobs that have ended, their seconds and numbers of items."""
    jobs: list[Job] = []
    seconds: list[float] = []
    items: list[int] = []
    for job, record in zip(held, records, strict=True):
        if job is None or record[1] == _SKIPPED:
            continue
        is_chunk = record[1] != _DONE and isinstance(job, ChunkJob)
        times = times_in(record) if is_chunk else [record[2]]
        jobs.append(job)
        seconds.append(sum(times))
        items.append(len(times))
    return jobs, seconds, items


def _end_of(worker: Worker, sequence: int) -> float:
    """Return when the job with this number ended, at the latest: the worker began the next one then, or it is now."""
    number, since = worker.page.running()
    now = monotonic()
    return min(now, since) if number > sequence else now
