"""Values of another type than their handler asks for, where nothing checks them: told when the handler has failed."""

from typing import Any

from event_collector.handlers.collector import PROCESS, Collector, runs_in_threads
from event_collector.handlers.signature import classes_of, describe, type_name
from event_collector.values.payload import Payload

__all__ = ["explain_mismatch"]


def explain_mismatch(exc: BaseException, collector: Collector, payload: Payload[Any]) -> None:
    """Add a note to an exception of a handler that its payload's value may have caused, being of another type.

    In worker processes values are decoded into the type and checked; here they arrive as they were sent, and to check
    each would cost each its time.
    """
    if not isinstance(exc, (AttributeError, TypeError)) or _decodes(collector):
        return
    try:
        asked = collector.asked_type()
        if _fits(payload.value, asked):
            return
        note = (
            f"collector {collector.key!r}: the payload's value is of type {type(payload.value).__name__}, but "
            f"{describe(collector.handler)} asks for {type_name(asked)}; on the event loop and in "
            f"threads values arrive as they were sent, unchecked"
        )
        if note not in getattr(exc, "__notes__", ()):  # one exception may be raised again and again
            exc.add_note(note)
    except Exception:  # an annotation that cannot be resolved, a class with odd checks: no note, and no harm
        return


def _decodes(collector: Collector) -> bool:
    return collector.place == PROCESS or not (
        collector.executor is None or runs_in_threads(collector.executor)
    )


def _fits(value: Any, asked: Any) -> bool:
    """Return whether a value may be of a type, as far as its class tells."""
    try:
        return any(
            not isinstance(kind, type)
            or isinstance(value, kind)
            or (kind is float and isinstance(value, int))
            for kind in classes_of(asked)
        )
    except TypeError:  # a TypedDict, or a protocol that is for type checkers only
        return True
