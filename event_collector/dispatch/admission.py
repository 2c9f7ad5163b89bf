"""Admission: new events that end before they are queued, and events that make room for them."""

from typing import TYPE_CHECKING

from event_collector.dispatch.ending import Ending
from event_collector.dispatch.retries import Retries
from event_collector.dispatch.totals import Totals
from event_collector.events.backlog import Backlogs
from event_collector.events.gate import DROP_OLDEST, Gate
from event_collector.values.errors import DeadlineExceeded, EventDropped
from event_collector.values.results import Error, ResultList

if TYPE_CHECKING:
    from event_collector.events.event import CollectorEvent


class Admission:
    """Turns away events whose deadline has passed, and drops one where more wait than may.

    Args:
        gate: knows how many events may wait.
        backlogs: have the events that may be dropped.
        retries: watch deadlines.
        totals: count what is dropped.
        ending: ends what is turned away.
    """

    __slots__ = ("_backlogs", "_ending", "_gate", "_retries", "_totals")

    def __init__(self, gate: Gate, backlogs: Backlogs, retries: Retries, totals: Totals, ending: Ending) -> None:
        self._gate, self._backlogs, self._retries = gate, backlogs, retries
        self._totals, self._ending = totals, ending

    def turns_away(self, event: "CollectorEvent", *, may_drop: bool = True) -> bool:
        """Watch the deadline of a new event, and make room for it; return whether it has ended instead."""
        return self._is_late(event) or (may_drop and self._gate.drops and self._is_dropped(event))

    def _is_late(self, event: "CollectorEvent") -> bool:
        deadline = None if event.course is None else event.course.deadline
        if deadline is None:
            return False
        if deadline > event.created:
            self._retries.watch(event, deadline)
            self._ending.note_deadline()
            return False
        self._turn_away(event, DeadlineExceeded("the event was not begun before the deadline"))
        return True

    def _is_dropped(self, newest: "CollectorEvent") -> bool:
        """Drop one event if more wait than may; return whether it was the new one.

        Before the new one begins: where events between two attempts fill the queue, it has to go, or a handler that
        keeps failing would fill the memory.
        """
        gate = self._gate
        if not gate.is_overdrawn:
            return False
        self._totals.drop()
        bound = f"max_queue_size={gate.places}, overflow={gate.overflow!r}"
        error = EventDropped(f"the queue was full, and this event made room ({bound})")
        oldest = self._backlogs.least_urgent() if gate.overflow == DROP_OLDEST else None
        if oldest is not None and (oldest.priority, -oldest.id) > (newest.priority, -newest.id):
            self._ending.end_waiting(oldest, error)
            return False
        self._turn_away(newest, error)
        return True

    def _turn_away(self, event: "CollectorEvent", error: Exception) -> None:
        self._gate.release()
        self._ending.conclude(event, ResultList((Error(error),)))
