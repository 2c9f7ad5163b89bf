"""The reminder for a program that waits for a queue which it has not started."""

import asyncio
from typing import Any, Final

PATIENCE: Final = 0.8
"""Seconds that somebody may wait before the start: another task may be about to start the queue."""


class StartReminder:
    """Says in the log, once, that what somebody waits for will not come before the queue is started.

    Args:
        log: gets the line.

    """

    def __init__(self, log: Any) -> None:
        self._log = log
        self._is_armed = False
        self.begun = False
        """Whether the start has begun; written by the queue."""

    def remind(self) -> None:
        """Note that somebody waits, in the running event loop, if there is one."""
        if self._is_armed or self.begun:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # nothing can be waited for where no loop runs
            return
        self._is_armed = True
        loop.call_later(PATIENCE, self._look)

    def _look(self) -> None:
        if not self.begun:
            self._log.warning(
                "events wait for a queue that has not been started",
                remedy="start it with `async with queue:`, or with `await queue.init_queue()`",
            )
