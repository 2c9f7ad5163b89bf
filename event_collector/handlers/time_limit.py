"""The time limit of a handler."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from event_collector.handlers.signature import overdue as too_late
from event_collector.values.clock import clock
from event_collector.values.errors import HandlerTimeout

__all__ = ["LAG", "overdue", "within"]


class TimeLimited(Protocol):
    """A collector, as far as its time limit goes."""

    @property
    def key(self) -> str: ...
    @property
    def handler(self) -> Callable[..., Any]: ...
    @property
    def timeout(self) -> float | None: ...


def overdue(collector: TimeLimited) -> HandlerTimeout:
    """Return the error of a handler that ran longer than its collector allows."""
    return HandlerTimeout(too_late(collector.key, collector.handler, collector.timeout))


async def within(collector: TimeLimited, outcome: Awaitable[Any]) -> Any:
    """Await a handler's outcome for as long as its collector allows.

    Raises:
        HandlerTimeout: it took longer, and was cancelled.

    """
    if collector.timeout is None:
        return await outcome
    limit = asyncio.timeout(None)
    patience = _Patience(limit, collector.timeout)
    try:
        async with limit:
            return await outcome
    except TimeoutError:
        if not limit.expired():
            raise
    finally:
        patience.end()
        # They know the task, whose result will hold the exception, whose traceback holds this frame: a cycle.
        del limit, patience
    raise overdue(collector)


LAG: Final = 0.5
"""Seconds. A time limit that is looked at later than this was missed because the program stood still, frozen or with
its event loop blocked: the handlers get as much time again, or all of them would be over theirs at once."""


class _Patience:
    """Lets a time limit expire after so many seconds in which the event loop ran."""

    def __init__(self, limit: asyncio.Timeout, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._begin()

    def _begin(self) -> None:
        self._due = clock.now() + self._seconds
        self._timer = self._loop.call_later(self._seconds, self._look)

    def _look(self) -> None:
        if clock.now() - self._due > LAG:
            self._begin()
        else:
            self._limit.reschedule(self._loop.time())

    def end(self) -> None:
        """Let nothing expire any more."""
        self._timer.cancel()
