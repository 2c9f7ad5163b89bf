"""The scaled pool of worker processes.

A name is imported when it is first used, because a worker imports this package too and needs few of its names.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from event_collector_workers.child.birth import worker_group, worker_number
    from event_collector_workers.executor.scaled_executor import ScaledProcessPoolExecutor
    from event_collector_workers.job import Job, Task, TaskSpec
    from event_collector_workers.limits import WorkerLimits
    from event_collector_workers.pool.listener import PoolListener
    from event_collector_workers.pool.worker_pool import WorkerPool
    from event_collector_workers.pool_errors import (
        JobCancelled,
        JobTimeout,
        PoolBroken,
        PoolClosed,
        TaskError,
        WorkerCrashed,
        WorkerPoolError,
        WorkerStartError,
    )
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
    "worker_group",
    "worker_number",
]

_MODULES = {
    "pool_errors": "JobCancelled JobTimeout PoolBroken PoolClosed TaskError WorkerCrashed WorkerPoolError "
    "WorkerStartError",
    "child.birth": "worker_group worker_number",
    "executor.scaled_executor": "ScaledProcessPoolExecutor",
    "job": "Job Task TaskSpec",
    "limits": "WorkerLimits",
    "pool.listener": "PoolListener",
    "pool.worker_pool": "WorkerPool",
    "statistics": "PoolStatistics WorkerStatistics",
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value
