"""Collectors: handlers with a key, and the decorator that makes one of a function."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, Unpack, overload

from event_collector.handlers.collector import (
    Collector,
    CollectorDict,
    CollectorList,
    LifecycleManager,
    Processor,
)
from event_collector.values.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from event_collector.handlers.handler_types import CollectorOptions, Handler
    from event_collector.values.results import Error, Ok

    P = TypeVar("P")
    R = TypeVar("R")

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


__all__ = ["Collector", "CollectorDict", "CollectorList", "LifecycleManager", "Processor", "collector"]


def collector(key: str, **options: "Unpack[CollectorOptions]") -> "CollectorDecorator":
    """Make the function below a Collector under this key.

    The name then stands for the Collector; the function itself is its `handler`. Worker processes find it there too.

    Args:
        key: as for Collector.
        options: the other arguments of Collector.

    Raises:
        ConfigError: as Collector does.

    """
    given: Any = key
    if not isinstance(given, str) or not given:
        raise ConfigError(
            f"collector() takes a key, not {key!r}: write the decorator as @collector('{_name_of(key)}')"
        )

    def decorate(handler: Callable[..., Any]) -> Collector[Any, Any]:
        return Collector(key, handler, **options)

    return decorate


def _name_of(given: object) -> str:
    return getattr(given, "__name__", None) or "name"


class _CallableModule(ModuleType):
    """What `from event_collector import collector` gives: the module, which has the name of its decorator."""

    __call__ = staticmethod(collector)


sys.modules[__name__].__class__ = _CallableModule
