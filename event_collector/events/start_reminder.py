"""The reminder for a program that waits for a queue which it has not started."""

import asyncio
from typing import Any, Final

from event_collector.values.clock import clock

PATIENCE: Final = 0.8
"""Seconds from the first wait to the warning. Another task may be about to start the queue."""


class StartReminder:
    """Logs one warning if something waits for the queue and nothing starts it."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._is_armed = False
        self._has_begun = False

    def note_start(self) -> None:
        """Note that the start has begun."""
        self._has_begun = True

    def remind(self) -> None:
        """Prepare the warning, if an event loop runs in this thread."""
        if self._is_armed or self._has_begun:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # without a loop nothing can wait
            return
        self._is_armed = True
        loop.call_later(clock.source.patience(PATIENCE), self._look)

    def _look(self) -> None:
        if not self._has_begun:
            self._log.warning(
                "events wait for a queue that has not been started",
                remedy="start it with `async with queue:`, or with `await queue.init_queue()`",
            )
