"""Sending events, and waiting for what becomes of them."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextvars import Context as ContextVars
from enum import Enum
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from event_collector.admission import send_many_recorded, send_recorded, send_recorded_nowait
from event_collector.attempt import Course
from event_collector.data import Error, Payload, ResultList
from event_collector.exceptions import ConfigError, EventCancelled
from event_collector.schedule import read_clock

if TYPE_CHECKING:
    from event_collector.dispatcher import Dispatcher

__all__ = ["DEFAULT_PRIORITY", "CollectorEvent", "EventPublisher", "QueueType"]

DEFAULT_PRIORITY = 1000
_NANOSECONDS = 1e9


class Waiter(Protocol):
    """What an event wakes when it is done: an asyncio.Future, or something that behaves like one."""

    def done(self) -> bool:
        """Return whether it no longer wants to be woken."""

    def set_result(self, result: None, /) -> None:
        """Wake it."""


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
    # Clock readings of time.monotonic(), in seconds; the consumer that has the event writes the last two.
    created: float = msgspec.field(default_factory=read_clock)
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
            self.finished = monotonic()
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


class _CompletionStream:
    """Collects events in the order in which they finish, without a future or a loop turn for each."""

    def __init__(self) -> None:
        self.pending: dict[_Completion, None] = {}
        self.arrived: deque[CollectorEvent] = deque()
        self._wakeup: asyncio.Future[None] | None = None

    def watch(self, event: CollectorEvent) -> None:
        """Add an event, done or not."""
        if event.is_done():
            self.arrived.append(event)
            return
        completion = _Completion(event, self)
        self.pending[completion] = None
        event.add_waiter(completion)

    def finished(self, completion: "_Completion") -> None:
        """Take note of a finished event, and wake whoever waits."""
        del self.pending[completion]
        self.arrived.append(completion.event)
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    async def wait(self) -> None:
        """Wait until an event has finished that was not there yet."""
        self._wakeup = asyncio.get_running_loop().create_future()
        await self._wakeup

    def close(self) -> None:
        """Stop watching; the events go on."""
        for completion in self.pending:
            completion.event.remove_waiter(completion)


class _Completion:
    """A waiter that reports one event to a stream."""

    __slots__ = ("_stream", "event")

    def __init__(self, event: CollectorEvent, stream: _CompletionStream) -> None:
        self.event = event
        self._stream = stream

    def done(self) -> bool:
        return False

    def set_result(self, _result: None, /) -> None:
        self._stream.finished(self)


class EventPublisher:
    """Puts payloads into one queue, from the tasks of its event loop."""

    def __init__(self, dispatcher: "Dispatcher") -> None:
        self._dispatcher = dispatcher

    async def send(self, payload: Payload[Any], *, deadline: float | None = None) -> CollectorEvent:
        """Accept the payload as an event and return it; its results come later, with `event.wait()`.

        Waits only while the queue is full (`max_queue_size`), in the order of the callers, and now and then for
        one turn of the event loop, so that a flood of events leaves room for other tasks. Cancelled while it
        waits, nothing has been accepted.

        Args:
            payload: what the handlers get.
            deadline: seconds from now, more than 0, after which no handler is to begin with it: if it still waits
                then, also for another attempt, it ends with Error(DeadlineExceeded). What has begun goes on: that is
                for the collector's `timeout`. None for no limit.

        Raises:
            QueueShutDown: the shutdown of the queue has begun.
            ConfigError: it is not a Payload, or the deadline is not such a number.

        """
        dispatcher = self._dispatcher
        course = None if deadline is None else Course(_end_of(deadline))
        if dispatcher.crowded:
            if dispatcher.recorder is not None:
                return await send_recorded(dispatcher, payload, course)
            await dispatcher.wait_for_room()
        return dispatcher.accept(payload, course)

    def send_nowait(self, payload: Payload[Any], *, deadline: float | None = None) -> CollectorEvent:
        """Accept the payload as an event, at once; `deadline` as for `send()`.

        Raises:
            QueueFull: `max_queue_size` events wait already.
            QueueShutDown: the shutdown of the queue has begun.
            ConfigError: it is not a Payload, or the deadline is not such a number.

        """
        dispatcher = self._dispatcher
        course = None if deadline is None else Course(_end_of(deadline))
        dispatcher.claim_room()
        if dispatcher.recorder is not None:
            return send_recorded_nowait(dispatcher, payload, course)
        return dispatcher.accept(payload, course)

    async def send_many(
        self, payloads: Iterable[Payload[Any]], *, deadline: float | None = None
    ) -> list[CollectorEvent]:
        """Accept all payloads, in their order, and return their events; waits as `send()` does.

        Cancelled, or refused half-way, the payloads before that have been accepted. The `deadline` is one for all of
        them, in seconds from now.
        """
        dispatcher = self._dispatcher
        end = None if deadline is None else _end_of(deadline)
        if dispatcher.recorder is not None:
            return await send_many_recorded(dispatcher, payloads, end)
        events: list[CollectorEvent] = []
        accept, add = dispatcher.accept, events.append
        for payload in payloads:
            if dispatcher.crowded:
                await dispatcher.wait_for_room()
            add(accept(payload) if end is None else accept(payload, Course(end)))
        return events

    async def as_completed(self, events: Iterable[CollectorEvent]) -> AsyncIterator[CollectorEvent]:
        """Yield these events as they finish, those already done first.

        Leaving the loop early, or cancelling it, touches none of the events.
        """
        stream = _CompletionStream()
        try:
            for event in events:
                stream.watch(event)
            while stream.pending or stream.arrived:
                while stream.arrived:
                    yield stream.arrived.popleft()
                if stream.pending:
                    await stream.wait()
        finally:
            stream.close()

    async def wait(self) -> None:
        """Wait until every event that was sent is processed. Cancelling it touches no event."""
        await self._dispatcher.join()

    def __repr__(self) -> str:
        return f"<EventPublisher qsize={self._dispatcher.qsize} unfinished={self._dispatcher.unfinished}>"


def _end_of(deadline: float) -> float:
    """Return a deadline in seconds from now as a reading of the clock."""
    given: Any = deadline
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not given > 0:
        raise ConfigError(f"deadline takes a number of seconds above 0, not {deadline!r}")
    return monotonic() + deadline
