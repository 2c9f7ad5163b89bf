"""The decorator that makes a Collector of a function."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, Unpack, overload

from event_collector.handlers.collector import Collector
from event_collector.values.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection

    from event_collector.handlers.handler_types import BatchHandler, BatchOptions, CollectorOptions, Handler, P, R
    from event_collector.values.results import Error, Ok

    class CollectorDecorator(Protocol):
        """Makes a Collector of a function."""

        # The order matters: the last overload matches awaitables too, and the second one awaitable Results.
        @overload
        def __call__(self, handler: Handler[P, Awaitable[Ok[R] | Error[Any]]], /) -> Collector[P, R]: ...
        @overload
        def __call__(self, handler: Handler[P, Awaitable[R]], /) -> Collector[P, R]: ...
        @overload
        def __call__(self, handler: Handler[P, Ok[R] | Error[Any]], /) -> Collector[P, R]: ...
        @overload
        def __call__(self, handler: Handler[P, R], /) -> Collector[P, R]: ...

    class BatchDecorator(Protocol):
        """Makes a Collector of a batch handler."""

        @overload
        def __call__(
            self, handler: BatchHandler[P, Awaitable[Collection[Ok[R] | Error[Any]]]], /
        ) -> Collector[P, R]: ...
        @overload
        def __call__(self, handler: BatchHandler[P, Awaitable[Collection[R]]], /) -> Collector[P, R]: ...
        @overload
        def __call__(self, handler: BatchHandler[P, Collection[Ok[R] | Error[Any]]], /) -> Collector[P, R]: ...
        @overload
        def __call__(self, handler: BatchHandler[P, Collection[R]], /) -> Collector[P, R]: ...


if TYPE_CHECKING:
    # The order of the first four matters: the fourth matches awaitables too, and the second one awaitable Results.
    @overload
    def collector(handler: Handler[P, Awaitable[Ok[R] | Error[Any]]], /) -> Collector[P, R]: ...
    @overload
    def collector(handler: Handler[P, Awaitable[R]], /) -> Collector[P, R]: ...
    @overload
    def collector(handler: Handler[P, Ok[R] | Error[Any]], /) -> Collector[P, R]: ...
    @overload
    def collector(handler: Handler[P, R], /) -> Collector[P, R]: ...
    @overload
    def collector(key: str | None = None, **options: Unpack[CollectorOptions]) -> CollectorDecorator: ...
    @overload
    def collector(key: str | None = None, **options: Unpack[BatchOptions]) -> BatchDecorator: ...


def collector(key: Any = None, **options: Any) -> Any:
    """Make a Collector of a function: `@collector`, or `@collector("key", mode="thread")`.

    The name of the function then refers to the Collector; the function itself is its `handler`. Worker processes load
    the function by that name.

    Args:
        key: as for Collector. The default is the name of the function.
        options: the keyword arguments of Collector.

    Raises:
        ConfigError: as for Collector; or the function has no name and no key is given.
    """
    if callable(key) and not isinstance(key, Collector):
        return Collector(_name_of(key), key, **options)
    if key is not None and (not isinstance(key, str) or not key):
        raise ConfigError(f"collector() takes a key, not {key!r}: write @collector, or @collector('name')")

    def decorate(handler: Callable[..., Any]) -> Collector[Any, Any]:
        return Collector(_name_of(handler) if key is None else key, handler, **options)

    return decorate


def _name_of(handler: Callable[..., Any]) -> str:
    name = getattr(handler, "__name__", None)
    if not isinstance(name, str):
        raise ConfigError(f"{handler!r} has no name to be its key: give one, @collector('name')")
    return name
