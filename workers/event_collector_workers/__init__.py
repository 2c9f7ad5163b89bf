"""The scaled pool of worker processes.

Names are loaded when they are first used: a worker imports this package too, and needs few of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from event_collector_workers.errors import (
        JobCancelled,
        JobTimeout,
        PoolBroken,
        PoolClosed,
        TaskError,
        WorkerCrashed,
        WorkerPoolError,
        WorkerStartError,
    )
    from event_collector_workers.executor.scaled_executor import ScaledProcessPoolExecutor
    from event_collector_workers.job import Job, Task, TaskSpec
    from event_collector_workers.limits import WorkerLimits
    from event_collector_workers.pool.worker_pool import PoolListener, WorkerPool
    from event_collector_workers.statistics import PoolStatistics, WorkerStatistics

__all__ = [
    "Job",
    "JobCancelled",
    "JobTimeout",
    "PoolBroken",
    "PoolClosed",
    "PoolListener",
    "PoolStatistics",
    "ScaledProcessPoolExecutor",
    "Task",
    "TaskError",
    "TaskSpec",
    "WorkerCrashed",
    "WorkerLimits",
    "WorkerPool",
    "WorkerPoolError",
    "WorkerStartError",
    "WorkerStatistics",
]

_HOMES = {
    "errors": "JobCancelled JobTimeout PoolBroken PoolClosed TaskError WorkerCrashed "
    "WorkerPoolError WorkerStartError",
    "executor.scaled_executor": "ScaledProcessPoolExecutor",
    "job": "Job Task TaskSpec",
    "limits": "WorkerLimits",
    "pool.worker_pool": "PoolListener WorkerPool",
    "statistics": "PoolStatistics WorkerStatistics",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
    globals()[name] = value
    return value
