"""The end of an attempt, and the end of an event.

The bookkeeping of an end cannot be left half done: it touches no object of the application, and calls nothing that can
raise. What may raise comes before it (the decision on another attempt) or after it (waiters, the record), guarded.

`ended()` and `ended_many()` are on the way of every event: lines that repeat a method of an owner name it.
"""

from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from event_collector.dispatch.permits import Permits
from event_collector.dispatch.retries import AfterAttempt, Retries
from event_collector.dispatch.totals import Totals
from event_collector.events.backlog import Backlog, Backlogs
from event_collector.events.gate import Gate
from event_collector.tiers.coroutines.coroutine_tier import CoroutineTier
from event_collector.tiers.coroutines.running_handler import RunningHandler
from event_collector.values.clock import clock
from event_collector.values.errors import DeadlineExceeded, EventCancelled
from event_collector.values.guarded import guarded, reraise
from event_collector.values.refusals import QueueShutDown, fresh_copy
from event_collector.values.results import Result, ResultList, new_list, single

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from event_collector.events.event import CollectorEvent
    from event_collector.events.failures import FailureWatch
    from event_collector.handlers.delivery import DeliveryPlan


def _nothing(_event: "CollectorEvent") -> None:
    """Keep no record."""


class Ending:
    """Ends attempts and events, and gives back what they held.

    Args:
        totals: counts and times.
        permits: gets back the permits of events that leave a handler.
        gate: gets back the places of events that leave a backlog.

    Attributes:
        is_plain: whether an event that leaves its handler is finished, and no more than that.
    """

    __slots__ = (
        "_backlogs",
        "_failures",
        "_gate",
        "_on_failed_value",
        "_on_finished",
        "_permits",
        "_plan",
        "_retries",
        "_totals",
        "is_plain",
    )

    _backlogs: Backlogs
    _plan: "DeliveryPlan"
    _retries: Retries

    def __init__(self, totals: Totals, permits: Permits, gate: Gate) -> None:
        self._totals, self._permits, self._gate = totals, permits, gate
        self._on_finished: Callable[[CollectorEvent], None] = _nothing
        self._failures: FailureWatch | None = None
        self._on_failed_value: Callable[[int, Result[Any]], None] | None = None
        self.is_plain = False

    def connect(self, backlogs: Backlogs, retries: Retries) -> None:
        """Set where events wait."""
        self._backlogs, self._retries = backlogs, retries

    def tell_of_finished(self, on_finished: "Callable[[CollectorEvent], None]") -> None:
        """Have `on_finished` called with each event that ends on record."""
        self._on_finished = on_finished

    def watch_failures(self, failures: "FailureWatch") -> None:
        """Have `failures` watch the events that fail."""
        self._failures = failures

    def follow(self, plan: "DeliveryPlan") -> None:
        """Count errors for the collectors of this plan, and find out what an end takes."""
        self._plan = plan
        self.is_plain = not self._retries.is_needed and not self._totals.has_waits_by_collector

    def note_deadline(self) -> None:
        """Note that an event has a deadline, which its end has to be told."""
        self.is_plain = False

    # The end of an attempt

    def ended(self, event: "CollectorEvent", results: ResultList) -> None:
        """Give an event whose handlers have ended its results, or another attempt."""
        if not self.is_plain:
            self._end_attempt(event, results)
            return
        now, totals = clock.now(), self._totals
        self._permits.busy -= 1  # Permits.give_back()
        # Totals.note_attempt(), from here on
        event.finished = now  # CollectorEvent.end()
        totals.service_total += (service := now - event.started)  # Totals.note_attempt()
        totals.service_times.append(service)
        totals.wait_times.append(now - event.created)
        totals.finished += 1  # Totals.finish(), from here on
        event.place = None  # CollectorEvent.move_to()
        if event._waiters is None and event._results is None:
            event._results = results  # CollectorEvent.set_result()
        else:
            event.set_result(results)
        if totals.joiners:
            totals.wake_joiners()

    def ended_many(self, ended: "list[tuple[CollectorEvent, Result[Any], float]]") -> None:
        """Do what `ended()` does for events of workers, which answer in batches; each was so long in its handler."""
        now = clock.now()
        if not self.is_plain:
            for event, result, seconds in ended:
                event.begin(now - seconds)
                self._end_attempt(event, self._only(event, result))
            return
        totals, note_wait = self._totals, self._totals.wait_times.append
        self._permits.give_back(len(ended))
        totals.finished += len(ended)  # Totals.finish()
        service_times = [seconds for _, _, seconds in ended]
        totals.service_total += sum(service_times)  # Totals.note_attempt(), from here on
        totals.service_times.extend(service_times)
        for event, result, seconds in ended:
            event.started, event.finished = now - seconds, now  # CollectorEvent.begin(), CollectorEvent.end()
            note_wait(now - event.created)
            event.place = None  # CollectorEvent.move_to()
            results = new_list(ResultList)
            results.append(result)
            if result.is_error:
                self.note_errors(event, results)
            if event._waiters is None and event._results is None:
                event._results = results  # CollectorEvent.set_result()
            else:
                event.set_result(results)
        if totals.joiners:
            totals.wake_joiners()

    def _only(self, event: "CollectorEvent", result: "Result[Any]") -> ResultList:
        results = single(result)
        if result.is_error:
            self.note_errors(event, results)
        return results

    def note_errors(self, event: "CollectorEvent", results: ResultList) -> bool:
        """Count the errors for their collectors, and watch the event if there are any; return whether there are."""
        is_failed = self._plan.count_errors(results)
        if is_failed:
            self.note_failed(event, results)
        return is_failed

    def note_failed(self, event: "CollectorEvent", results: ResultList) -> None:
        """Watch an event that is about to end with an Error, until somebody looks at it."""
        if self._failures is not None:
            guarded("the watch of a failed event", self._failures.note, event, results, self._plan.collectors)

    def watch_values(self, on_failed: "Callable[[int, Result[Any]], None] | None") -> None:
        """Have `on_failed` called with the id and the Error of each value of a stream that fails; None: nothing."""
        self._on_failed_value = on_failed

    def note_failed_value(self, event_id: int, result: "Result[Any]") -> None:
        """Tell of a value of a stream that ends with an Error. It is no event."""
        if self._on_failed_value is not None:
            guarded("the record of a failed value", self._on_failed_value, event_id, result)

    def _end_attempt(self, event: "CollectorEvent", results: ResultList) -> None:
        """Decide what follows, while the event still counts as in its handler; then do it."""
        results = self._retries.completed(event, results)
        follow = AfterAttempt(results)
        if self._retries.is_needed:
            try:
                follow = self._retries.after(event, results)
            except BaseException as exc:  # an odd exception in a result, a record that cannot be written
                guarded("the decision on another attempt", reraise, exc)
        in_its_task, now = isinstance(event.place, (RunningHandler, CoroutineTier)), clock.now()
        if self._totals.has_waits_by_collector:
            guarded("the times by collector", self._totals.note_waits, follow.results, now - event.created)
        self._totals.note_attempt(event, now)
        self._permits.give_back()
        if follow.due is None:
            self.conclude(event, follow.results, on_record=follow.on_record)
            return
        if event.variables is None and in_its_task:
            event.keep_variables(copy_context())  # it began within send(); this runs in its own context
        event.hold()
        self._gate.take()
        self._retries.hold(event, follow.due)

    # The end of an event

    def conclude(self, event: "CollectorEvent", results: ResultList, *, on_record: bool = True) -> None:
        """End an event that no place counts any more. Not `on_record`: the next start runs it again."""
        course = event.course
        if course is not None:
            if course.original is not None:
                event.replace_payload(course.original)
            self._retries.letters.finished(event.id)
        event.keep_sent(None)
        self._totals.finish(event, results)
        if on_record:
            guarded("the record of an event", self._on_finished, event)

    def is_waiting(self, event: "CollectorEvent") -> bool:
        """Return whether the event is neither done nor in a handler."""
        place = event.place
        return place is self._retries or place in self._backlogs.every

    def end_waiting(self, event: "CollectorEvent", error: Exception, on_record: bool = True) -> None:
        """End an event that waits, in a backlog or for another attempt."""
        results = self._retries.unanswered(event, error)
        if isinstance(error, DeadlineExceeded):
            self.note_failed(event, results)
        place: Any = event.place
        place.withdraw(event)
        self._retries.forget(event)
        self._gate.release()
        self.conclude(event, results, on_record=on_record)

    def end_all_waiting(self, error: QueueShutDown, backlogs: "Iterable[Backlog] | None" = None) -> None:
        """End the events that wait in backlogs, each with a new error. The next start runs them again."""
        for backlog in self._backlogs if backlogs is None else backlogs:
            while backlog:
                self.end_waiting(backlog.peek(), fresh_copy(error), on_record=False)

    def cancel_waiting(self, event: "CollectorEvent") -> None:
        """End an event that waits, because it is cancelled."""
        self.end_waiting(event, EventCancelled("the event was cancelled before it was in a handler"))
