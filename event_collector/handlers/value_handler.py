"""The adapters of handlers that take values alone, and the results of a batch handler."""

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

from event_collector.handlers.stack_frames import hide_modules
from event_collector.values.context import Context
from event_collector.values.errors import ConfigError
from event_collector.values.payload import Payload


class ValueHandler:
    """Calls `handler(value)` when it is called with a payload and a context. Picklable if the handler is."""

    __slots__ = ("handler",)

    def __init__(self, handler: Callable[[Any], Any]) -> None:
        self.handler = handler

    def __call__(self, payload: Payload[Any], ctx: Context) -> Any:
        """Return the handler's outcome, which may be awaitable."""
        return self.handler(payload._value)


class ValuesHandler:
    """Calls `handler(values)` when it is called with a list of payloads and a context, for batch handlers."""

    __slots__ = ("handler",)

    def __init__(self, handler: Callable[[list[Any]], Any]) -> None:
        self.handler = handler

    def __call__(self, payloads: Sequence[Payload[Any]], ctx: Context) -> Any:
        """Return the handler's outcome, which may be awaitable."""
        return self.handler([payload._value for payload in payloads])


def results_of(outcome: Any, events: int, key: str) -> list[Any]:
    """Return the results in the outcome of a batch handler, one for each event.

    Raises:
        ConfigError: it is no list, or has another number of results.
    """
    is_sized = hasattr(outcome, "__len__") and hasattr(outcome, "__iter__")
    is_list = is_sized and not isinstance(outcome, (str, bytes, bytearray, memoryview, Mapping, Set))
    results = list(outcome) if is_list else []
    if is_list and len(results) == events:
        return results
    returned = f"a list of {len(results)}" if is_list else type(outcome).__name__
    raise ConfigError(f"collector {key!r}: its batch handler returned {returned} for a batch of {events}: {ONE_EACH}")


ONE_EACH = "return a list with one result for each event, in their order; a result may be Error(...) or None"


hide_modules(__name__)
