"""Which event a handler is working on, for log lines: found out when somebody asks, so that events pay nothing for it.

It is known in the handler itself and in what it calls or awaits, on the event loop, in threads and in worker processes.
It is not known in tasks and threads that a handler starts: for those it has to be bound; see `event_context()`.
"""

import sys
import threading
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary, WeakSet

if TYPE_CHECKING:
    import asyncio

    from event_collector.remote.host import Host

__all__ = [
    "RunningEvent",
    "add_event_context",
    "event_context",
    "register_finder",
    "running_event",
    "running_id",
]


class RunningEvent(NamedTuple):
    """An event in a handler."""

    event_id: int | None
    """As `event.id` in the program that sent it."""
    collector: str | None
    """The key of the collector; None where a router of the application's own calls handlers."""
    attempt: int
    worker_pid: int | None = None
    """The worker process; None in the program itself."""


class _Thread(threading.local):
    """What is known of a thread."""

    def __init__(self) -> None:
        self.event: RunningEvent | None = None
        """Written by the tier of threads."""
        self.hosts: WeakSet[Host] = WeakSet()
        """The collectors that the thread has opened, in a process of workers: one of them has an event, or none."""


THREAD = _Thread()

TASKS: "WeakKeyDictionary[asyncio.Task[Any], RunningEvent]" = WeakKeyDictionary()
"""The tasks in which several collectors work on one event beside each other. No value may lead back to its task."""


_finders: "list[Callable[[], RunningEvent | None]]" = []


def register_finder(find: "Callable[[], RunningEvent | None]") -> None:
    """Have `running_event()` call `find`, which returns the event of the calling thread and task if it knows one."""
    _finders.append(find)


def running_event() -> RunningEvent | None:
    """Return the event that the calling code works on; None when it is in no handler, or that is not known."""
    for host in THREAD.hosts:
        event = host.running_event()
        if event is not None:
            return event
    if THREAD.event is not None:
        return THREAD.event
    for find in _finders:
        event = find()
        if event is not None:
            return event
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return None
    return None if task is None else TASKS.get(task)


def running_id() -> int:
    """Return the id of the event that the calling code works on; 0 when it is not known."""
    event = running_event()
    return 0 if event is None else event.event_id or 0


def event_context() -> dict[str, Any]:
    """Return what is known of the event that the calling handler works on.

    `event_id`, `collector`, `attempt`, and in a worker process `worker_pid`; empty outside a handler. For a task or a
    thread that a handler starts: `structlog.contextvars.bind_contextvars(**event_context())` before, in the handler.
    """
    event = running_event()
    if event is None:
        return {}
    return {name: value for name, value in event._asdict().items() if value is not None}


def add_event_context(
    logger: Any, method: str, event_dict: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Add `event_context()` to a log line: a processor for `structlog.configure()`. Fields that are there stay."""
    for name, value in event_context().items():
        event_dict.setdefault(name, value)
    return event_dict
