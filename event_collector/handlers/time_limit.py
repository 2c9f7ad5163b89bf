"""The time limits of handlers on the event loop and in threads."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from event_collector.values.clock import clock
from event_collector.values.errors import HandlerTimeout


async def within(outcome: Awaitable[Any], seconds: float | None, timeout_error: Callable[[], HandlerTimeout]) -> Any:
    """Await a handler's outcome for at most `seconds`; then cancel it and raise `timeout_error()`. None: no limit."""
    if seconds is None:
        return await outcome
    limit = asyncio.timeout(None)
    timer = _LoopTimer(limit, seconds)
    try:
        async with limit:
            return await outcome
    except TimeoutError:
        if not limit.expired():
            raise
    finally:
        timer.cancel()
        # Breaks a reference cycle: timer, task, its exception, traceback, this frame.
        del limit, timer
    raise timeout_error()


LAG: Final = 0.5
"""Seconds. A timer that fires later than this was delayed by a frozen program or a blocked event loop. The handler then
gets the full time again; otherwise all handlers would time out at once."""


class _LoopTimer:
    """Expires a time limit after `seconds` in which the event loop ran."""

    def __init__(self, limit: asyncio.Timeout, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._start()

    def _start(self) -> None:
        self._due = clock.now() + self._seconds
        self._timer = self._loop.call_later(self._seconds, self._fire)

    def _fire(self) -> None:
        if clock.now() - self._due > LAG:
            self._start()
        else:
            self._limit.reschedule(self._loop.time())

    def cancel(self) -> None:
        self._timer.cancel()
