"""Every error that event_collector raises, or puts into a result."""

from typing import Any

from event_collector_workers.base_error import EventCollectorException

__all__ = [
    "ConfigError",
    "DeadlineExceeded",
    "EncodeError",
    "EventCancelled",
    "EventCollectorException",
    "EventDropped",
    "ExecutorLost",
    "HandlerTimeout",
    "JournalError",
    "MonitorError",
    "PayloadTypeError",
    "Reject",
    "RemoteError",
    "RemoteTraceback",
    "RetryLater",
    "SourceError",
]


class ConfigError(EventCollectorException, ValueError):
    """A collector, payload or queue was described in a way that cannot work."""


class HandlerTimeout(EventCollectorException, TimeoutError):
    """A handler ran longer than its collector's `timeout` and was stopped."""


class DeadlineExceeded(EventCollectorException, TimeoutError):
    """An event waited past its deadline; its handler was not called, or not called again."""


class EventCancelled(EventCollectorException):
    """The event was cancelled, with `event.cancel()`."""


class EventDropped(EventCollectorException):
    """The queue was full, and its `overflow` policy made room by dropping this event."""


class ExecutorLost(EventCollectorException, ConnectionError):
    """The executor of a collector is gone, or withdrew the event."""


class RetryLater(EventCollectorException):
    """Raised by a handler to be called again with this event, if its collector has `retry=` and attempts are left.

    Args:
        message: why, for the log and for the next attempt.
        delay: seconds to wait, 0 or more; None for the wait of the collector's policy.

    Raises:
        ConfigError: `delay` is not such a number.

    """

    delay: float | None = None

    def __init__(self, message: str = "", *, delay: float | None = None) -> None:
        # Not an argument of the exception: it travels as an attribute, through pickle and from a worker.
        super().__init__(message)
        given: Any = delay
        if given is not None and not (type(given) in (int, float) and 0 <= given < 1e9):
            raise ConfigError(
                f"RetryLater(delay=...) takes seconds from 0 on, less than 30 years, not {delay!r}"
            )
        self.delay = delay


class Reject(EventCollectorException):
    """Raised by a handler that will never succeed with this event: it is not called again, whatever `retry=` says."""


class EncodeError(EventCollectorException, TypeError):
    """A payload or a result holds a value that cannot cross the process boundary."""


class JournalError(EventCollectorException, OSError):
    """A journal cannot be used, or an event could not be made durable and was not accepted."""


class MonitorError(EventCollectorException, OSError):
    """The socket of `monitor=` cannot be made, or another program has it."""


class SourceError(EventCollectorException, ConnectionError):
    """A source of messages cannot be reached, or refuses what it is asked."""


class PayloadTypeError(EventCollectorException, TypeError):
    """A payload does not fit the type that its handler asks for."""


class RemoteError(EventCollectorException):
    """An exception from a worker that could not be rebuilt here; its text names the original."""


class RemoteTraceback(EventCollectorException):
    """The traceback of a handler in a worker, as text: the `__cause__` of the error it belongs to."""

    def __str__(self) -> str:
        return "\n" + "".join(str(part) for part in self.args)
