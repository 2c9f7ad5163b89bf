"""The errors of a queue that accepts no events; each is a subclass of the corresponding error of asyncio."""

import asyncio

from event_collector.values.errors import EventCollectorException

# New in Python 3.13.
_AsyncioShutDown: type[Exception] = getattr(asyncio, "QueueShutDown", Exception)


class QueueFull(EventCollectorException, asyncio.QueueFull):
    """`send_nowait()` found the queue at its `max_queue_size`."""


class QueueShutDown(EventCollectorException, _AsyncioShutDown):  # type: ignore[valid-type,misc]
    """The queue accepts no more events, or its shutdown timed out before this event had finished."""


def fresh_copy(error: QueueShutDown) -> QueueShutDown:
    """Return a copy: an exception object that is raised repeatedly would accumulate tracebacks."""
    return QueueShutDown(*error.args)
