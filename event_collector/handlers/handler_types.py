"""What type checkers are told of handlers: which values they take and give. Only they import it."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, TypeAlias, TypedDict, TypeVar

from event_collector.handlers.retry import Retry
from event_collector.values.context import Context
from event_collector.values.payload import Payload

__all__ = ["CollectorOptions", "Handler"]

P = TypeVar("P")
R = TypeVar("R")
A = TypeVar("A")

Handler: TypeAlias = Callable[[Payload[P], Context], A] | Callable[[P], A]
"""A handler in one of its two forms, for values of type P, whose call gives A."""


class CollectorOptions(TypedDict, total=False):
    """The keyword arguments of Collector; what they mean is said there."""

    topics: Sequence[str] | None
    ctx: Context | None
    lifecycle: Callable[[Context], AbstractAsyncContextManager[Any] | AbstractContextManager[Any]] | None
    mode: str | Executor
    payload_type: Any
    result_type: Any
    timeout: float | None
    retry: Retry | None
