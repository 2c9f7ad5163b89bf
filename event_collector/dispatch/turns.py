"""Turns: how long events are processed within one turn of the event loop, and the pump that runs once in a turn."""

import asyncio
from collections.abc import Callable
from typing import Final

from event_collector.values.clock import clock

SLICE: Final = 0.002
"""Seconds for which events are processed without a turn of the loop. A shorter slice costs turns, a longer one keeps
other tasks waiting."""


class Turns:
    """The time slice of the current turn. Only this class writes its fields; they are read in the loop's thread.

    A pump that is due marks the turn in which the slice began: while it has not run, the slice cannot be renewed.

    Args:
        pump: called once in the next turn of the loop after `schedule()`.
        on_used_up: called when an event finds the slice used up.

    Attributes:
        ends: when the slice ends, by the clock; 0 keeps events out of the fast lane.
        is_due: whether the pump is scheduled.
    """

    __slots__ = ("_before_hold", "_loop", "_on_used_up", "_pump", "ends", "is_due")

    def __init__(self, pump: Callable[[], None], on_used_up: Callable[[], None]) -> None:
        self._pump, self._on_used_up = pump, on_used_up
        self._loop: asyncio.AbstractEventLoop | None = None
        self.ends = self._before_hold = 0.0
        self.is_due = False

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run the pump in this loop."""
        self._loop = loop

    def close(self) -> None:
        """Schedule nothing more."""
        self._loop = None
        self.ends = 0.0

    def schedule(self) -> None:
        """Have the pump run in the next turn of the loop."""
        if not self.is_due and self._loop is not None:
            self._loop.call_soon(self._run)
            self.is_due = True

    def has_time(self, now: float) -> bool:
        """Return whether an event may begin in this turn; begin a new slice if the last one was of an earlier turn."""
        if now < self.ends:
            return True
        if self.is_due:
            self._on_used_up()
            return False
        self.ends = now + SLICE
        self.schedule()
        return True

    def end_slice(self) -> None:
        """Have no more events begin in this turn."""
        self.schedule()
        self.ends = 0.0

    def rest(self) -> None:
        """Keep the next event out of the fast lane: the monitor rests, and has to be woken."""
        self.ends = 0.0

    def _run(self) -> None:
        self.is_due = False
        self.ends = clock.now() + SLICE
        self._pump()

    def __repr__(self) -> str:
        return f"<Turns {'pump due' if self.is_due else 'no pump due'}, {self.ends - clock.now():.4f} s left>"
