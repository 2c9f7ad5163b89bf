"""Events that wait: how one comes back for another attempt, makes room for others, or ends before a handler has it."""

from contextvars import copy_context
from typing import TYPE_CHECKING

from event_collector.dispatch.settlement import Settlement
from event_collector.events.capacity import DROP_OLDEST, WAIT
from event_collector.events.course import Course
from event_collector.values.errors import DeadlineExceeded, EventCancelled, EventDropped
from event_collector.values.results import Error, ResultList

if TYPE_CHECKING:
    from event_collector.events.event import CollectorEvent

__all__ = ["WaitingEvents"]


class WaitingEvents(Settlement):
    """The part of a dispatcher that few events need: none that goes from the queue through its handler to its end.

    Where an event waits is known by these: it is done; it has `started` and a consumer has it; it is in the schedule;
    its `place` is the line for workers, or a job; or else it stands in the other line.
    """

    __slots__ = ()

    if TYPE_CHECKING:

        def schedule_pump(self) -> None: ...  # noqa: D102
        def _notice_activity(self) -> None: ...

    def hold(self, event: "CollectorEvent") -> None:
        """The event has left its handlers and waits for another attempt. It has a place in a bounded queue again."""
        event.started = event.finished = 0.0
        if event.variables is None and event.place is None:
            # Its handler began within send(), which kept no variables; this runs in those of the handler.
            variables = copy_context()
            event.variables = variables if len(variables) else None
        event.place = None
        if self._capacity is not None:
            self._capacity.take()

    def requeue(self, event: "CollectorEvent", *, remote: bool) -> None:
        """The event's next attempt is due: it waits for a handler again, behind those that wait already."""
        if self.idle:
            self._notice_activity()
        if remote and self._tier is not None:
            self._push_remote(event)
        else:
            self._backlog.push(event)
        self.schedule_pump()

    def cancel(self, event: "CollectorEvent") -> bool:
        """Have the event end with EventCancelled; see CollectorEvent.cancel()."""
        if self.is_waiting(event):
            self.end_waiting(event, EventCancelled("the event was cancelled before it was in a handler"))
            return True
        course = event.course = event.course or Course()
        if course.cancelled:
            return True
        if event.started:
            course.cancelled = True
            self.consumers.holder(event).cancel_event(
                EventCancelled("the event was cancelled in its handler")
            )
            return True
        course.cancelled = True  # before it is: one that has not started ends within the call
        return bool(self._tier is not None and self._tier.cancel(event))

    def is_waiting(self, event: "CollectorEvent") -> bool:
        """Return whether the event is neither done nor in a handler."""
        in_line = event.place is None or event.place is self._remote_backlog
        return in_line and not event.started and not event.is_done()

    def end_waiting(self, event: "CollectorEvent", error: Exception, *, on_record: bool = True) -> None:
        """End an event that waits."""
        if not self.supervisor.is_scheduled(event):
            (self._backlog if event.place is None else self._remote_backlog).withdraw(event)
        results = self.supervisor.unanswered(event, error)
        self.supervisor.forget(event)
        self._release_room()
        self.conclude(event, results, on_record=on_record)

    def _push_remote(self, event: "CollectorEvent") -> None:
        event.place = self._remote_backlog
        self._remote_backlog.push(event)

    def _is_dropped(self, newest: "CollectorEvent") -> bool:
        """Drop one event if more wait than may, and senders do not wait instead; return whether it was the new one.

        Before the new one is begun: where nothing but events between two attempts fill the queue, it has to go, or a
        handler that keeps failing would fill the memory.
        """
        if self._overflow == WAIT or self._capacity is None or not self._capacity.is_overdrawn:
            return False
        self.dropped += 1
        bound = f"max_queue_size={self._capacity.places}, overflow={self._overflow!r}"
        error = EventDropped(f"the queue was full, and this event made room ({bound})")
        victim = newest
        if self._overflow == DROP_OLDEST:
            waiting = [line.last() for line in (self._backlog, self._remote_backlog) if line]
            victim = max(*waiting, newest, newest, key=lambda event: (event.priority, -event.id))
        if victim is not newest:
            self.end_waiting(victim, error)
            return False
        self._release_room()
        self.conclude(newest, ResultList((Error(error),)))
        return True

    def _is_late(self, event: "CollectorEvent", course: Course) -> bool:
        """Watch an event's deadline; end it at once if that has passed."""
        if course.deadline is None:
            return False
        if course.deadline > event.created:
            self.supervisor.watch(event, course.deadline)
            self._supervised = self.supervisor
            return False
        self._release_room()
        self.conclude(
            event, ResultList((Error(DeadlineExceeded("the event was not begun before the deadline")),))
        )
        return True
