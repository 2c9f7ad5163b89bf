"""The event that the calling handler processes, for log lines. It is looked up on request: events pay nothing for it.

It is known in the handler and in the code that the handler calls or awaits: on the event loop, in threads and in
worker processes. Tasks and threads that a handler starts do not know it; see `event_context()`.

Each way to run handlers registers a finder, which knows the events that it runs.
"""

from collections.abc import Callable, MutableMapping
from typing import Any, NamedTuple


class RunningEvent(NamedTuple):
    """An event in a handler."""

    event_id: int | None
    """As `event.id` in the program that sent it; None in a batch handler, which has several events."""
    collector: str | None
    """The key of the collector; None if a custom router calls the handlers."""
    attempt: int | None
    """None in a batch handler."""
    worker_pid: int | None = None
    """The pid of the worker process; None in the program itself."""


_finders: list[Callable[[], RunningEvent | None]] = []


def register_finder(find: Callable[[], RunningEvent | None]) -> None:
    """Have `running_event()` call `find`, which returns the event of the calling thread and task if it knows one."""
    _finders.append(find)


def running_event() -> RunningEvent | None:
    """Return the event that the calling code processes; None outside a handler, and where it is not known."""
    for find in _finders:
        event = find()
        if event is not None:
            return event
    return None


def running_id() -> int:
    """Return the id of the event that the calling code processes; 0 if it is not known."""
    event = running_event()
    return 0 if event is None else event.event_id or 0


def event_context() -> dict[str, Any]:
    """Return the log fields of the event that the calling handler processes.

    The fields are `event_id`, `collector`, `attempt`, and `worker_pid` in a worker process. The dict is empty outside
    a handler. A handler that starts a task or a thread first binds the fields for it:
    `structlog.contextvars.bind_contextvars(**event_context())`.
    """
    event = running_event()
    if event is None:
        return {}
    return {name: value for name, value in event._asdict().items() if value is not None}


def add_event_context(logger: Any, method: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add `event_context()` to a log line; a processor for `structlog.configure()`. Existing fields are kept."""
    for name, value in event_context().items():
        event_dict.setdefault(name, value)
    return event_dict
