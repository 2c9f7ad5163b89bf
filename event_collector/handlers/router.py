"""Routers: select the collectors of a payload, run them, and return their results as one list."""

import asyncio
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

from event_collector.handlers.collector import Collector, CollectorDict
from event_collector.handlers.mismatch import explain_mismatch
from event_collector.handlers.running_event import RunningEvent, register_finder, running_event
from event_collector.handlers.stack_frames import hide_modules, strip_frames
from event_collector.handlers.unreached import Unreached
from event_collector.values.payload import Delivery, Payload
from event_collector.values.results import Error, Ok, Result, ResultList, as_result, failure

CollectorSet: TypeAlias = Collection[Collector]
TopicHandlerDict: TypeAlias = dict[str, set[Collector]]


class Router(ABC):
    """Selects and runs the collectors of each payload. Pass a subclass to `CollectorQueue(router=...)` to customize it.

    Args:
        collectors: the queue's collectors by key, in the order of their registration.
    """

    def __init__(self, collectors: CollectorDict | None = None) -> None:
        self.collectors: CollectorDict = collectors or {}

    @abstractmethod
    async def handle_event(self, payload: Payload[Any]) -> ResultList:
        """Process the payload and return the results.

        An exception becomes the only Error of the event. Cancelling the event cancels this coroutine.
        """


class SimpleRouter(Router):
    """Routes by the payload's delivery: to every collector, by key, or by topic.

    The collectors of one payload run concurrently; their results are in the order of registration.
    """

    _unreached = Unreached()
    """Makes the results of payloads that reach no collector; the queue replaces it by one that logs."""

    def __init__(self, collectors: CollectorDict | None = None) -> None:
        super().__init__(collectors)
        self.topic_handlers: TopicHandlerDict = self.get_topic_handlers(self.collectors)

    def answer_unreached(self, unreached: Unreached) -> None:
        """Set what answers payloads that reach no collector."""
        self._unreached = unreached

    def get_topic_handlers(self, collectors: CollectorDict) -> TopicHandlerDict:
        """Return the collectors subscribed to each topic."""
        handlers: TopicHandlerDict = defaultdict(set)
        for collector in collectors.values():
            for topic in collector.topics:
                handlers[topic].add(collector)
        return handlers

    def select(self, payload: Payload[Any]) -> list[Collector]:
        """Return the collectors of this payload, each once, in the order of registration."""
        if payload._delivery is Delivery.BROADCAST:
            return list(self.collectors.values())
        if payload._delivery is Delivery.KEY:
            keys = set(payload._headers.keys)
            selected = [collector for key, collector in self.collectors.items() if key in keys]
            if selected and len(selected) < len(keys):
                self._unreached.report_unknown(keys, self.collectors)
            return selected
        reached = {collector for topic in payload.topics for collector in self.topic_handlers.get(topic, ())}
        return [collector for collector in self.collectors.values() if collector in reached]

    async def handle_event(self, payload: Payload[Any]) -> ResultList:
        """Process the payload in its collectors. Without any the ResultList is empty."""
        selected = self.select(payload)
        if selected:  # no variable for the results: result, exception, traceback, frame would form a cycle
            return await self.async_collector_process(payload, selected)
        return await self.async_collector_process(payload, selected) or self._unreached.results(
            payload, self.collectors
        )

    async def async_collector_process(self, payload: Payload[Any], collectors: CollectorSet) -> ResultList:
        """Process the payload in these collectors concurrently; the failure of one does not affect the others."""
        if len(collectors) == 1:
            (collector,) = collectors
            return self.gather_results([await process(collector, payload)])
        return await self.process_each([(collector, payload) for collector in collectors])

    async def process_each(self, deliveries: Sequence[tuple[Collector, Payload[Any]]]) -> ResultList:
        """Process each payload in its collector, all concurrently, each in a task."""
        event = running_event()
        event_id = None if event is None else event.event_id
        tasks = [asyncio.create_task(self._process_in_task(*delivery, event_id)) for delivery in deliveries]
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        return self.gather_results(
            [
                failure(outcome, collector.process, (payload,), {}, collector.key)
                if isinstance(outcome, BaseException)  # the handler cancelled itself
                else outcome
                for (collector, payload), outcome in zip(deliveries, outcomes, strict=True)
            ]
        )

    async def _process_in_task(self, collector: Collector, payload: Payload[Any], event_id: int | None) -> Any:
        self._enter_task(RunningEvent(event_id, collector.key, payload.attempt))
        return await process(collector, payload)

    def _enter_task(self, event: RunningEvent) -> None:
        # Called in the task: an eager task runs its first step before create_task() returns. A separate method,
        # because a variable in the caller would close a cycle: task, result, exception, traceback, frame.
        task = asyncio.current_task()
        if task is not None:
            _handler_tasks[task] = _HandlerTask(self, event)

    def gather_results(self, results: Sequence[Any]) -> ResultList:
        """Return the outcomes of the collectors as a ResultList."""
        return ResultList(_as_result(result) for result in results)


def _as_result(outcome: Any) -> Result:
    if isinstance(outcome, BaseException):
        return Error(outcome)
    return outcome if isinstance(outcome, (Ok, Error)) else Ok(outcome)


class _HandlerTask(NamedTuple):
    """A task in which a router runs one of several handlers of an event. Must not reference the task."""

    router: Router
    event: RunningEvent


_handler_tasks: "WeakKeyDictionary[asyncio.Task[Any], _HandlerTask]" = WeakKeyDictionary()


def is_handler_task(task: "asyncio.Task[Any]", router: Router) -> bool:
    """Return whether a router runs a handler in this task, which therefore cannot wait for the end of the queue."""
    return task in _handler_tasks and _handler_tasks[task].router is router


def _find_running_event() -> RunningEvent | None:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop runs in this thread
        return None
    found = None if task is None else _handler_tasks.get(task)
    return None if found is None else found.event


register_finder(_find_running_event)


async def process(collector: Collector, payload: Payload[Any]) -> Any:
    """Return the Result of one collector. An exception becomes an Error; CancelledError propagates."""
    try:
        outcome = await collector.process(payload)
    except Exception as exc:
        strip_frames(exc)
        explain_mismatch(exc, collector, payload)
        return failure(exc, collector.process, (payload,), {}, collector.key)
    return as_result(outcome, collector.key)


hide_modules(__name__, Collector.__module__)
