"""What a queue adds to a Dask cluster: in its scheduler who has begun which task, in its workers the end of lifecycles.

Dask runs a task again, without saying, when the worker that has it is lost. Whether an event may run again is for its
collector to say. So a worker claims a task before it begins, and the scheduler grants that once.
"""

import asyncio
from typing import Any

from distributed import Scheduler, Worker
from distributed.diagnostics.plugin import SchedulerPlugin, WorkerPlugin

from event_collector.remote.batch_host import close_hosts


class Claims(SchedulerPlugin):
    """Grants each task to the first worker that asks for it; one for all queues of a cluster."""

    name = "event_collector claims"
    idempotent = True

    async def start(self, scheduler: Scheduler) -> None:
        """Take requests."""
        self._scheduler = scheduler
        self._begun_by: dict[Any, str] = {}
        scheduler.handlers["event_collector_claim"] = self.claim

    def claim(self, key: Any, worker: str) -> tuple[bool, str]:
        """Return whether the task is this worker's to begin, and the worker that has.

        A worker may ask for a task that is no longer its own: it was lost, for the scheduler, or the client has its
        result already and has released it. Nobody hears what it is told, but it must not run it.
        """
        task = self._scheduler.tasks.get(key)
        if task is None or task.processing_on is None or task.processing_on.address != worker:
            return False, worker
        if key in self._begun_by:
            return False, self._begun_by[key]
        self._begun_by[key] = worker
        return True, worker

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """Forget tasks with the scheduler: what it has forgotten it does not run again."""
        if finish == "forgotten":
            self._begun_by.pop(key, None)


class Hosts(WorkerPlugin):
    """Closes the collectors of a queue that were opened in a worker: when the worker ends, or the queue.

    Args:
        names: of their setups.

    """

    def __init__(self, names: list[str]) -> None:
        self._names = names

    async def teardown(self, worker: Worker) -> None:
        """Leave the lifecycles; what is asynchronous in them has a loop of its own, in another thread than this."""
        for name in self._names:
            await asyncio.to_thread(close_hosts, name)
