"""The errors of a queue that accepts no events; each is a subclass of the corresponding error of asyncio."""

import asyncio

from event_collector.values.errors import ConfigError, EventCollectorException

# New in Python 3.13.
_AsyncioShutDown: type[Exception] = getattr(asyncio, "QueueShutDown", Exception)


class QueueFull(EventCollectorException, asyncio.QueueFull):
    """`send_nowait()` found the queue at its `max_queue_size`."""


class QueueShutDown(EventCollectorException, _AsyncioShutDown):  # type: ignore[valid-type,misc]
    """The queue accepts no more events, or its shutdown timed out before this event had finished."""


def several_payloads() -> ConfigError:
    """Return the error of a sender who sends a list of payloads as one."""
    return ConfigError("send() takes one payload, not a list of them: use send_many()")


def wrong_thread() -> ConfigError:
    """Return the error of a sender in another thread than that of the queue."""
    return ConfigError(
        "events are sent in the thread of the queue's event loop; from another thread use queue.call_threadsafe(), or "
        "asyncio.run_coroutine_threadsafe(publisher.send(payload), queue.loop)"
    )


def fresh_copy(error: QueueShutDown) -> QueueShutDown:
    """Return a copy: an exception object that is raised repeatedly would accumulate tracebacks."""
    return QueueShutDown(*error.args)
