"""The worker groups of a queue: each has processes of its own, which nothing that happens in another group touches."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from event_collector.events.event import CollectorEvent
from event_collector.handlers.collector import Collector
from event_collector.handlers.progress_reports import RunningProgress
from event_collector.tiers.workers.worker_tier import WorkerTier
from event_collector.values.payload import Payload
from event_collector_workers.statistics import PoolStatistics


class WorkerGroups:
    """The worker tiers of a queue by the name of their group; none if no collector runs in workers."""

    def __init__(self, groups: Mapping[str, WorkerTier]) -> None:
        self.groups = groups

    async def start(self, sizes: Mapping[str, int]) -> None:
        """Start the first workers of all groups at once. If a group cannot start, its error is raised and none stays.

        Raises:
            WorkerStartError: a worker cannot start, or cannot open the collectors.
        """
        starts = [group.start(sizes[name]) for name, group in self.groups.items()]
        errors = [error for error in await asyncio.gather(*starts, return_exceptions=True) if error is not None]
        if errors:
            await self.abort()
            raise errors[0]

    async def close(self, timeout: float | None) -> None:
        """Leave the lifecycles of the workers and end them. After `timeout` seconds they are killed."""
        await self._each(lambda group: group.close(timeout))

    async def abort(self) -> None:
        """Kill the workers. Their events end with QueueShutDown."""
        await self._each(lambda group: group.abort())

    async def _each(self, end: Callable[[WorkerTier], Coroutine[Any, Any, None]]) -> None:
        errors = await asyncio.gather(*map(end, self.groups.values()), return_exceptions=True)
        for error in filter(None, errors):
            raise error

    async def run(self, collector: Collector, payload: Payload[Any]) -> Any:
        """Process one payload in a worker of the collector's group; see `WorkerTier.run()`."""
        return await self.groups[collector.worker_group].run(collector, payload)

    @property
    def room(self) -> int:
        """Number of events that workers can take now."""
        return sum(max(0, group.room) for group in self.groups.values())

    def measure_memory(self) -> int:
        """Read the memory of all workers, and return its sum in bytes. This is slow."""
        return sum(group.measure_memory() for group in self.groups.values())

    def statistics(self) -> dict[str, PoolStatistics]:
        """Return the current figures of each group, with the memory of each worker, which is up to 5 s old."""
        return {name: group.statistics() for name, group in self.groups.items()}

    def progress(self) -> list[RunningProgress]:
        """Return what the handlers in workers have reported."""
        return [report for group in self.groups.values() for report in group.progress()]

    def events(self) -> list[CollectorEvent]:
        """Return the events that are here, running or not."""
        return [event for group in self.groups.values() for event in group.events()]

    def replace(self, worker: int, *, dry_run: bool = False) -> int:
        """Replace a worker without a gap, and return its process id; see `WorkerPool.replace()`.

        It is named by its process id or, if only one group has a worker with it, by its number. Raises LookupError.
        """
        found: dict[int, WorkerTier] = {}
        reasons = []
        for name, group in self.groups.items():
            try:
                found[group.replace(worker, dry_run=True)] = group
            except LookupError as exc:
                reasons.append(f"{name}: {exc.args[0]}" if len(self.groups) > 1 else str(exc.args[0]))
        if not found:
            raise LookupError("; ".join(reasons) or "this queue has no worker processes")
        if worker not in found and len(found) > 1:
            raise LookupError(
                f"several worker groups have a worker {worker}: name it by its process id, of {list(found)}"
            )
        pid = worker if worker in found else next(iter(found))
        return found[pid].replace(pid, dry_run=dry_run)

    def stacks(self, pid: int | None) -> list[tuple[int, str, str]]:
        """Return process id, subject and stack of one worker, or of all. Blocks: call it in another thread."""
        return [stack for group in self.groups.values() for stack in group.stacks(pid)]

    def problems(self) -> dict[str, str]:
        """Return why events of a group fail at once while its workers keep dying, by the name of the group."""
        return {name: problem for name, group in self.groups.items() if (problem := group.problem) is not None}

    def __repr__(self) -> str:
        return f"<WorkerGroups {dict(self.groups)}>"
