"""The task of one event's handler."""

import asyncio
import sys
from typing import TYPE_CHECKING, Any, Final, Protocol

from event_collector.handlers.running_event import RunningEvent, register_finder
from event_collector.values.errors import EventCancelled

if TYPE_CHECKING:
    from event_collector.events.event import CollectorEvent

IS_EAGER: Final = sys.version_info >= (3, 12)
"""Whether a task takes its first step when it is made. On Python 3.11 it does a turn of the loop later."""

NAME: Final = "event handler"


class TaskTier(Protocol):
    """The tier that makes a task."""

    def running_event(self, event: "CollectorEvent", /) -> RunningEvent:
        """Return what log lines tell of an event."""


class HandlerTask(asyncio.Task[None]):
    """A task of its own for each event that a coroutine handles, and the place of an event that waits in its handler.

    Made directly, not by `loop.create_task()`: a task factory of the application must not decide when it starts. A
    constructor would cost each event a call: `see_through()` comes after the first step, for those that wait.
    """

    __slots__ = ("_error", "event", "tier")

    event: "CollectorEvent"
    tier: TaskTier

    def see_through(self, event: "CollectorEvent", tier: TaskTier) -> None:
        """Own an event whose handler waits for something."""
        self.event, self.tier = event, tier
        event.move_to(self)
        if event.is_cancelled:  # in its first step
            self._cancel_handler()

    @property
    def error(self) -> Exception | None:
        """The error of the event if the handler is cancelled; None if the queue has not asked for that."""
        return getattr(self, "_error", None)

    def cancel_event(self, event: "CollectorEvent") -> bool:
        """Cancel the handler; the event ends with EventCancelled unless the handler answers first."""
        if event.note_cancelled():
            self._cancel_handler()
        return True

    def cancel_with(self, error: Exception) -> None:
        """Cancel the handler; the event ends with `error` unless the handler answers first."""
        self._error = error
        self.cancel()

    def note_waiter(self) -> None:
        """Do nothing: the event has begun."""

    def _cancel_handler(self) -> None:
        self.cancel_with(EventCancelled("the event was cancelled in its handler"))


def _find_running_event() -> RunningEvent | None:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        return None
    if not isinstance(task, HandlerTask):
        return None
    if hasattr(task, "event"):
        return task.tier.running_event(task.event)
    coroutine: Any = task.get_coro()  # in its first step the task does not know the event yet; its coroutine does
    known = coroutine.cr_frame.f_locals
    event: RunningEvent = known["self"].running_event(known["event"])
    return event


register_finder(_find_running_event)
