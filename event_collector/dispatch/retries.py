"""What follows an attempt: the end of the event, or another attempt later; and events that may not wait for ever.

        an attempt ends --> after() --> the end of the event
                              |---------> scheduled --> due --> a backlog, and another attempt
                              '---------> the end of the event, with a dead letter

Only queues whose collectors have `retry=`, events with a deadline, and queues with a recorder come here.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from copy import copy
from math import inf
from random import random
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from event_collector.events.course import Course
from event_collector.events.dead_letters import DeadLetter, DeadLetters
from event_collector.events.event import CollectorEvent
from event_collector.events.schedule import Schedule
from event_collector.handlers.attempt import Attempt, later
from event_collector.handlers.collector import Collector
from event_collector.handlers.delivery import line_of
from event_collector.handlers.retry import DEADLINE, NOT_RETRIED, Retry, Verdict, decide
from event_collector.handlers.router import Router, SimpleRouter
from event_collector.values.clock import clock
from event_collector.values.errors import ConfigError, DeadlineExceeded, EventCancelled
from event_collector.values.refusals import QueueShutDown, fresh_copy
from event_collector.values.results import Error, Result, ResultList
from event_collector_workers.error_texts import error_text
from event_collector_workers.pool_errors import WorkerCrashed

if TYPE_CHECKING:
    from event_collector.events.recorder import Recorder

HASTE: Final = 0.1
"""Seconds that an attempt waits at most while the queue drains: enough not to spin, little enough to get through."""


class AfterAttempt(NamedTuple):
    """What follows an attempt. The event ends with `results`, or it is tried again when `due`."""

    results: ResultList
    due: float | None = None
    on_record: bool = True
    """Whether a record notes the end; if not, the event runs again at the next start."""


class WaitingEnding(Protocol):
    """What ends events that wait."""

    def is_waiting(self, event: CollectorEvent, /) -> bool:
        """Return whether the event is neither done nor in a handler."""

    def end_waiting(self, event: CollectorEvent, error: Exception, on_record: bool = True) -> None:
        """End an event that waits; `on_record`: a record notes it."""


class Retries:
    """The place of events that wait for another attempt; decides after each attempt, and watches deadlines.

    Args:
        letters: where events go that have failed for good.
        on_due: called with an event whose next attempt is due, and the worker group that it needs, see `line_of()`.
        ending: ends events that wait.
        now: tells the time, in seconds.
        chance: returns a random number from 0 to 1, for the jitter.

    Attributes:
        letters: as given.
        is_giving_up: whether the time for the end is up. Nothing more may begin.
        returned: attempts that were followed by another one.
    """

    def __init__(
        self,
        letters: DeadLetters,
        on_due: Callable[[CollectorEvent, str | None], None],
        ending: WaitingEnding,
        *,
        now: Callable[[], float] = clock.read,
        chance: Callable[[], float] = random,
    ) -> None:
        self.letters = letters
        self._on_due, self._ending = on_due, ending
        self._now, self._chance = now, chance
        self._collectors: Mapping[str, Collector] = {}
        self._policies: dict[str, Retry] = {}
        self._router: SimpleRouter | None = None
        self._schedule: Schedule[CollectorEvent] = Schedule(self._begin_again, now)
        self._deadlines: Schedule[CollectorEvent] = Schedule(self._expire, now)
        self._recorder: Recorder | None = None
        self._is_draining = False
        self.is_giving_up = False
        self.returned = 0

    # Start and stop

    def open(self, loop: asyncio.AbstractEventLoop, collectors: Mapping[str, Collector], router: Any) -> None:
        """Begin to watch the events of these collectors."""
        self._collectors = collectors
        self._policies = {key: c.retry for key, c in collectors.items() if c.retry is not None}
        self._router = router if isinstance(router, SimpleRouter) else None
        self._is_draining = self.is_giving_up = False
        self._schedule.open(loop)
        self._deadlines.open(loop)

    def attach_recorder(self, recorder: "Recorder") -> None:
        """Note attempts and dead letters on record."""
        self._recorder = recorder
        self.letters.attach(recorder.dead_letter_added, recorder.dead_letter_removed)

    @property
    def is_needed(self) -> bool:
        """Whether `after()` has anything to decide."""
        return bool(self._policies or self._deadlines or self._recorder is not None)

    def drain(self) -> None:
        """Let nothing wait for long any more: what is scheduled gets its attempt at once.

        With a recorder it ends here instead, and goes on after the next start, with its attempts and its waits.
        """
        self._is_draining = True
        if self._recorder is None:
            for event in self._schedule.clear():
                self._begin_again(event)
        for event in list(self._schedule):
            self._ending.end_waiting(event, _left(), False)

    def give_up(self, error: QueueShutDown) -> None:
        """End what is scheduled, and have nothing tried again."""
        self._is_draining = self.is_giving_up = True
        for event in list(self._schedule):
            self._ending.end_waiting(event, fresh_copy(error), False)

    def close(self) -> None:
        """End the timers."""
        self._schedule.close()
        self._deadlines.close()

    # The place

    def hold(self, event: CollectorEvent, due: float) -> None:
        """Keep an event until its next attempt is due."""
        self.returned += 1
        self._place(event, due)

    def resume(self, event: CollectorEvent, due: float) -> None:
        """Keep an event that waited when an earlier program ended."""
        self._place(event, due)
        if event.course is not None and event.course.deadline is not None:
            self.watch(event, event.course.deadline)

    def _place(self, event: CollectorEvent, due: float) -> None:
        event.move_to(self)
        self._schedule.add(event, due)

    def withdraw(self, event: CollectorEvent) -> None:
        """Remove an event that waits here."""
        self._schedule.discard(event)

    def cancel_event(self, event: CollectorEvent, *, running: bool) -> bool:  # none runs here
        """End an event that waits here."""
        self._ending.end_waiting(event, EventCancelled("the event was cancelled before it was in a handler"), True)
        return True

    def note_waiter(self) -> None:
        """Do nothing: the queue has started."""

    def events(self) -> list[CollectorEvent]:
        """Return the events that wait here."""
        return list(self._schedule)

    def __len__(self) -> int:
        return len(self._schedule)

    # Deadlines

    def watch(self, event: CollectorEvent, deadline: float) -> None:
        """End the event at its deadline if it waits then."""
        self._deadlines.add(event, deadline)

    def forget(self, event: CollectorEvent) -> None:
        """Watch an event's deadline no longer."""
        self._deadlines.discard(event)

    def _expire(self, event: CollectorEvent) -> None:
        if not self._ending.is_waiting(event):
            for collector in self._collectors.values():
                collector.expire(event.id)
            return
        course, what = event.course, "event"
        if course is not None and course.due:
            what = "next attempt of this event"
            for key in course.due:
                result = _error_of(course.results, key)
                self._bury(event, key, course.attempts[key], DEADLINE, result)
        self._ending.end_waiting(event, DeadlineExceeded(f"the {what} was not begun before the deadline"), True)

    # The end of an attempt

    def completed(self, event: CollectorEvent, results: ResultList) -> ResultList:
        """Return the results of all collectors of an event, of which an attempt had these."""
        course = event.course
        return results if course is None or course.results is None else _merged(course.results, results, course.only)

    def after(self, event: CollectorEvent, results: ResultList) -> AfterAttempt:
        """Decide what follows an attempt after which these are the results of all collectors."""
        course = event.course
        failed = [result for result in results if isinstance(result, Error) and result.key in self._policies]
        if failed and not self.is_giving_up and not (course is not None and course.cancelled):
            course = event.note_course()
            self._judge(event, course, results, failed)
            if course.due:
                return self._again(event, course)
        self._deadlines.discard(event)
        # Handlers that the end has cut short could be tried again: that is left to the next start.
        is_unfinished = (self.is_giving_up and failed) or _was_shut_down(results)
        return AfterAttempt(results, on_record=not is_unfinished)

    def _judge(self, event: CollectorEvent, course: Course, results: ResultList, failed: list[Error[Any]]) -> None:
        """Note the attempts that have failed, and decide which collectors get another."""
        now, tried = self._now(), course.only if course.results is not None else None
        left = inf if course.deadline is None else course.deadline - now
        course.take_results(results)
        for result in failed:
            key = str(result.key)
            if (tried is not None and key not in tried) or isinstance(result.err, QueueShutDown):
                continue
            before = course.attempts.get(key, Attempt())
            crashes = before.crashes + isinstance(result.err, WorkerCrashed)
            attempt = Attempt(before.made + 1, error_text(result.err), crashes)
            course.note_attempt(key, attempt)
            delay, reason = self._decide(key, attempt, result.err, left)
            if event.has_given_parts(key):  # again, its reader would get them twice
                reason = reason or NOT_RETRIED
            noted = _with_attempts(result, attempt.made, before.error)
            results[results.index(result)] = noted
            if reason is None:
                in_haste = self._is_draining and self._recorder is None
                course.schedule(key, now + (min(delay, HASTE) if in_haste else delay))
            else:
                self._bury(event, key, attempt, reason, noted)

    def _decide(self, key: str, attempt: Attempt, error: object, left: float) -> Verdict:
        try:
            return decide(self._policies[key], attempt, error, chance=self._chance(), left=left)
        except Exception:  # an error with attributes of other types than their names promise
            return Verdict(0.0, NOT_RETRIED)

    def _again(self, event: CollectorEvent, course: Course) -> AfterAttempt:
        due = min(course.due.values())
        results = course.results or ResultList()
        if self._recorder is not None:
            attempts = {key: course.attempts[key] for key in course.due}
            self._recorder.retrying(event, attempts, max(0.0, due - self._now()))
            if self._is_draining:
                self._deadlines.discard(event)
                return AfterAttempt(self.unanswered(event, _left()), on_record=False)
        return AfterAttempt(results, due)

    def _bury(self, event: CollectorEvent, key: str, attempt: Attempt, reason: str, result: Error[Any] | None) -> None:
        course = event.course
        payload = event.payload if course is None or course.original is None else course.original
        details = result.details if result is not None else None
        trace = details.get("trace", "") if isinstance(details, dict) else ""
        self.letters.add(
            DeadLetter(event.id, key, payload, attempt.made, reason, attempt.error, str(trace), time.time())
        )
        event.note_look()

    # Another attempt

    def _begin_again(self, event: CollectorEvent) -> None:
        course = event.note_course()
        course.choose_due(inf if self._is_draining else self._now())
        try:
            self.prepare(event, course)
        except Exception as exc:  # the payload cannot be copied
            self._ending.end_waiting(event, exc, True)
            return
        self._on_due(event, line_of(self._collectors[key] for key in course.only))

    def prepare(self, event: CollectorEvent, course: Course) -> None:
        """Have an event that goes to one collector and no other carry the number of its attempt."""
        if len(course.only) == 1 and (course.results is None or len(course.results) == 1):
            original = course.keep_original(event.payload)
            event.replace_payload(later(original, course.attempts[course.only[0]]))

    async def attempt(self, event: CollectorEvent, course: Course) -> ResultList:
        """Process an event in those collectors only that its course names, each with the number of its attempt."""
        missing = set(course.only) - set(self._collectors)
        if missing or self._router is None:
            raise ConfigError(f"the event goes to collectors that this queue no longer has: {sorted(missing)}")
        payload = course.original or event.payload
        if event.sent is not None:
            payload = payload._carrying(event.sent)
        deliveries = [
            (collector, later(payload, course.attempts[key]) if key in course.attempts else payload)
            for key, collector in self._collectors.items()
            if key in course.only
        ]
        return await self._router.process_each(deliveries)

    def unanswered(self, event: CollectorEvent, error: Exception) -> ResultList:
        """Return the results of an event that ends while it waits: `error` in place of those that are missing."""
        course = event.course
        if course is None or course.results is None:
            return ResultList((Error(error),))
        return ResultList(
            Error(error, key=result.key) if result.key in course.due else result for result in course.results
        )

    def __repr__(self) -> str:
        return f"<Retries {len(self)} scheduled, {len(self._deadlines)} deadlines, {self.returned} attempts repeated>"


def refuse_retries(router: Router, collectors: Mapping[str, Collector]) -> None:
    """Check that a collector that fails can be tried again alone.

    Raises:
        ConfigError: the router is one that runs the collectors itself: what it makes of their results is not known.
    """
    retried = next((key for key, collector in collectors.items() if collector.retry is not None), None)
    own = [name for name in _SIMPLE if getattr(type(router), name, None) is not getattr(SimpleRouter, name)]
    if retried is not None and own:
        raise ConfigError(
            f"collector {retried!r} has retry=, and the router {type(router).__qualname__} has a {own[0]}() of its "
            f"own: one collector cannot be tried again alone there. Override SimpleRouter.select() only, or retry "
            f"within the handler"
        )


_SIMPLE: Final = ("handle_event", "async_collector_process", "gather_results")


def _merged(before: ResultList, fresh: ResultList, tried: tuple[str, ...]) -> ResultList:
    """Return all results of an event after another attempt of some of its collectors, in their order."""
    by_key: dict[str | None, Result[Any]] = {result.key: result for result in fresh}
    lone = next((result for result in fresh if isinstance(result, Error) and result.key is None), None)
    merged = ResultList()
    for result in before:
        if result.key not in tried:
            merged.append(result)
        elif lone is not None:  # the error of the attempt as a whole
            merged.append(Error(lone.err, lone.details, key=result.key))
        else:
            merged.append(by_key.get(result.key, result))
    return merged


def _left() -> QueueShutDown:
    return QueueShutDown("the queue was shut down before the next attempt of this event, which is on record")


def _error_of(results: ResultList | None, key: str) -> Error[Any] | None:
    return next((r for r in results or () if isinstance(r, Error) and r.key == key), None)


def _was_shut_down(results: ResultList) -> bool:
    return any(isinstance(result, Error) and isinstance(result.err, QueueShutDown) for result in results)


def _with_attempts(result: Error[Any], made: int, last_error: str) -> Error[Any]:
    """Return a result whose details have the number of the attempt, and how the one before the last failed."""
    noted = copy(result)  # a handler may return one and the same Error for many events
    details = result.details if isinstance(result.details, dict) else {}
    noted.details = {**details, "attempt": made, "last_error": last_error or None}
    return noted
