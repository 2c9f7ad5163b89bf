"""What can be seen of a pool from outside: its figures, the progress of its jobs, the stacks of its workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from event_collector_workers.machine import cpu_seconds
from event_collector_workers.pool.chunk_records import chunk_with, items_in
from event_collector_workers.pool.crew import memory_of
from event_collector_workers.pool.worker_state import State
from event_collector_workers.statistics import PoolStatistics, WorkerStatistics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from event_collector_workers.job import Job
    from event_collector_workers.pool.crew import Crew
    from event_collector_workers.pool.traffic import Traffic
    from event_collector_workers.pool.worker import Worker
    from event_collector_workers.segments.shared_memory import SharedMemory
    from event_collector_workers.transport.progress_record import Progress


def statistics_of(crew: Crew, traffic: Traffic, shared: SharedMemory, *, memory: bool) -> PoolStatistics:
    """Return a snapshot. `memory`: read the memory of each worker too, which is slow."""
    workers = tuple(_describe(worker, memory=memory) for worker in crew.workers)
    return PoolStatistics(
        target=crew.target,
        ready=crew.count(State.READY),
        starting=crew.count(State.STARTING),
        busy=sum(worker.state is State.READY and worker.held > 0 for worker in crew.workers),
        backlog=traffic.backlog,
        submitted=traffic.submitted,
        finished=traffic.finished,
        failed=traffic.failed,
        crashed=traffic.crashed,
        restarts=crew.restarts,
        service_seconds=traffic.service_time,
        startup_seconds=crew.startup_seconds,
        cpu_seconds=crew.past_cpu_seconds + sum(worker.cpu_seconds for worker in workers),
        shared_memory=shared.statistics(),
        workers=workers,
        last_failure=crew.last_failure,
    )


def _describe(worker: Worker, *, memory: bool) -> WorkerStatistics:
    sequence, seconds = worker.running()
    return WorkerStatistics(
        number=worker.number,
        pid=worker.pid,
        state=worker.state.value,
        in_hand=items_in(worker.in_hand) + len(worker.suspended),
        job_seconds=seconds if sequence else 0.0,
        finished=worker.finished,
        cpu_seconds=0.0 if worker.pid is None else cpu_seconds(worker.pid) or worker.page.cpu_seconds,
        memory=memory_of(worker) if memory else None,
    )


def progress_in(workers: Sequence[Worker]) -> list[tuple[Job, int, Progress]]:
    """Return the jobs that have reported progress, with the process id of their worker and the last report."""
    found = []
    for worker in workers:
        sequence, _ = worker.running()
        job, progress = worker.in_hand.get(sequence), worker.page.progress(sequence)
        if job is not None and progress is not None:
            found.append((job, worker.pid or 0, progress))
    return found


def running_in(workers: Sequence[Worker]) -> list[tuple[Job, int, int, float]]:
    """Return the jobs that workers are in, with the number and process id of the worker, and their age in seconds."""
    found = []
    for worker in workers:
        sequence, seconds = worker.running()
        _, job = chunk_with(worker.in_hand, sequence) or (0, worker.in_hand.get(sequence))
        if sequence and job is not None:
            found.append((job, worker.number, worker.pid or 0, seconds))
    return found


def jobs_in(workers: Sequence[Worker], traffic: Traffic) -> list[Job]:
    """Return all jobs without an outcome."""
    held = (job for worker in workers for job in (*worker.in_hand.values(), *worker.suspended))
    return [*traffic.waiting(), *(job for job in held if job is not None)]


def stacks_of(workers: Sequence[Worker], pid: int | None) -> list[tuple[int, int, str]]:
    """Return number, process id and stacks of the worker with this process id, or of all. Blocks."""
    asked = [(worker, worker.pid) for worker in workers]
    return [
        (worker.number, its, worker.probe.take_blocking(its).text)
        for worker, its in asked
        if its is not None and pid in (None, its)
    ]
