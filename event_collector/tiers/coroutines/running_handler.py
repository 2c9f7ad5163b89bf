"""A coroutine handler that waits for something, as the place of its event."""

from typing import TYPE_CHECKING

from event_collector.values.errors import EventCancelled

if TYPE_CHECKING:
    import asyncio

    from event_collector.events.event import CollectorEvent


class RunningHandler:
    """The task of an event's handler that has not ended in its first step.

    Attributes:
        task: a task of its own for each event.
        event: moves here.
        error: what the event ends with if the handler is cancelled; None if the queue has not asked for that.
    """

    __slots__ = ("error", "event", "task")

    def __init__(self, task: "asyncio.Task[None]", event: "CollectorEvent") -> None:
        self.task, self.event = task, event
        self.error: Exception | None = None
        event.move_to(self)
        if event.is_cancelled:  # in its first step
            self._cancel_handler()

    def cancel_event(self, event: "CollectorEvent", *, running: bool) -> bool:
        """Cancel the handler; the event ends with EventCancelled unless the handler answers first."""
        if running and event.note_cancelled():
            self._cancel_handler()
        return running

    def cancel_with(self, error: Exception) -> None:
        """Cancel the handler; the event ends with `error` unless the handler answers first."""
        self.error = error
        self.task.cancel()

    def note_waiter(self) -> None:
        """Do nothing: the event has begun."""

    def _cancel_handler(self) -> None:
        self.cancel_with(EventCancelled("the event was cancelled in its handler"))

    def __repr__(self) -> str:
        return f"<RunningHandler event={self.event.id} error={self.error!r}>"
