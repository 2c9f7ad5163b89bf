"""The errors of a queue that takes no more events; each is also the one that asyncio's own queues raise."""

import asyncio

from event_collector.values.errors import EventCollectorException

__all__ = ["QueueFull", "QueueShutDown", "another"]

# Since Python 3.13; before, a queue of asyncio cannot be shut down.
_AsyncioShutDown: type[Exception] = getattr(asyncio, "QueueShutDown", Exception)


class QueueFull(EventCollectorException, asyncio.QueueFull):
    """`send_nowait()` found the queue at its `max_queue_size`."""


class QueueShutDown(EventCollectorException, _AsyncioShutDown):  # type: ignore[valid-type,misc]
    """The queue no longer takes events, or gave up this one when its shutdown ran out of time."""


def another(error: QueueShutDown) -> QueueShutDown:
    """Return an error that says the same: one that is raised again and again would keep every traceback."""
    return QueueShutDown(*error.args)
