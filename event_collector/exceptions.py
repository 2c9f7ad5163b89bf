"""Every error that event_collector raises, or puts into a result."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from event_collector.refusals import QueueFull, QueueShutDown

__all__ = [
    "ConfigError",
    "EncodeError",
    "EventCollectorException",
    "HandlerTimeout",
    "PayloadTypeError",
    "QueueFull",
    "QueueShutDown",
    "RemoteError",
    "RemoteTraceback",
]


class EventCollectorException(Exception):
    """The base of all errors of this package."""


class ConfigError(EventCollectorException, ValueError):
    """A collector, payload or queue was described in a way that cannot work."""


class HandlerTimeout(EventCollectorException, TimeoutError):
    """A handler ran longer than its collector's `timeout` and was stopped."""


class EncodeError(EventCollectorException, TypeError):
    """A payload or a result holds a value that cannot cross the process boundary."""


class PayloadTypeError(EventCollectorException, TypeError):
    """A payload does not fit the type that its handler asks for."""


class RemoteError(EventCollectorException):
    """An exception from a worker that could not be rebuilt here; its text names the original."""


class RemoteTraceback(EventCollectorException):
    """The traceback of a handler in a worker, as text: the `__cause__` of the error it belongs to."""

    def __str__(self) -> str:
        return "\n" + "".join(str(part) for part in self.args)


def __getattr__(name: str) -> Any:
    # These two need asyncio, which a worker process has no other reason to import.
    if name not in ("QueueFull", "QueueShutDown"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from event_collector import refusals

    globals().update(QueueFull=refusals.QueueFull, QueueShutDown=refusals.QueueShutDown)
    return globals()[name]
