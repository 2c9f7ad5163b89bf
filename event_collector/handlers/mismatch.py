"""Type mismatches of unchecked payloads: a note for the exception that they cause in a handler."""

from typing import Any

from event_collector.handlers.collector import PROCESS, Collector
from event_collector.handlers.signature import classes_of, describe, type_name
from event_collector.values.payload import Payload


def explain_mismatch(exc: BaseException, collector: Collector, payload: Payload[Any]) -> None:
    """Add a note to an AttributeError or TypeError of a handler if the payload's value has a wrong type. Never raises.

    Worker processes decode values into the handler's type, which checks them. In this process values arrive unchecked,
    because a check would cost time for each event.
    """
    try:
        if not isinstance(exc, (AttributeError, TypeError)) or collector.place == PROCESS or collector.is_in_processes:
            return
        required = collector.required_type()
        if _fits(payload.value, required):
            return
        note = (
            f"collector {collector.key!r}: the payload's value is of type {type(payload.value).__name__}, but "
            f"{describe(collector.handler)} asks for {type_name(required)}; on the event loop and in "
            f"threads values arrive as they were sent, unchecked"
        )
        if note not in getattr(exc, "__notes__", ()):  # an exception object may be raised repeatedly
            exc.add_note(note)
    except Exception:
        return  # an unresolvable annotation, a class with unusual checks, an exception that takes no notes


def _fits(value: Any, required: Any) -> bool:
    try:
        return any(
            not isinstance(kind, type) or isinstance(value, kind) or (kind is float and isinstance(value, int))
            for kind in classes_of(required)
        )
    except TypeError:  # a TypedDict, or a protocol that is not runtime_checkable
        return True
