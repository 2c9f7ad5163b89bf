"""The sizes of a queue's pools: they follow the plans of the control law."""

from collections.abc import Callable
from typing import Any

from event_collector.sizing.gauges import Gauges
from event_collector.sizing.measured import MeasuredQueue, MeasuredWorkers
from event_collector.tiers.adaptive import AdaptiveTier
from event_collector_workers.autoscaler import Change, Plan, Tier


class Sizes:
    """Applies plans to one queue. `on_change` is called with each change of size and each move."""

    def __init__(
        self,
        queue: MeasuredQueue,
        workers: MeasuredWorkers | None,
        adaptive: AdaptiveTier | None,
        on_change: Callable[[Change], None],
        log: Any,
    ) -> None:
        self._queue, self._workers, self._adaptive = queue, workers, adaptive
        self._on_change, self._log = on_change, log
        self._wanted: dict[str, int] = {}  # workers of each group, as they were last set
        self._plan: Plan | None = None  # the last one

    def follow(self, plan: Plan, gauges: Gauges) -> None:
        """Move collectors and resize the pools as planned. `gauges` has just been read."""
        self._plan = plan
        if self._adaptive is not None:
            for moved in self._adaptive.follow(plan):
                self._on_change(moved)
        self._resize_consumers(plan, gauges)
        self._resize_workers(plan, gauges)
        for change in plan.changes:
            if isinstance(change.after, Tier):
                continue  # the adaptive tier has moved the collector and logged it
            self._on_change(change)
            before, after = str(change.before), str(change.after)
            self._log.debug("resized", subject=change.subject, before=before, after=after, reason=change.reason)

    def wanted(self) -> tuple[int, int, int]:
        """Return the number of wanted consumers, of ready workers, and of wanted workers."""
        consumers = self._queue.figures.size if self._plan is None else self._plan.consumers
        groups = {} if self._workers is None else self._workers.groups
        ready = {name: group.size for name, group in groups.items()}
        return consumers, sum(ready.values()), sum((ready | self._wanted).values())

    def __repr__(self) -> str:
        consumers, ready, wanted = self.wanted()
        return f"<Sizes of {consumers} consumers, {wanted} workers ({ready} ready)>"

    def _resize_consumers(self, plan: Plan, gauges: Gauges) -> None:
        queue, workers = self._queue, self._workers
        # Events in workers, and the room of the workers, need consumers that the law does not count.
        room = 0 if workers is None else max(0, workers.room)
        queue.permits.raise_ceiling(plan.consumer_ceiling + gauges.remote + room + gauges.elsewhere)
        # Fewer than are busy is possible: then events that end make no room for others until enough have ended.
        wanted = plan.consumers + gauges.remote + gauges.elsewhere
        if wanted != queue.permits.full_size:
            queue.resize(wanted)

    def _resize_workers(self, plan: Plan, gauges: Gauges) -> None:
        # Events that need a worker keep one worker, even if the law wants none.
        for name, group in ({} if self._workers is None else self._workers.groups).items():
            wanted = max(plan.groups.get(name, plan.workers), 1 if name in gauges.needed else 0)
            if wanted != self._wanted.get(name):
                self._wanted[name] = wanted
                group.resize(wanted)
