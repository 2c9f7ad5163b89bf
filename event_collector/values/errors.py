"""Every error that event_collector raises or stores in a result."""

from typing import Any

from event_collector_workers.base_error import EventCollectorException

__all__ = [
    "CallTimeout",
    "ConfigError",
    "DeadlineExceeded",
    "EncodeError",
    "EventCancelled",
    "EventCollectorException",
    "EventDropped",
    "ExecutorLost",
    "HandlerTimeout",
    "HeartbeatTimeout",
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
    """The configuration of a collector, payload or queue is invalid."""


class HandlerTimeout(EventCollectorException, TimeoutError):
    """A handler ran longer than its collector's `timeout` and was stopped."""


class HeartbeatTimeout(HandlerTimeout):
    """A handler reported no progress for as long as its collector's `heartbeat` and was stopped."""


class CallTimeout(EventCollectorException, TimeoutError):
    """A `call()` had no answer within its `timeout`; its event is cancelled."""


class DeadlineExceeded(EventCollectorException, TimeoutError):
    """The deadline of an event passed before its handler was called, or called again."""


class EventCancelled(EventCollectorException):
    """The event was cancelled by `event.cancel()`."""


class EventDropped(EventCollectorException):
    """The queue was full, and its `overflow` policy made room by dropping this event."""


class ExecutorLost(EventCollectorException, ConnectionError):
    """The executor of a collector is gone or cancelled the event."""


class RetryLater(EventCollectorException):
    """Raised by a handler to request another attempt, if its collector has `retry=` and attempts are left.

    Args:
        message: the reason, for the log and for `last_error` of the next attempt.
        delay: seconds until the next attempt, 0 or more; None uses the retry policy of the collector.

    Raises:
        ConfigError: `delay` is out of range.
    """

    delay: float | None = None

    def __init__(self, message: str = "", *, delay: float | None = None) -> None:
        # `delay` is not in `args`: pickle and the codec carry it as an attribute.
        super().__init__(message)
        value: Any = delay
        if value is not None and not (type(value) in (int, float) and 0 <= value < 1e9):
            raise ConfigError(f"RetryLater(delay=...) takes seconds from 0 to 30 years, not {delay!r}")
        self.delay = delay


class Reject(EventCollectorException):
    """Raised by a handler that can never process this event: it is not called again, even with `retry=`."""


class EncodeError(EventCollectorException, TypeError):
    """A payload or a result contains a value that cannot cross the process boundary."""


class JournalError(EventCollectorException, OSError):
    """A journal is unusable, or an event was not accepted because it could not be stored."""


class MonitorError(EventCollectorException, OSError):
    """The socket of `monitor=` cannot be created or belongs to another program."""


class SourceError(EventCollectorException, ConnectionError):
    """A source of messages is unreachable or refuses a request."""


class PayloadTypeError(EventCollectorException, TypeError):
    """A payload does not match the type that its handler requires."""


class RemoteError(EventCollectorException):
    """An exception of a worker that cannot be rebuilt in this process; the text contains its class and message."""

    classes: tuple[str, ...] = ()
    """The names of its class and of all base classes, each "module.Class". A retry policy goes by them."""


class RemoteTraceback(EventCollectorException):
    """The traceback of a handler in a worker, as text; the `__cause__` of the handler's exception."""

    def __str__(self) -> str:
        return "\n" + "".join(str(part) for part in self.args)
