"""An event that was sent: a place where its results will be."""

import asyncio
from collections.abc import Callable
from contextvars import Context as ContextVars
from enum import Enum
from typing import Any, Protocol

import msgspec

from event_collector.events.course import Course
from event_collector.values.clock import clock
from event_collector.values.errors import EventCancelled
from event_collector.values.payload import Payload
from event_collector.values.results import Error, ResultList

__all__ = ["DEFAULT_PRIORITY", "CollectorEvent", "QueueType", "Waiter"]

DEFAULT_PRIORITY = 1000


_NANOSECONDS = 1e9


class Waiter(Protocol):
    """What an event wakes when it is done: an asyncio.Future, or something that behaves like one."""

    def done(self) -> bool:
        """Return whether it no longer wants to be woken."""

    def set_result(self, result: None, /) -> None:
        """Wake it."""


class Callback:
    """A waiter that calls a function when its event is done."""

    __slots__ = ("_call", "_event")

    def __init__(self, event: "CollectorEvent", call: Callable[["CollectorEvent"], object]) -> None:
        self._event, self._call = event, call

    def done(self) -> bool:
        """Return False: it is to be called."""
        return False

    def set_result(self, _result: None, /) -> None:
        """Call the function."""
        self._call(self._event)


class QueueType(Enum):
    """The order in which queued events are taken."""

    FIFO = 0
    """First in, first out."""
    PRIORITY = 1
    """The lowest priority first; first in, first out within one priority."""
    LIFO = 2
    """Last in, first out."""


class CollectorEvent(msgspec.Struct, eq=False, weakref=True):
    """An event that was sent: a place where its results will be, like a future.

    Attributes:
        id: unique within the program, increasing in the order of sending.
        payload: the object that was sent.
        priority: its place in a PRIORITY queue; 1000 in the others.

    """

    id: int
    payload: Payload[Any]
    priority: float = DEFAULT_PRIORITY
    # Clock readings of time.clock.now(), in seconds; the consumer that has the event writes the last two.
    created: float = msgspec.field(default_factory=clock.read)
    started: float = 0.0
    owner: Any = None
    """The dispatcher that has accepted it."""
    place: Any = None
    """What it is in, other than the plain line of events. Written by the dispatcher and its tiers."""
    finished: float = 0.0
    # The sender's context variables, for the handler; None when there were none.
    variables: ContextVars | None = None
    course: Course | None = None
    """What is known of it beyond the plain way; most have none. Written by the dispatcher."""
    _results: ResultList | None = None
    # Most events have one waiter at most: a future of its own, a dict (for removal in any order) from two on.
    _waiters: "Waiter | dict[Waiter, None] | None" = None

    def is_done(self) -> bool:
        """Return whether the results are there."""
        return self._results is not None

    def get_result(self) -> ResultList | None:
        """Return the results; None until the event is done."""
        return self._results

    async def wait(self) -> ResultList:
        """Wait until the event is done and return its results, at once if it already is.

        Any number of tasks may wait, any number of times. Cancelling one, or a timeout around it, touches
        neither the event nor the other waiters.
        """
        if self._results is not None:
            return self._results
        waiter = asyncio.get_running_loop().create_future()
        self.add_waiter(waiter)
        try:
            await waiter
        except BaseException:
            self.remove_waiter(waiter)
            raise
        return self._results  # type: ignore[return-value]  # set before any waiter is woken

    def cancel(self) -> bool:
        """Have the event end with Error(EventCancelled); return False if it is done already.

        One that waits, also for another attempt, ends at once. In a handler it is a request: a coroutine gets
        CancelledError, a worker process is killed and replaced, a thread runs on unheard; the results come when that
        is through, and a handler that finishes all the same, or that suppresses its cancellation, decides what they
        are. It is not tried again. Asking twice does nothing more. Call it in the thread of the event loop.
        """
        if self._results is not None:
            return False
        if self.owner is not None:
            return bool(self.owner.cancel(self))
        self.set_result(ResultList((Error(EventCancelled("the event was cancelled")),)))
        return True

    def set_result(self, result: ResultList) -> None:
        """Finish the event and wake everybody who waits for it; only the first call counts."""
        if self._results is not None:
            return
        self._results = result
        if self.finished == 0.0:
            self.finished = clock.now()
        if self._waiters is not None:
            waiters, self._waiters = self._waiters, None
            for waiter in waiters if isinstance(waiters, dict) else (waiters,):
                if not waiter.done():
                    waiter.set_result(None)

    def service_time(self) -> int:
        """Return how long its handlers took, in nanoseconds; 0 until the event is done."""
        return round((self.finished - self.started) * _NANOSECONDS) if self.finished and self.started else 0

    def wait_time(self) -> int:
        """Return the time from sending it to its end, in nanoseconds; 0 until the event is done."""
        return round((self.finished - self.created) * _NANOSECONDS) if self.finished else 0

    def add_waiter(self, waiter: "Waiter") -> None:
        """Have `waiter.set_result(None)` called once, when the event is done; it must not be done yet."""
        if not self.started and self.owner is not None and self.owner.reminder is not None:
            self.owner.reminder.remind()
        if self._waiters is None:
            self._waiters = waiter
        elif isinstance(self._waiters, dict):
            self._waiters[waiter] = None
        else:
            self._waiters = {self._waiters: None, waiter: None}

    def on_done(self, call: Callable[["CollectorEvent"], object]) -> Waiter:
        """Have `call(event)` called when the event is done, which it must not be yet.

        Returns:
            What `remove_waiter()` takes to have it not called.

        """
        waiter = Callback(self, call)
        self.add_waiter(waiter)
        return waiter

    def remove_waiter(self, waiter: "Waiter") -> None:
        """Forget a waiter; one that is not there, or no longer, is no error."""
        if isinstance(self._waiters, dict):
            self._waiters.pop(waiter, None)
        elif self._waiters is waiter:
            self._waiters = None

    def __lt__(self, other: "CollectorEvent") -> bool:
        return (self.priority, self.id) < (other.priority, other.id)

    def __repr__(self) -> str:
        return (
            f"<CollectorEvent id={self.id} priority={self.priority} payload={self.payload!r}"
            f" is_done={self.is_done()}>"
        )
