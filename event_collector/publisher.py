"""Sending events, and waiting for what becomes of them."""

from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any

from event_collector.events.completion import CompletionStream
from event_collector.events.course import Course
from event_collector.events.event import DEFAULT_PRIORITY, CollectorEvent, QueueType
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
        if deadline is not None or self._gate.crowded:
            return await self._send(payload, None if deadline is None else Course(_end_of(deadline)))
        return self._dispatcher.accept(payload)

    def send_nowait(self, payload: Payload[Any], *, deadline: float | None = None) -> CollectorEvent:
        """Accept the payload as an event, at once; `deadline` as for `send()`.

        Raises:
            QueueFull: `max_queue_size` events wait already.
            QueueShutDown: the shutdown of the queue has begun.
            ConfigError: it is not a Payload, or the deadline is not such a number.

        """
        course = None if deadline is None else Course(_end_of(deadline))
        if self._recording is not None:
            return self._recording.send_nowait(payload, course)
        self._gate.claim()
        return self._dispatcher.accept_with(course, payload)

    async def send_many(
        self, payloads: Iterable[Payload[Any]], *, deadline: float | None = None
    ) -> list[CollectorEvent]:
        """Accept all payloads, in their order, and return their events; waits as `send()` does.

        Cancelled, or refused half-way, the payloads before that have been accepted. The `deadline` is one for all of
        them, in seconds from now.
        """
        dispatcher = self._dispatcher
        end = None if deadline is None else _end_of(deadline)
        if self._recording is not None:
            return await self._recording.send_many(payloads, end)
        events: list[CollectorEvent] = []
        accept, add = dispatcher.accept, events.append
        for payload in payloads:
            if self._gate.crowded:
                await self._gate.wait()
            add(accept(payload) if end is None else self._dispatcher.accept_with(Course(end), payload))
        return events

    async def resend(self, letter: "DeadLetter") -> CollectorEvent:
        """Accept the payload of a dead letter again, for its collector; see `DeadLetters.replay()`."""
        course = Course(only=(letter.collector,) if letter.collector else ())
        return await self._send(letter.payload, course)

    async def _send(self, payload: Payload[Any], course: Course | None) -> CollectorEvent:
        if self._recording is not None:
            return await self._recording.send(payload, course)
        if self._gate.crowded:
            await self._dispatcher.gate.wait()
        return self._dispatcher.accept_with(course, payload)

    async def as_completed(self, events: Iterable[CollectorEvent]) -> AsyncIterator[CollectorEvent]:
        """Yield these events as they finish, those already done first.

        Leaving the loop early, or cancelling it, touches none of the events.
        """
        stream = CompletionStream()
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
        await self._dispatcher.totals.join()

    def __repr__(self) -> str:
        figures = self._dispatcher.figures
        return f"<EventPublisher qsize={figures.qsize} unfinished={figures.unfinished}>"


def _end_of(deadline: float) -> float:
    """Return a deadline in seconds from now as a reading of the clock."""
    given: Any = deadline
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not given > 0:
        raise ConfigError(f"deadline takes a number of seconds above 0, not {deadline!r}")
    return clock.now() + deadline
