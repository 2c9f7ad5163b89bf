"""What type checkers are told of handlers: which values they take and give. Only they import it."""

from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Protocol, TypeAlias, TypedDict, TypeVar, overload

from event_collector.collector import Collector
from event_collector.data import Context, Error, Ok, Payload
from event_collector.retry import Retry

__all__ = ["CollectorDecorator", "CollectorOptions", "Handler"]

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


class CollectorDecorator(Protocol):
    """Makes a Collector from a function."""

    # In this order: what can be awaited would match the last as well, and a Result the one before.
    @overload
    def __call__(self, handler: Handler[P, Awaitable[Ok[R] | Error[Any]]], /) -> Collector[P, R]: ...
    @overload
    def __call__(self, handler: Handler[P, Awaitable[R]], /) -> Collector[P, R]: ...
    @overload
    def __call__(self, handler: Handler[P, Ok[R] | Error[Any]], /) -> Collector[P, R]: ...
    @overload
    def __call__(self, handler: Handler[P, R], /) -> Collector[P, R]: ...
