"""Handlers in executors of the application: called directly in threads, encoded and in batches in processes."""

import asyncio
from concurrent.futures import Executor
from typing import Any

from event_collector.handlers.collector import Collector
from event_collector.handlers.stack_frames import hide_modules
from event_collector.tiers.executors.executor_adapter import ExecutorAdapter
from event_collector.tiers.executors.executor_feed import BatchQueue, ExecutorFeed
from event_collector.tiers.thread_call import call_in_thread, no_coroutine


class ExecutorTier:
    """Runs the handlers of collectors whose mode is an executor.

    Raises ConfigError if a handler cannot be sent to processes, or is a coroutine function for threads.
    """

    def __init__(self, collectors: list[Collector]) -> None:
        self._feeds: dict[Any, ExecutorFeed] = {}
        self._queues: dict[Collector, BatchQueue] = {}
        for collector in collectors:
            if collector.is_in_processes:
                adapter = _adapter_of(collector.executor)
                feed = self._feeds.setdefault(adapter.identity, ExecutorFeed(adapter))
                self._queues[collector] = feed.add(collector)
            elif collector.asynchronous:
                raise no_coroutine(collector)

    async def open(self) -> None:
        """Prepare the executors. Raises ConfigError if one cannot be used."""
        for feed in self._feeds.values():
            await feed.open()

    async def close(self) -> None:
        """Release the executors."""
        for feed in self._feeds.values():
            await feed.close()

    async def run(self, collector: Collector, payload: Any) -> Any:
        """Run the handler in the collector's executor and return its outcome.

        In a process the timeout counts from the start of the handler. In a thread it counts from this call. A handler
        that does not await continues after its timeout, and its outcome is dropped. Cancellation withdraws an event
        that has not begun; a handler that has begun continues, and its outcome is dropped.

        Raises:
            EncodeError: the payload cannot be sent to a process.
            HandlerTimeout: the handler exceeded the collector's timeout.
        """
        if collector in self._queues:
            return await self._queues[collector].run(payload)
        executor: Any = collector.executor
        pulse = collector.begin_pulse()  # first: the thread has a copy of this context
        return await collector.within_limits(asyncio.wrap_future(call_in_thread(executor, collector, payload)), pulse)

    async def exchange(self, collector: Collector, body: bytes) -> tuple[bytes, float]:
        """Call a batch handler in a process with an encoded batch; return its reply, and the seconds that it took.

        The call is a task of its own. Cancellation and the timeout are as for `run()`.
        """
        return await self._queues[collector].exchange(body, alone=True)

    # For the monitor

    def bounds(self, collector: Collector) -> bool:
        """Return whether the number of events of this collector that its executor can use is known."""
        queue = self._queues.get(collector)
        return queue is not None and queue.feed.adapter.slots is not None

    @property
    def capacity(self) -> int:
        """Number of events that the executors can use at once."""
        return sum(feed.capacity for feed in self._feeds.values())

    def __repr__(self) -> str:
        return f"<ExecutorTier {list(self._feeds.values())}>"


def _adapter_of(executor: Executor | None) -> ExecutorAdapter:
    untyped: Any = executor
    if type(executor).__module__ == "distributed.cfexecutor":
        from event_collector.tiers.executors.dask.cluster import DaskAdapter

        return DaskAdapter(untyped)
    return ExecutorAdapter(untyped)


hide_modules(__name__)
