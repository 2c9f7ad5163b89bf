"""The time limits of handlers on the event loop and in threads."""

import asyncio
from collections.abc import Awaitable
from typing import Any, Final, Protocol

from event_collector.handlers.progress_reports import Pulse
from event_collector.handlers.stack_frames import hide_modules
from event_collector.values.clock import clock
from event_collector.values.errors import HandlerTimeout
from event_collector_workers.job import TimeLimit


class LimitError(Protocol):
    """Makes the error of a handler that has exceeded a limit."""

    def __call__(self, *, is_silent: bool) -> HandlerTimeout:
        """Return it. `is_silent`: the handler has exceeded its heartbeat, not its timeout."""


async def within(outcome: Awaitable[Any], limit: TimeLimit, pulse: Pulse | None, make_error: LimitError) -> Any:
    """Await a handler's outcome within its limits; then cancel it and raise the error. `pulse` is for a heartbeat."""
    expiry = asyncio.timeout(None)
    timer = _LoopTimer(expiry, limit, pulse)
    try:
        async with expiry:
            return await outcome
    except TimeoutError:
        if not expiry.expired():
            raise
        is_silent = timer.is_silent
    finally:
        timer.cancel()
        # Breaks a reference cycle: timer, task, its exception, traceback, this frame.
        del expiry, timer
    raise make_error(is_silent=is_silent)


LAG: Final = 0.5
"""Seconds. A timer that fires later than this was delayed by a frozen program or a blocked event loop. The handler then
gets the full time again; otherwise all handlers would time out at once."""


class _LoopTimer:
    """Expires a limit after a time in which the event loop ran."""

    def __init__(self, expiry: asyncio.Timeout, limit: TimeLimit, pulse: Pulse | None) -> None:
        self._expiry, self._limit, self._pulse = expiry, limit, pulse
        self._loop = asyncio.get_running_loop()
        self.is_silent = False
        self._begin()

    def _begin(self) -> None:
        self._began = clock.now()
        self._start(self._limit.left())

    def _start(self, seconds: float) -> None:
        self._due = clock.now() + seconds
        self._timer = self._loop.call_later(seconds, self._fire)

    def _fire(self) -> None:
        now, pulse, timeout = clock.now(), self._pulse, self._limit.timeout
        if now - self._due > LAG:
            if pulse is not None:
                pulse.beat()
            self._begin()
            return
        # Timers may fire early by the resolution of the loop's clock: then the limit ends here all the same.
        is_over = timeout is not None and self._due >= self._began + timeout
        silent_for = 0.0 if pulse is None else self._due - pulse.at
        left = 0.0 if is_over else self._limit.left(self._due - self._began, silent_for)
        if left > 0.0:
            self._start(left)
        else:
            self.is_silent = not is_over
            self._expiry.reschedule(self._loop.time())

    def cancel(self) -> None:
        self._timer.cancel()


hide_modules(__name__)
