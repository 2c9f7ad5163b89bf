"""The task of one event's handler."""

import asyncio
import sys
from collections.abc import Coroutine
from contextvars import Context as ContextVars
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

    loop: asyncio.AbstractEventLoop

    def running_event(self, event: "CollectorEvent") -> RunningEvent:
        """Return what log lines tell of an event."""


class HandlerTask(asyncio.Task[None]):
    """A task of its own for each event that a coroutine handles, and the place of that event.

    Made directly, not by `loop.create_task()`: a task factory of the application must not decide when it starts.

    Args:
        event: its event.
        coroutine: calls the handler.
        tier: the tier that makes it; its loop runs.
        variables: the context variables of the handler, a context of its own.

    """

    __slots__ = ("_error", "event", "tier")

    def __init__(
        self, event: "CollectorEvent", coroutine: Coroutine[Any, Any, None], tier: TaskTier, variables: ContextVars
    ) -> None:
        self.event, self.tier = event, tier
        event.place = self  # CollectorEvent.move_to()
        if sys.version_info >= (3, 12):
            super().__init__(coroutine, loop=tier.loop, name=NAME, context=variables, eager_start=True)
        else:
            super().__init__(coroutine, loop=tier.loop, name=NAME, context=variables)

    def cancel_event(self, event: "CollectorEvent") -> bool:
        """Cancel the handler; the event ends with EventCancelled unless the handler answers first."""
        if event.note_cancelled():
            self.cancel_with(EventCancelled("the event was cancelled in its handler"))
        return True

    def cancel_with(self, error: Exception) -> None:
        """Cancel the handler; the event ends with `error` unless the handler answers first."""
        self._error = error
        self.cancel()

    @property
    def error(self) -> Exception | None:
        """The error of the event if the handler is cancelled; None if the queue has not asked for that."""
        return getattr(self, "_error", None)

    def note_waiter(self) -> None:
        """Do nothing: the event has begun."""


def _find_running_event() -> RunningEvent | None:
    """Return the event that the current task handles; None if it handles none."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        return None
    return task.tier.running_event(task.event) if isinstance(task, HandlerTask) else None


register_finder(_find_running_event)
