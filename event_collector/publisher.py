"""Sending events into a queue, and waiting for their results."""

from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any

from event_collector.events.completion import CompletionStream
from event_collector.events.course import Course
from event_collector.events.event import DEFAULT_PRIORITY, CollectorEvent, QueueType
from event_collector.events.nesting import refuse_own_wait
from event_collector.values.checks import check_seconds
from event_collector.values.clock import clock
from event_collector.values.errors import ConfigError
from event_collector.values.payload import Payload

if TYPE_CHECKING:
    from event_collector.dispatch.dispatcher import Dispatcher
    from event_collector.dispatch.recording import Recording
    from event_collector.events.dead_letters import DeadLetter

__all__ = ["DEFAULT_PRIORITY", "CollectorEvent", "EventPublisher", "QueueType"]


class EventPublisher:
    """Puts payloads into one queue, from the tasks of its event loop."""

    def __init__(self, dispatcher: "Dispatcher") -> None:
        self._dispatcher, self._gate = dispatcher, dispatcher.gate
        self._recording: Recording | None = None

    def enter_by(self, recording: "Recording") -> None:
        """Have every event recorded before it is accepted; the queue calls this."""
        self._recording = recording

    async def send(self, payload: Any, *, deadline: float | None = None) -> CollectorEvent:
        """Accept the payload as an event and return the event; `await event.wait()` gives its results.

        Waits while the queue is full (`max_queue_size`), in the order of the callers, and now and then for one turn of
        the event loop, so that a flood of events leaves room for other tasks. With a journal it waits until the event
        is on disk. Cancelled while it waits, nothing has been accepted.

        Another process gets the value as it is now, also if it is changed before a worker has room for it. A handler in
        this process gets the object itself.

        Args:
            payload: a Payload; or any other value, which goes to every collector: `send(7)` is `send(Payload(7))`.
            deadline: seconds from now, more than 0. An event that has not reached a handler by then, retries included,
                ends with Error(DeadlineExceeded). A running handler is not interrupted; that is what the collector's
                `timeout` is for. None for no limit.

        Raises:
            QueueShutDown: the shutdown of the queue has begun.
            ConfigError: it is a list of payloads, the deadline is no such number, or the queue runs in another thread.
            JournalError: the queue has a journal, and the event could not be written, or the journal is closed because
                the queue does not run. The event is not accepted.
            EncodeError: the queue has a journal, which cannot store the value. The event is not accepted.
        """
        if deadline is not None or self._gate.crowded:
            return await self._send(payload, None if deadline is None else Course(_end_of(deadline)))
        return self._dispatcher.accept(payload)

    def send_nowait(self, payload: Any, *, deadline: float | None = None) -> CollectorEvent:
        """Accept the payload as an event at once, and return the event; the arguments are those of `send()`.

        With a journal the event is on disk a little later; the log reports a failure to write it.

        Raises:
            QueueFull: `max_queue_size` events wait already.
            QueueShutDown: the shutdown of the queue has begun.
            ConfigError: it is a list of payloads, the deadline is no such number, or the queue runs in another thread.
            JournalError: the queue has a journal, which is closed because the queue does not run.
            EncodeError: the queue has a journal, which cannot store the value.
        """
        self._dispatcher.check_thread()
        course = None if deadline is None else Course(_end_of(deadline))
        if self._recording is not None:
            return self._recording.send_nowait(payload, course)
        self._gate.claim()
        return self._dispatcher.accept_with(course, payload)

    async def send_many(self, payloads: Iterable[Any], *, deadline: float | None = None) -> list[CollectorEvent]:
        """Accept all payloads, in their order, and return their events; waits and raises as `send()` does.

        Cancelled, or refused half-way, the payloads before that have been accepted. A journal writes many of them at
        once. The `deadline` is one for all of them, in seconds from now. Raises ConfigError if `payloads` is not an
        iterable.
        """
        self._dispatcher.check_thread()
        _check_iterable(payloads, "send_many() takes an iterable of payloads")
        end = None if deadline is None else _end_of(deadline)
        if self._recording is not None:
            return await self._recording.send_many(payloads, end)
        events: list[CollectorEvent] = []
        accept, add = self._dispatcher.accept, events.append
        for payload in payloads:
            if self._gate.crowded:
                await self._gate.wait()
            add(accept(payload) if end is None else self._dispatcher.accept_with(Course(end), payload))
        return events

    async def resend(self, letter: "DeadLetter") -> CollectorEvent:
        """Accept the payload of a dead letter again, for its collector; see `DeadLetters.replay()`."""
        return await self._send(letter.payload, Course(only=(letter.collector,) if letter.collector else ()))

    async def _send(self, payload: Payload[Any], course: Course | None) -> CollectorEvent:
        self._dispatcher.check_thread()
        if self._recording is not None:
            return await self._recording.send(payload, course)
        if self._gate.crowded:
            await self._gate.wait()
        return self._dispatcher.accept_with(course, payload)

    async def as_completed(self, events: Iterable[CollectorEvent]) -> AsyncIterator[CollectorEvent]:
        """Yield these events as they finish, those already done first.

        Leaving the loop early, or cancelling it, touches none of the events.

        Raises:
            ConfigError: `events` is not an iterable of events.
        """
        _check_iterable(events, "as_completed() takes an iterable of events")
        stream = CompletionStream()
        try:
            for event in events:
                if not isinstance(event, CollectorEvent):
                    raise ConfigError(f"as_completed() takes the events that `await send()` returns, not {event!r}")
                stream.watch(event)
            while stream.pending or stream.arrived:
                while stream.arrived:
                    yield stream.arrived.popleft()
                if stream.pending:
                    await stream.wait()
        finally:
            stream.close()

    async def wait(self) -> None:
        """Wait until every event that was sent is processed. Cancelling it touches no event.

        Raises ConfigError in a handler of the queue.
        """
        refuse_own_wait(self._gate.waits)
        await self._dispatcher.totals.join()

    def __repr__(self) -> str:
        figures = self._dispatcher.figures
        return f"<EventPublisher qsize={figures.qsize} unfinished={figures.unfinished}>"


def _check_iterable(value: Any, expected: str) -> None:
    try:
        iter(value)
    except TypeError:
        raise ConfigError(f"{expected}, not {value!r}") from None


def _end_of(deadline: float) -> float:
    """Return a deadline in seconds from now as a reading of the clock."""
    check_seconds("deadline takes", deadline)
    return clock.now() + deadline
