"""Every error that event_collector raises or stores in a result."""

from typing import TYPE_CHECKING, Any

from event_collector.values.errors import (
    ConfigError,
    DeadlineExceeded,
    EncodeError,
    EventCancelled,
    EventCollectorException,
    EventDropped,
    ExecutorLost,
    HandlerTimeout,
    JournalError,
    MonitorError,
    PayloadTypeError,
    Reject,
    RemoteError,
    RemoteTraceback,
    RetryLater,
    SourceError,
)

if TYPE_CHECKING:
    from event_collector.values.refusals import QueueFull, QueueShutDown

__all__ = [
    "ConfigError",
    "DeadlineExceeded",
    "EncodeError",
    "EventCancelled",
    "EventCollectorException",
    "EventDropped",
    "ExecutorLost",
    "HandlerTimeout",
    "JournalError",
    "MonitorError",
    "PayloadTypeError",
    "QueueFull",
    "QueueShutDown",
    "Reject",
    "RemoteError",
    "RemoteTraceback",
    "RetryLater",
    "SourceError",
]


def __getattr__(name: str) -> Any:
    # These two import asyncio, which most worker processes do not need.
    if name not in ("QueueFull", "QueueShutDown"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from event_collector.values import refusals

    globals().update(QueueFull=refusals.QueueFull, QueueShutDown=refusals.QueueShutDown)
    return globals()[name]
