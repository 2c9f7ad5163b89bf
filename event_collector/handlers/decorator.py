"""The decorator that makes a Collector of a function."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, Unpack, overload

from event_collector.handlers.collector import Collector
from event_collector.values.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from event_collector.handlers.handler_types import CollectorOptions, Handler, P, R
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


def collector(key: str, **options: "Unpack[CollectorOptions]") -> "CollectorDecorator":
    """Return a decorator that makes a Collector of a function.

    The name of the function then refers to the Collector; the function itself is its `handler`. Worker processes load
    the function by that name.

    Args:
        key: as for Collector.
        options: the keyword arguments of Collector.

    Raises:
        ConfigError: as for Collector.
    """
    value: Any = key
    if not isinstance(value, str) or not value:
        name = getattr(value, "__name__", None) or "name"
        raise ConfigError(f"collector() takes a key, not {key!r}: write the decorator as @collector('{name}')")

    def decorate(handler: Callable[..., Any]) -> Collector[Any, Any]:
        return Collector(key, handler, **options)

    return decorate
