"""Plugins of a Dask cluster: claims of tasks in the scheduler, and the end of lifecycles in the workers.

Dask silently runs a task again if its worker is lost, but only the retry policy of a collector may repeat an event.
Therefore a worker claims a task before it begins, and the scheduler grants each claim once.
"""

import asyncio
from typing import Any

from distributed import Scheduler, Worker
from distributed.diagnostics.plugin import SchedulerPlugin, WorkerPlugin

from event_collector.remote.batch_host import close_hosts


class Claims(SchedulerPlugin):
    """Grants each task to the first worker that claims it. One plugin serves all queues of a cluster."""

    name = "event_collector claims"
    idempotent = True

    async def start(self, scheduler: Scheduler) -> None:
        """Accept claims."""
        self._scheduler = scheduler
        self._begun_by: dict[Any, str] = {}
        scheduler.handlers["event_collector_claim"] = self.claim

    def claim(self, key: Any, worker: str) -> tuple[bool, str]:
        """Return whether the worker may begin the task, and the address of the worker that has begun it.

        A worker may claim a task that is no longer assigned to it: the scheduler has lost contact with the worker, or
        the client has released the task. The worker must not run it then, although its reply goes nowhere.
        """
        task = self._scheduler.tasks.get(key)
        if task is None or task.processing_on is None or task.processing_on.address != worker:
            return False, worker
        if key in self._begun_by:
            return False, self._begun_by[key]
        self._begun_by[key] = worker
        return True, worker

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """Drop the claims of tasks that the scheduler forgets, which it never runs again."""
        if finish == "forgotten":
            self._begun_by.pop(key, None)


class Hosts(WorkerPlugin):
    """Closes the collectors with setups of these names in a worker, when the worker or their queue ends."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    async def teardown(self, worker: Worker) -> None:
        """Leave the lifecycles. Asynchronous ones run in an event loop of another thread."""
        for name in self._names:
            await asyncio.to_thread(close_hosts, name)
