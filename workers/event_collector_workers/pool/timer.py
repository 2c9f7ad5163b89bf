"""One timer of the event loop for all who want something looked at in time."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["EarliestTimer"]


class EarliestTimer:
    """Expires once, at the earliest of the times for which it was armed since it last did.

    Args:
        loop: in whose thread all of it happens.
        on_expiry: called then, with the seconds by which it is late.

    """

    __slots__ = ("_due", "_handle", "_loop", "_on_expiry")

    def __init__(self, loop: asyncio.AbstractEventLoop, on_expiry: Callable[[float], None]) -> None:
        self._loop = loop
        self._on_expiry = on_expiry
        self._due = 0.0
        self._handle: asyncio.TimerHandle | None = None

    def arm(self, seconds: float) -> None:
        """Expire in so many seconds, or sooner where that was asked for."""
        due = monotonic() + seconds
        if self._handle is not None:
            if self._due <= due:
                return
            self._handle.cancel()
        self._due = due
        self._handle = self._loop.call_later(seconds, self._expire)

    def disarm(self) -> None:
        """Do not expire."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _expire(self) -> None:
        self._handle = None
        self._on_expiry(monotonic() - self._due)
