"""Events in an asyncio program, handled by coroutines and worker processes; one autoscaler sizes both.

The names below are loaded when they are first used: a worker process that imports a handler's module, which says
`from event_collector import Ok, Payload`, pays for nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from event_collector.collector import (
        Collector,
        CollectorDict,
        CollectorList,
        LifecycleManager,
        Processor,
        collector,
    )
    from event_collector.events.dead_letters import DeadLetter, DeadLetters
    from event_collector.events.event import CollectorEvent, QueueType
    from event_collector.handlers.batch import Batch
    from event_collector.handlers.progress_reports import progress
    from event_collector.handlers.retry import Retry
    from event_collector.handlers.router import Router, SimpleRouter
    from event_collector.handlers.running_event import add_event_context, event_context
    from event_collector.journal.journal_options import Journal
    from event_collector.life.interruption import drain_on_signal
    from event_collector.life.settings import Workers
    from event_collector.publisher import EventPublisher
    from event_collector.queue import CollectorQueue
    from event_collector.tiers.executors.dask.dask_workers import dask_workers
    from event_collector.values.context import Context, Record
    from event_collector.values.errors import (
        CallTimeout,
        ConfigError,
        DeadlineExceeded,
        EncodeError,
        EventCancelled,
        EventCollectorException,
        EventDropped,
        ExecutorLost,
        HandlerTimeout,
        HeartbeatTimeout,
        JournalError,
        MonitorError,
        PayloadTypeError,
        Reject,
        RemoteError,
        RetryLater,
        SourceError,
    )
    from event_collector.values.payload import Delivery, Payload
    from event_collector.values.refusals import QueueFull, QueueShutDown
    from event_collector.values.results import Error, Ok, Result, ResultList, abind
    from event_collector.watching.monitor import Monitor
    from event_collector_workers import (
        ScaledProcessPoolExecutor,
        WorkerCrashed,
        WorkerLimits,
        worker_group,
        worker_number,
    )

_HOMES = {
    "events.dead_letters": "DeadLetter DeadLetters",
    "events.event": "CollectorEvent QueueType",
    "publisher": "EventPublisher",
    "handlers.batch": "Batch",
    "handlers.collector": "Collector CollectorDict CollectorList Processor",
    "handlers.lifecycle": "LifecycleManager",
    "handlers.progress_reports": "progress",
    "handlers.retry": "Retry",
    "handlers.router": "Router SimpleRouter",
    "handlers.running_event": "add_event_context event_context",
    "journal.journal_options": "Journal",
    "life.interruption": "drain_on_signal",
    "life.settings": "Workers",
    "queue": "CollectorQueue",
    "tiers.executors.dask.dask_workers": "dask_workers",
    "values.errors": "CallTimeout ConfigError DeadlineExceeded EncodeError EventCancelled EventCollectorException "
    "EventDropped ExecutorLost HandlerTimeout HeartbeatTimeout JournalError MonitorError PayloadTypeError Reject "
    "RemoteError RetryLater SourceError",
    "values.refusals": "QueueFull QueueShutDown",
    "values.context": "Context Record",
    "values.payload": "Delivery Payload",
    "values.results": "Error Ok Result ResultList abind",
    "watching.monitor": "Monitor",
}
_HOME_OF = {name: f"{__name__}.{home}" for home, names in _HOMES.items() for name in names.split()}
_HOME_OF |= dict.fromkeys(
    ("ScaledProcessPoolExecutor", "WorkerCrashed", "WorkerLimits", "worker_group", "worker_number"),
    "event_collector_workers",
)

__all__ = [
    "Batch",
    "CallTimeout",
    "Collector",
    "CollectorDict",
    "CollectorEvent",
    "CollectorList",
    "CollectorQueue",
    "ConfigError",
    "Context",
    "DeadLetter",
    "DeadLetters",
    "DeadlineExceeded",
    "Delivery",
    "EncodeError",
    "Error",
    "EventCancelled",
    "EventCollectorException",
    "EventDropped",
    "EventPublisher",
    "ExecutorLost",
    "HandlerTimeout",
    "HeartbeatTimeout",
    "Journal",
    "JournalError",
    "LifecycleManager",
    "Monitor",
    "MonitorError",
    "Ok",
    "Payload",
    "PayloadTypeError",
    "Processor",
    "QueueFull",
    "QueueShutDown",
    "QueueType",
    "Record",
    "Reject",
    "RemoteError",
    "Result",
    "ResultList",
    "Retry",
    "RetryLater",
    "Router",
    "ScaledProcessPoolExecutor",
    "SimpleRouter",
    "SourceError",
    "WorkerCrashed",
    "WorkerLimits",
    "Workers",
    "abind",
    "add_event_context",
    "collector",
    "dask_workers",
    "drain_on_signal",
    "event_context",
    "progress",
    "worker_group",
    "worker_number",
]


def __getattr__(name: str) -> Any:
    if name == "collector":  # the module, which can be called as the decorator that it holds
        return import_module("event_collector.collector")
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
