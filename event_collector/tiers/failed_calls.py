"""What a failed call with several events means for each of them."""

from copy import copy
from typing import Any, Final

from event_collector.values.errors import HandlerTimeout
from event_collector.values.payload import Payload
from event_collector_workers.pool_errors import WorkerCrashed

_SUSPECTS: Final = (f"{WorkerCrashed.__name__}:", f"{HandlerTimeout.__name__}:")
"""Last errors of events that travel alone in their next attempt, so that they fail no other events."""


def travels_alone(payload: Payload[Any]) -> bool:
    """Return whether an event must not share a call with others: its last attempt ended a worker, or took too long."""
    return payload.attempt > 1 and (payload.last_error or "").startswith(_SUSPECTS)


def copy_of(error: BaseException) -> BaseException:
    """Return a copy where possible: one exception raised for many events would keep every traceback."""
    try:
        copied = copy(error)
        if type(copied) is not type(error) or str(copied) != str(error):
            return error
        copied.__cause__ = error.__cause__
        return copied.with_traceback(error.__traceback__)
    except BaseException:  # odd parts of an exception
        return error
