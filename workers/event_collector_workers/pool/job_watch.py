"""A watch over the jobs of a pool: which worker has ended which job, and how long it took.

Nothing watches a pool unless its owner asks. A watch stands between the workers and the traffic of jobs, so a pool
without one does nothing for it.

    Worker --records--> JobWatch --> Traffic --> job.succeeded, job.failed
                           '--> JobWatcher: entered() before, left() after
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from event_collector_workers.job import ChunkJob
from event_collector_workers.pool.chunk_records import times_in
from event_collector_workers.pool.listener import tell
from event_collector_workers.transport.frames import Outcome

if TYPE_CHECKING:
    from event_collector_workers.job import Job
    from event_collector_workers.pool.worker import Worker
    from event_collector_workers.transport.frames import Record

_DONE: Final = Outcome.DONE.value
_SKIPPED: Final = Outcome.SKIPPED.value


EndedJob: TypeAlias = "tuple[Job, float, int]"
"""A job that has ended, its seconds in the worker, and the number of its items that have ended: 1 if it is no chunk."""


class JobWatcher(Protocol):
    """Is told of the jobs that end, in the thread of the loop."""

    def entered(self, worker: int, pid: int, ended: list[EndedJob], until: float, *, killed: bool) -> None:
        """Take jobs of one worker, in their order, before they receive their outcomes.

        The last one ended at `until`, in monotonic seconds. `killed`: the worker has ended during it.
        """

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
        ended: list[EndedJob] = [
            (job, max(0.0, now - since), 1)
            for first, job in (*worker.in_hand.items(), *worker.given_up.items())
            if job is not None and first <= sequence < first + job.count
        ]
        if ended:
            tell(lambda: self._watcher.entered(worker.number, worker.pid or 0, ended[:1], now, killed=True))
        self._traffic.settle(worker)
        if ended:
            tell(self._watcher.left)

    def _enter(self, worker: Worker, records: list[Record]) -> None:
        ended: list[EndedJob] = []
        held = worker.in_hand.get
        for record in records:
            job = held(record[0])
            if job is None or record[1] == _SKIPPED:
                continue
            if record[1] != _DONE and isinstance(job, ChunkJob):
                times = times_in(record)
                ended.append((job, sum(times), len(times)))
            else:
                ended.append((job, record[2], 1))
        if ended:
            until = _end_of(worker, records[-1][0])
            self._watcher.entered(worker.number, worker.pid or 0, ended, until, killed=False)


def _end_of(worker: Worker, sequence: int) -> float:
    """Return when the job with this number ended, at the latest: the worker began the next one then, or it is now."""
    number, since = worker.page.running()
    now = monotonic()
    return min(now, since) if number > sequence else now
