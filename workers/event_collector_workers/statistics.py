"""Statistics of a pool and its workers, as frozen snapshots."""

import msgspec


class WorkerStatistics(msgspec.Struct, frozen=True):
    """A worker process at one moment."""

    number: int
    """From 0; a worker that replaces another one has its number."""
    pid: int | None
    state: str
    """starting, ready, retiring or lost."""
    in_hand: int
    """Jobs that it holds, including the current one; of a chunk, the items without an outcome."""
    job_seconds: float
    """Age of its current job; 0.0 if there is none."""
    finished: int
    """Jobs and items it has answered."""
    cpu_seconds: float
    """Processor time that it has used."""
    memory: int | None
    """Bytes of memory that only it uses (USS); None if not requested, or if the process is gone."""


class PoolStatistics(msgspec.Struct, frozen=True):
    """A pool at one moment. submitted = finished + failed + backlog + the sum of in_hand."""

    target: int
    """Target number of workers."""
    ready: int
    starting: int
    busy: int
    """Ready workers that hold a job."""
    backlog: int
    """Jobs that no worker holds."""
    submitted: int
    finished: int
    failed: int
    """Jobs that ended with an error of the pool: crashed, timed out, cancelled, raised."""
    crashed: int
    """Failed jobs during which their worker ended, including those killed for a timeout or a cancellation."""
    restarts: int
    """Workers that ended unexpectedly, each of which is replaced."""
    service_seconds: float
    """Smoothed mean of the seconds in a task."""
    startup_seconds: float
    """Smoothed mean of the seconds from the start of a worker to its readiness."""
    cpu_seconds: float
    """Processor time of all workers, including past ones."""
    workers: tuple[WorkerStatistics, ...]
    last_failure: str = ""
    """How the last worker ended that ended unexpectedly, or could not start; empty if none did."""
