"""Every error that event_collector raises or stores in a result."""

from typing import TYPE_CHECKING, Any

from event_collector.values import errors
from event_collector.values.errors import *  # noqa: F403

if TYPE_CHECKING:
    from event_collector.values.refusals import QueueFull, QueueShutDown

__all__ = ["QueueFull", "QueueShutDown"]
__all__ += errors.__all__


def __getattr__(name: str) -> Any:
    # These two import asyncio, which most worker processes do not need.
    if name not in ("QueueFull", "QueueShutDown"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from event_collector.values import refusals

    return getattr(refusals, name)
