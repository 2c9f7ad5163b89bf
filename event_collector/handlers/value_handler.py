"""The adapter of handlers that take the value alone."""

from collections.abc import Callable
from typing import Any

from event_collector.values.context import Context
from event_collector.values.payload import Payload


class ValueHandler:
    """Calls `handler(value)` when it is called with a payload and a context. Picklable if the handler is."""

    __slots__ = ("handler",)

    def __init__(self, handler: Callable[[Any], Any]) -> None:
        self.handler = handler

    def __call__(self, payload: Payload[Any], ctx: Context) -> Any:
        """Return the handler's outcome, which may be awaitable."""
        return self.handler(payload._value)
