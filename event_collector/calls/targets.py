"""Targets: what names one collector of a queue in a call."""

from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeAlias

from event_collector.handlers.collector import Collector
from event_collector.handlers.signature import describe
from event_collector.values.errors import ConfigError

Target: TypeAlias = "Collector[Any, Any] | Callable[..., Any] | str"
"""One collector of the queue: the Collector, its function, or its key."""


class Targets:
    """Finds the collectors of one queue.

    Args:
        collectors: all collectors of the queue, by key.
        takes_parts: whether a handler may yield. If not, its parts would be dropped.
    """

    __slots__ = ("_collectors", "_found", "_takes_parts")

    def __init__(self, collectors: Mapping[str, Collector], *, takes_parts: bool) -> None:
        self._collectors, self._takes_parts = collectors, takes_parts
        self._found: dict[Hashable, str] = {}

    def key_of(self, target: Target) -> str:
        """Return the key of the collector that a target names.

        Raises:
            ConfigError: it names no collector of the queue, or several, or one that yields and must not.
        """
        try:
            key = self._found.get(target)
        except TypeError:  # a handler that is an object without a hash
            return self._search(target)
        if key is None:
            key = self._found[target] = self._search(target)
        return key

    def _search(self, target: Any) -> str:
        keys = [key for key, collector in self._collectors.items() if _is_named(collector, target)]
        if len(keys) == 1:
            if self._collectors[keys[0]].is_generator and not self._takes_parts:
                raise _yields(keys[0])
            return keys[0]
        name = repr(target) if isinstance(target, str) else describe(target)
        if keys:
            raise ConfigError(f"{name} is the handler of several collectors, {keys}: give the key of one")
        raise ConfigError(
            f"{name} is no collector of this queue, which has {list(self._collectors)}: "
            f"give a Collector of the queue, its function, or its key"
        )


def _is_named(collector: Collector, target: Any) -> bool:
    if isinstance(target, str):
        return collector.key == target
    return collector is target or bool(collector.handler == target)


def _yields(key: str) -> ConfigError:
    return ConfigError(
        f"collector {key!r} yields parts, and a call or a stream has one result for each value: read the parts, "
        f"`async for part in queue.submit({key!r}, value).parts()`"
    )
