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


class SharedMemoryStatistics(msgspec.Struct, frozen=True):
    """The memory that a pool shares with its workers for large values, at one moment. In bytes."""

    limit: int = 0
    """At most; 0 if there is none."""
    size: int = 0
    """All segments."""
    in_use: int = 0
    """Segments with a value that is on its way or that something refers to, or that await a result."""
    segments: int = 0
    """Number of segments."""


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
    shared_memory: SharedMemoryStatistics = SharedMemoryStatistics()
    last_failure: str = ""
    """How the last worker ended that ended unexpectedly, or could not start; empty if none did."""
