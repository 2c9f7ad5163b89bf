"""What the pool shows of itself: frozen snapshots, taken when asked for."""

from __future__ import annotations

import msgspec

__all__ = ["PoolStatistics", "WorkerStatistics"]


class WorkerStatistics(msgspec.Struct, frozen=True):
    """One worker process at one moment."""

    number: int
    pid: int | None
    state: str
    """starting, ready, retiring or lost."""
    in_hand: int
    """Jobs handed to it, the one it is in included."""
    job_seconds: float
    """How long it has been in its current job; 0.0 when it is in none."""
    finished: int
    """Jobs it has answered."""
    cpu_seconds: float
    """Processor time it has used."""
    memory: int | None
    """Bytes of memory that only it uses (USS); None when it was not asked for, or the process is gone."""


class PoolStatistics(msgspec.Struct, frozen=True):
    """The pool at one moment. submitted = finished + failed + in the workers' hands + backlog."""

    target: int
    """Workers asked for."""
    ready: int
    starting: int
    busy: int
    """Ready workers that have a job in hand."""
    backlog: int
    """Jobs that no worker has yet."""
    submitted: int
    finished: int
    failed: int
    """Jobs that ended with an error of the pool: crashed, timed out, cancelled, raised."""
    crashed: int
    """Of these, the jobs that their worker did not survive: killed for a timeout or a cancellation
    included."""
    restarts: int
    """Workers that ended without being told to, each of which is replaced."""
    service_seconds: float
    """Smoothed mean of the time inside a task."""
    startup_seconds: float
    """Smoothed mean of the time from the decision to start a worker to its readiness."""
    cpu_seconds: float
    """Processor time of all workers, past ones included."""
    workers: tuple[WorkerStatistics, ...]
