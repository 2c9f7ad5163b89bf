"""The types of handlers, for type checkers. Not imported at run time."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, Required, TypeAlias, TypedDict, TypeVar

from event_collector.handlers.batch import Batch
from event_collector.handlers.lifecycle import LifecycleManager
from event_collector.handlers.retry import Retry
from event_collector.values.context import Context
from event_collector.values.payload import Payload

P = TypeVar("P")
R = TypeVar("R")
A = TypeVar("A")

Handler: TypeAlias = Callable[[Payload[P], Context], A] | Callable[[P], A]
"""A handler of either form that takes values of type P and returns A."""

BatchHandler: TypeAlias = Callable[[list[Payload[P]], Context], A] | Callable[[list[P]], A]
"""A batch handler of either form that takes values of type P, several at a time, and returns A for all of them."""


class CollectorOptions(TypedDict, total=False):
    """The keyword arguments of Collector."""

    topics: Sequence[str] | None
    ctx: Context | None
    lifecycle: LifecycleManager | None
    mode: str | Executor
    payload_type: Any
    result_type: Any
    timeout: float | None
    heartbeat: float | None
    retry: Retry | None
    on_error: str
    workers: str | None


class BatchOptions(CollectorOptions):
    """The keyword arguments of Collector with a batch handler."""

    batch: Required[Batch]
