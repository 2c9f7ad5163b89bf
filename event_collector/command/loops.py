"""The event loops that a command can run on."""

import asyncio
from collections.abc import Callable

from event_collector.command.usage import UsageError

__all__ = ["loop_factory"]


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the event loop; None for asyncio's own.

    Raises:
        UsageError: there is no uvloop to be had.

    """
    if name == "asyncio":
        return None
    try:
        import uvloop  # it is not there on every platform
    except ImportError:
        if name == "uvloop":
            raise UsageError("--loop uvloop: uvloop is not installed") from None
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
