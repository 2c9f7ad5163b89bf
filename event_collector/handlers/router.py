"""How a payload finds its collectors, and how their results become one list."""

import asyncio
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from event_collector.handlers.collector import Collector, CollectorDict
from event_collector.handlers.mismatch import explain_mismatch
from event_collector.handlers.running_event import TASKS, RunningEvent, running_event
from event_collector.handlers.unreached import Unreached
from event_collector.values.payload import Delivery, Payload
from event_collector.values.results import Error, Ok, Result, ResultList, as_result, failure

__all__ = ["CollectorSet", "Router", "SimpleRouter", "TopicHandlerDict"]

CollectorSet: TypeAlias = Collection[Collector]
TopicHandlerDict: TypeAlias = dict[str, set[Collector]]


HANDLER_TASKS: "WeakKeyDictionary[asyncio.Task[Any], Router]" = WeakKeyDictionary()
"""The tasks in which a router runs handlers beside each other: none of them may wait for the end of its queue."""


class Router(ABC):
    """Hands a payload to collectors. Give a subclass to `CollectorQueue(router=...)` to decide it yourself.

    Args:
        collectors: the queue's collectors by key, in the order of their registration.

    """

    def __init__(self, collectors: CollectorDict | None = None) -> None:
        self.collectors: CollectorDict = collectors or {}

    @abstractmethod
    async def handle_event(self, payload: Payload[Any]) -> ResultList:
        """Process the payload and return the results.

        An exception becomes the event's one Error. When it is cancelled, what it awaits is cancelled too.
        """


class SimpleRouter(Router):
    """Delivers as the payload says: to every collector, to those with its keys, or to those of its topics.

    Several collectors of one payload run concurrently; the results stand in the order of registration.
    """

    _unreached = Unreached()
    """Answers for payloads that reach nobody; its queue gives it one that logs."""

    def __init__(self, collectors: CollectorDict | None = None) -> None:
        super().__init__(collectors)
        self.topic_handlers: TopicHandlerDict = self.get_topic_handlers(self.collectors)

    def get_topic_handlers(self, collectors: CollectorDict) -> TopicHandlerDict:
        """Return which collectors listen to which topic."""
        handlers: TopicHandlerDict = defaultdict(set)
        for collector in collectors.values():
            for topic in collector.topics:
                handlers[topic].add(collector)
        return handlers

    def select(self, payload: Payload[Any]) -> list[Collector]:
        """Return the collectors that this payload goes to, each once, in the order of registration."""
        if payload.delivery is Delivery.BROADCAST:
            return list(self.collectors.values())
        if payload.delivery is Delivery.KEY:
            keys = set(payload.keys)
            return [collector for key, collector in self.collectors.items() if key in keys]
        reached = {collector for topic in payload.topics for collector in self.topic_handlers.get(topic, ())}
        return [collector for collector in self.collectors.values() if collector in reached]

    async def handle_event(self, payload: Payload[Any]) -> ResultList:
        """Process the payload in every collector it goes to; none is no error: an empty ResultList."""
        selected = self.select(payload)
        if selected:  # no variable for the results: exception, traceback, frame would form a cycle with it
            return await self.async_collector_process(payload, selected)
        return await self.async_collector_process(payload, selected) or self._unreached.results(
            payload, self.collectors
        )

    async def async_collector_process(self, payload: Payload[Any], collectors: CollectorSet) -> ResultList:
        """Process the payload in these collectors concurrently; one that fails does not hide the others."""
        if len(collectors) == 1:
            (collector,) = collectors
            return self.gather_results([await process(collector, payload)])
        return await self.process_each([(collector, payload) for collector in collectors])

    async def process_each(self, deliveries: Sequence[tuple[Collector, Payload[Any]]]) -> ResultList:
        """Have each of these collectors process the payload beside it, all of them concurrently."""
        event = running_event()
        number = None if event is None else event.event_id
        tasks = [asyncio.create_task(self._process_beside(*delivery, number)) for delivery in deliveries]
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        return self.gather_results(
            [
                failure(outcome, collector.process, (payload,), {}, collector.key)
                if isinstance(outcome, BaseException)  # a handler that cancelled itself
                else outcome
                for (collector, payload), outcome in zip(deliveries, outcomes, strict=True)
            ]
        )

    async def _process_beside(self, collector: Collector, payload: Payload[Any], number: int | None) -> Any:
        self._enter_task(RunningEvent(number, collector.key, payload.attempt))
        return await process(collector, payload)

    def _enter_task(self, event: RunningEvent) -> None:
        # By the task itself: a task factory may run its first step before anybody else knows it. And not above,
        # where a variable with the task would close a cycle: task, result, exception, traceback, frame.
        task = asyncio.current_task()
        if task is not None:
            HANDLER_TASKS[task] = self
            TASKS[task] = event

    def gather_results(self, results: Sequence[Any]) -> ResultList:
        """Return what the collectors answered as a ResultList."""
        return ResultList(_as_result(result) for result in results)


def _as_result(outcome: Any) -> Result:
    if isinstance(outcome, BaseException):
        return Error(outcome)
    return outcome if isinstance(outcome, (Ok, Error)) else Ok(outcome)


async def process(collector: Collector, payload: Payload[Any]) -> Any:
    """Return the Result of one collector; its exceptions become an Error, CancelledError passes."""
    try:
        outcome = await collector.process(payload)
    except Exception as exc:
        explain_mismatch(exc, collector, payload)
        return failure(exc, collector.process, (payload,), {}, collector.key)
    return as_result(outcome, collector.key)
