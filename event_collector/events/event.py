"""An event that was sent: a place where its results will be."""

import asyncio
from contextvars import Context as ContextVars
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from event_collector.events.course import Course
from event_collector.events.nesting import note_wait
from event_collector.events.part_stream import PartStream
from event_collector.values.clock import clock
from event_collector.values.errors import ConfigError, EventCancelled
from event_collector.values.guarded import guarded
from event_collector.values.payload import Payload
from event_collector.values.results import Error, ResultList

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from event_collector.remote.sent_value import Sent
    from event_collector.values.results import Result

DEFAULT_PRIORITY = 1000
_NANOSECONDS = 1e9


class Waiter(Protocol):
    """What an event wakes when it is done: an asyncio.Future, or something that behaves like one."""

    def done(self) -> bool:
        """Return whether it no longer wants to be woken."""

    def set_result(self, result: None, /) -> None:
        """Wake it."""


class Place(Protocol):
    """The one object that owns an event while it is not done."""

    def cancel_event(self, event: "CollectorEvent", *, running: bool) -> bool:
        """Have the event end with Error(EventCancelled), unless it is in a handler and not `running`.

        Return False if it is left alone, or has just ended.
        """

    def note_waiter(self) -> None:
        """Note that somebody waits for an event that has not begun."""


class Callback:
    """A waiter that calls a function when its event is done."""

    __slots__ = ("_call", "_event")

    def __init__(self, event: "CollectorEvent", call: "Callable[[CollectorEvent], object]") -> None:
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
    """An event that was sent. Like a future, it will have results.

    Its other fields are written by its own methods; the two hot paths, `Dispatcher` and `CoroutineTier`, repeat them.

    Attributes:
        id: unique within the program, increasing in the order of sending.
        payload: the object that was sent.
        priority: its place in a PRIORITY queue; 1000 in the others.
    """

    id: int
    payload: Payload[Any]
    priority: float = DEFAULT_PRIORITY
    created: float = msgspec.field(default_factory=clock.read)
    """When it was sent, by the clock of the queues, in seconds."""
    started: float = 0.0
    """When its handler began; 0 until then."""
    place: Place | None = None
    """The object that owns it: a backlog, the schedule of retries, a task, a job. None before it is accepted, and when
    it is done."""
    finished: float = 0.0
    """When it was done; 0 until then."""
    variables: ContextVars | None = None
    """The sender's context variables, for the handler; None when there were none."""
    course: Course | None = None
    """Deadline, attempts and cancellation. Most events have none."""
    sent: "Sent | None" = None
    """What other processes get of a value that can change. None if it cannot, or if no process will get it."""
    _results: ResultList | None = None
    # Most events have one waiter at most: a future of its own, a dict (for removal in any order) from two on.
    _waiters: "Waiter | dict[Waiter, None] | None" = None
    _parts: PartStream | None = None

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

        A handler may wait for events of its own queue, or of another one in this thread. If handlers that wait, for
        events or for room, hold all places of a queue, an event that they wait for runs next, in the place of one of
        them.

        Raises ConfigError in the handler of this event.
        """
        if self._results is not None:
            return self._results
        waiter = asyncio.get_running_loop().create_future()
        self.add_waiter(waiter)
        try:
            note_wait(waiter, self)
            await waiter
        except BaseException:
            self.remove_waiter(waiter)
            raise
        return self._results  # type: ignore[return-value]  # set before any waiter is woken

    def __await__(self) -> "Generator[Any, None, ResultList]":
        return self.wait().__await__()

    async def value(self) -> Any:
        """Wait until the event is done, and return the value of its only result; for an event to one collector.

        Raises:
            Exception: the handler's, or the queue's, such as WorkerCrashed, HandlerTimeout and EventCancelled.
            LookupError: the event has several results, or reached no collector.
        """
        return _unwrap((await self.wait()).only())

    async def parts(self) -> "AsyncGenerator[Any, None]":
        """Yield what the handler yields, as it does; for an event to a collector whose handler is a generator function.

        The handler is suspended while 16 parts wait to be read, and goes on when half of them are. Its return value
        is the result of the event. There is one reader. Leaving the loop, or its cancellation, closes the handler at
        its `yield`: its `finally` runs, and the event ends with Ok(None). Leave the loop before its end within
        `contextlib.aclosing()`, or that happens only once the iterator is collected.

        Begin to read before anything waits for the event: if the handler is suspended then and there is no reader, its
        parts are dropped, so that it can end.

        Raises:
            Exception: after the last part, what the handler raises, or what ended its event, such as WorkerCrashed.
            ConfigError: the parts have a reader already, or were dropped; or no handler of the event yields.
            LookupError: the event reached no collector.
        """
        stream = self.open_parts()
        stream.enter()
        try:
            while len(stream) or self._results is None:
                if len(stream):
                    yield stream.take()
                    continue
                news = stream.news()
                note_wait(news, self)
                await news
        finally:
            stream.leave()
        _raise_error(self._results or ResultList(), stream.producer)

    def open_parts(self) -> PartStream:
        """Return the stream of its parts, a new one if it had none."""
        if self._parts is None:
            self._parts = PartStream()
            if self._waiters is not None:
                self._parts.note_waiter()
            if self._results is None:
                self.add_waiter(self._parts)
            else:
                self._parts.set_result(None)
        return self._parts

    def has_given_parts(self, key: str) -> bool:
        """Return whether the handler of a collector has yielded anything."""
        return self._parts is not None and self._parts.producer == key and self._parts.count > 0

    def cancel(self, *, running: bool = True) -> bool:
        """Have the event end with Error(EventCancelled); return False if it is done already.

        An event that waits, also for another attempt, ends at once. In a handler this is a request: a coroutine gets
        CancelledError, a worker process is killed and replaced, a thread runs on and its outcome is dropped. The
        results come when that is through. A handler that finishes all the same, or suppresses its cancellation,
        decides what they are. The event is not tried again. A second call does nothing more. Call it in the thread of
        the event loop.

        Args:
            running: whether to cancel it in its handler, too. If not, an event that has begun is left alone, and the
                call returns False.
        """
        if self._results is not None:
            return False
        if self.place is not None:
            return self.place.cancel_event(self, running=running)
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
            self._wake_all()

    def _wake_all(self) -> None:
        waiters, self._waiters = self._waiters, None
        for waiter in waiters if isinstance(waiters, dict) else (waiters,):
            guarded("a waiter of an event", _wake, waiter)

    # What the places of an event note

    def become(self, kind: "type[CollectorEvent]") -> None:
        """Take another class with the same fields: FailedEvent, or this one again."""
        self.__class__ = kind

    def note_look(self) -> None:
        """Note that somebody has heard, or will hear, how it ended; of consequence for a FailedEvent only."""

    def move_to(self, place: Place | None) -> None:
        """Note which object owns it now."""
        self.place = place

    def begin(self, now: float) -> None:
        """Note when its handler began."""
        self.started = now

    def end(self, now: float) -> None:
        """Note when its handler ended."""
        self.finished = now

    def hold(self) -> None:
        """Take back that its handler began: it waits for another attempt."""
        self.started = self.finished = 0.0

    def replace_payload(self, payload: Payload[Any]) -> None:
        """Replace what the handler gets, by a copy with the number of its attempt or the original."""
        self.payload = payload

    def keep_sent(self, sent: "Sent | None") -> None:
        """Keep what other processes get of its value; None once nothing needs it."""
        self.sent = sent

    def keep_variables(self, variables: ContextVars) -> None:
        """Keep the context variables for the handler, if there are any."""
        if len(variables):
            self.variables = variables

    def set_priority(self, priority: float) -> None:
        """Set its place in a PRIORITY queue."""
        self.priority = priority

    def take_course(self, course: Course | None) -> None:
        """Note what is known of it from the start, such as a deadline."""
        self.course = course

    def note_course(self) -> Course:
        """Return its course, a new one if it had none."""
        if self.course is None:
            self.course = Course()
        return self.course

    @property
    def is_cancelled(self) -> bool:
        """Whether its handler is to be cancelled."""
        return self.course is not None and self.course.cancelled

    def note_cancelled(self) -> bool:
        """Note that its handler is to be cancelled; return False if that was noted before."""
        return self.note_course().cancel()

    def service_time(self) -> int:
        """Return how long its handlers took, in nanoseconds; 0 until the event is done."""
        return round((self.finished - self.started) * _NANOSECONDS) if self.finished and self.started else 0

    def wait_time(self) -> int:
        """Return the time from sending it to its end, in nanoseconds; 0 until the event is done."""
        return round((self.finished - self.created) * _NANOSECONDS) if self.finished else 0

    def add_waiter(self, waiter: "Waiter") -> None:
        """Have `waiter.set_result(None)` called once, when the event is done; it must not be done yet."""
        if not self.started and self.place is not None:
            self.place.note_waiter()
        if self._waiters is None:
            self._waiters = waiter
        else:  # a stream of parts is the first waiter of its event, so that other events need not look for one
            self._add_another(waiter)

    def _add_another(self, waiter: "Waiter") -> None:
        if isinstance(self._waiters, dict):
            self._waiters[waiter] = None
        elif self._waiters is not None:
            self._waiters = {self._waiters: None, waiter: None}
        if self._parts is not None and waiter is not self._parts:
            self._parts.note_waiter()

    def on_done(self, call: "Callable[[CollectorEvent], object]") -> Waiter:
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
            f"<CollectorEvent id={self.id} priority={self.priority} payload={self.payload!r} is_done={self.is_done()}>"
        )


def _unwrap(result: "Result[Any]") -> Any:
    """Return the value of a result, or raise its error."""
    if isinstance(result, Error) and isinstance(result.err, asyncio.CancelledError):
        # Raised as it is, it would pass for the cancellation of the caller.
        raise EventCancelled("the handler has cancelled itself: it raised CancelledError") from result.err
    return result.unwrap()


def _raise_error(results: ResultList, producer: str | None) -> None:
    """Raise the error of the collector that gave the parts, or of the event, if there is one."""
    for result in results:
        if isinstance(result, Error) and (producer is None or result.key in (producer, None)):
            _unwrap(result)
    if producer is None:
        if not results:
            results.only()
        raise ConfigError("no handler of this event yields: it has no parts, its result is event.value()")


def _wake(waiter: Waiter) -> None:
    if not waiter.done():
        waiter.set_result(None)
