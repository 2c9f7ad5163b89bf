"""The time limits of handlers on the event loop and in threads."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from event_collector.handlers.signature import describe_timeout
from event_collector.values.clock import clock
from event_collector.values.errors import HandlerTimeout

__all__ = ["LAG", "overdue", "within"]


class TimeLimited(Protocol):
    """The attributes of a collector that its time limit needs."""

    @property
    def key(self) -> str: ...
    @property
    def handler(self) -> Callable[..., Any]: ...
    @property
    def timeout(self) -> float | None: ...


def overdue(collector: TimeLimited) -> HandlerTimeout:
    """Return the error of a handler that exceeded its collector's timeout."""
    return HandlerTimeout(describe_timeout(collector.key, collector.handler, collector.timeout))


async def within(collector: TimeLimited, outcome: Awaitable[Any]) -> Any:
    """Await a handler's outcome for at most the collector's timeout.

    Raises:
        HandlerTimeout: the handler took longer and was cancelled.

    """
    if collector.timeout is None:
        return await outcome
    limit = asyncio.timeout(None)
    timer = _LoopTimer(limit, collector.timeout)
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
    raise overdue(collector)


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
        """Stop the timer."""
        self._timer.cancel()
