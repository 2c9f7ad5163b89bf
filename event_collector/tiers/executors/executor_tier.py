"""Handlers in anybody's Executor: in its threads as they are; in its processes encoded, in batches."""

import asyncio
from concurrent.futures import Executor
from typing import Any

from event_collector.handlers.collector import Collector
from event_collector.tiers.executors.executor_adapter import ExecutorAdapter
from event_collector.tiers.executors.executor_feed import ExecutorFeed, Line
from event_collector.tiers.thread_tier import call_in_thread, no_coroutine
from event_collector.values.errors import ConfigError
from event_collector.values.payload import Payload


class ExecutorTier:
    """Runs handlers in executors that belong to the application, which also closes them.

    Args:
        collectors: those whose mode is an executor.

    Raises:
        ConfigError: a handler cannot be sent to the processes of its executor, or is a coroutine function for an
            executor of threads.

    """

    def __init__(self, collectors: list[Collector]) -> None:
        self._feeds: dict[Any, ExecutorFeed] = {}
        self._lines: dict[Collector, Line] = {}
        for collector in collectors:
            executor = _executor_of(collector)
            if collector.is_batched:
                adapter = _adapter_of(executor)
                feed = self._feeds.setdefault(adapter.identity, ExecutorFeed(adapter))
                self._lines[collector] = feed.add(collector)
            elif collector.asynchronous:
                raise no_coroutine(collector)

    async def open(self) -> None:
        """Make the executors ready.

        Raises:
            ConfigError: one cannot be used.

        """
        for feed in self._feeds.values():
            await feed.open()

    async def close(self) -> None:
        """Let go of the executors."""
        for feed in self._feeds.values():
            await feed.close()

    async def run(self, collector: Collector, payload: Payload[Any]) -> Any:
        """Run the handler in the collector's executor and return its outcome.

        In processes the collector's timeout counts from the start of the handler, which runs on in its thread after
        it, unheard, unless it awaits something. In threads it counts from here. When this is cancelled, an event
        that has not begun is withdrawn; one that has runs on, unheard.

        Raises:
            EncodeError: the payload cannot be sent to a process.
            HandlerTimeout: it took longer than the collector's timeout.

        """
        line = self._lines.get(collector)
        if line is None:
            future = call_in_thread(_executor_of(collector), collector, payload)
            return await collector.within_timeout(asyncio.wrap_future(future))
        return await line.run(payload)

    # What the monitor asks for

    def bounds(self, collector: Collector) -> bool:
        """Return whether the executor says how many events of this collector it can use."""
        line = self._lines.get(collector)
        return line is not None and line.feed.slots is not None

    @property
    def room(self) -> int:
        """How many more events the executors can use now."""
        return sum(feed.room for feed in self._feeds.values())


def _executor_of(collector: Collector) -> Executor:
    if collector.executor is None:
        raise ConfigError(f"collector {collector.key!r} has mode={collector.mode!r}, not an executor")
    return collector.executor


def _adapter_of(executor: Executor) -> ExecutorAdapter:
    """Return the adapter for an executor.

    Raises:
        ConfigError: it cannot be used as it is.

    """
    if type(executor).__module__ == "distributed.cfexecutor":
        from event_collector.tiers.executors.dask.cluster import DaskAdapter

        client_executor: Any = executor
        return DaskAdapter(client_executor)
    return ExecutorAdapter(executor)
