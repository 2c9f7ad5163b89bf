"""A handler that takes the value alone, called as one that takes the payload and the context."""

from collections.abc import Callable
from typing import Any

from event_collector.values.context import Context
from event_collector.values.payload import Payload

__all__ = ["ValueHandler"]


class ValueHandler:
    """Calls `handler(value)` for `(payload, ctx)`. A worker process gets a copy, so it is picklable if the handler is.

    Args:
        handler: what is called.

    """

    __slots__ = ("handler",)

    def __init__(self, handler: Callable[[Any], Any]) -> None:
        self.handler = handler

    def __call__(self, payload: Payload[Any], ctx: Context) -> Any:
        """Return what the handler does: its outcome, or what is to be awaited for it."""
        return self.handler(payload._value)
