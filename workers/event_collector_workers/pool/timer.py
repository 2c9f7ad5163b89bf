"""A timer of the event loop that expires at the earliest of several times."""

import asyncio
from collections.abc import Callable
from time import monotonic


class EarliestTimer:
    """Expires once, at the earliest time for which it was armed. `on_expiry` gets the seconds by which it is late."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_expiry: Callable[[float], None]) -> None:
        self._loop = loop
        self._on_expiry = on_expiry
        self._due = 0.0
        self._handle: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        state = "disarmed" if self._handle is None else f"due in {self._due - monotonic():.3f} s"
        return f"<EarliestTimer {state}>"

    def arm(self, seconds: float) -> None:
        """Expire in `seconds`, unless the timer is armed for an earlier time."""
        due = monotonic() + seconds
        if self._handle is not None:
            if self._due <= due:
                return
            self._handle.cancel()
        self._due = due
        self._handle = self._loop.call_later(seconds, self._expire)

    def disarm(self) -> None:
        """Do not expire. Idempotent."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _expire(self) -> None:
        self._handle = None
        self._on_expiry(monotonic() - self._due)
