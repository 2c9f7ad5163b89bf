"""The supervisor: what becomes of an event after an attempt that failed, and of one that may not wait for ever.

        an attempt ends --> finished
              |-----------> scheduled --> due --> the backlog, and another attempt
              '-----------> finished, with a dead letter

Only queues whose collectors have `retry=`, events with a deadline, and queues with a recorder come here.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from copy import copy
from math import inf
from random import random
from typing import TYPE_CHECKING, Any, Final, Protocol

from event_collector.events.course import Course
from event_collector.events.dead_letters import DeadLetter, DeadLetters
from event_collector.events.event import CollectorEvent
from event_collector.events.schedule import Schedule
from event_collector.handlers.attempt import Attempt, later
from event_collector.handlers.collector import PROCESS, Collector
from event_collector.handlers.retry import DEADLINE, Retry, decide
from event_collector.handlers.router import Router, SimpleRouter
from event_collector.remote.remote_exceptions import error_text
from event_collector.values.clock import clock
from event_collector.values.errors import ConfigError, DeadlineExceeded
from event_collector.values.payload import Payload
from event_collector.values.refusals import QueueShutDown, another
from event_collector.values.results import Error, Result, ResultList
from event_collector_workers.errors import WorkerCrashed

if TYPE_CHECKING:
    from event_collector.events.recorder import Recorder

__all__ = ["Supervisor"]

HASTE: Final = 0.1
"""Seconds that an attempt waits at most while the queue drains: enough not to spin, little enough to get through."""


class Events(Protocol):
    """The owner of the events, as the supervisor sees it."""

    def conclude(self, event: CollectorEvent, results: ResultList, *, on_record: bool = True) -> None:
        """The event has left its handlers, or the schedule, for good."""

    def hold(self, event: CollectorEvent) -> None:
        """The event has left its handlers, and waits for another attempt."""

    def requeue(self, event: CollectorEvent, *, remote: bool) -> None:
        """The event waits for a handler again; `remote`: for a worker process."""

    def is_waiting(self, event: CollectorEvent) -> bool:
        """Return whether the event is in no handler."""

    def end_waiting(self, event: CollectorEvent, error: Exception, *, on_record: bool = True) -> None:
        """End an event that is in no handler."""


class Supervisor:
    """Decides after each attempt, keeps what is scheduled, and watches deadlines.

    Args:
        events: who owns the events.
        letters: where those go that have failed for good.
        now: tells the time, in seconds.
        chance: returns a random number from 0 to 1, for the jitter.

    """

    def __init__(
        self,
        events: Events,
        letters: DeadLetters,
        *,
        now: Callable[[], float] = clock.read,
        chance: Callable[[], float] = random,
    ) -> None:
        self._events, self.letters = events, letters
        self._now, self._chance = now, chance
        self._collectors: Mapping[str, Collector] = {}
        self._policies: dict[str, Retry] = {}
        self._router: SimpleRouter | None = None
        self._retries: Schedule[CollectorEvent] = Schedule(self._begin_again, now)
        self._deadlines: Schedule[CollectorEvent] = Schedule(self._expire, now)
        self._draining = False
        self.giving_up = False
        """Whether the time for the end is up: nothing more may begin."""
        self.recorder: Recorder | None = None
        self.returned = 0
        """How many attempts were followed by another one."""

    # Start and stop

    def open(self, loop: asyncio.AbstractEventLoop, collectors: Mapping[str, Collector], router: Any) -> None:
        """Begin to watch the events of these collectors."""
        self._collectors = collectors
        self._policies = {key: c.retry for key, c in collectors.items() if c.retry is not None}
        self._router = router if isinstance(router, SimpleRouter) else None
        self._draining = self.giving_up = False
        self._retries.open(loop)
        self._deadlines.open(loop)

    @property
    def is_needed(self) -> bool:
        """Whether each event that leaves its handlers has to be shown to it."""
        return bool(self._policies or self._deadlines or self.recorder is not None)

    def drain(self) -> None:
        """Let nothing wait for long any more: what is scheduled gets its attempt at once.

        With a recorder it ends here instead, and goes on after the next start, with its attempts and its waits.
        """
        self._draining = True
        if self.recorder is None:
            for event in self._retries.clear():
                self._begin_again(event)
        for event in list(self._retries):
            self._events.end_waiting(event, _left(), on_record=False)

    def give_up(self, error: QueueShutDown) -> None:
        """End what is scheduled, and have nothing tried again."""
        self._draining = self.giving_up = True
        for event in list(self._retries):
            self._events.end_waiting(event, another(error), on_record=False)

    def close(self) -> None:
        """End the timers."""
        self._retries.close()
        self._deadlines.close()

    # Deadlines

    def watch(self, event: CollectorEvent, deadline: float) -> None:
        """End the event at its deadline if it waits then."""
        self._deadlines.add(event, deadline)

    def _expire(self, event: CollectorEvent) -> None:
        if not self._events.is_waiting(event):
            return
        course, what = event.course, "event"
        if course is not None and course.due:
            what = "next attempt of this event"
            for key in course.due:
                result = _error_of(course.results, key)
                self._bury(event, key, course.attempts[key], DEADLINE, result)
        self._events.end_waiting(event, DeadlineExceeded(f"the {what} was not begun before the deadline"))

    # The end of an attempt

    def settle(self, event: CollectorEvent, results: ResultList) -> None:
        """An event has left its handlers: conclude it, or schedule another attempt."""
        course = event.course
        if course is not None and course.results is not None:
            results = _merged(course.results, results, course.only)
        failed = [result for result in results if isinstance(result, Error) and result.key in self._policies]
        if failed and not self.giving_up and not (course is not None and course.cancelled):
            if course is None:
                course = event.course = Course()
            self._judge(event, course, results, failed)
            if course.due:
                self._schedule(event, course)
                return
        self._deadlines.discard(event)
        # Handlers that the end has cut short could be tried again: that is left to the next start.
        unfinished = (self.giving_up and failed) or _was_shut_down(results)
        self._events.conclude(event, results, on_record=not unfinished)

    def _judge(
        self, event: CollectorEvent, course: Course, results: ResultList, failed: list[Error[Any]]
    ) -> None:
        """Note the attempts that have failed, and decide which collectors get another."""
        now, tried = self._now(), course.only if course.results is not None else None
        left = inf if course.deadline is None else course.deadline - now
        course.results = results
        for key in course.only:
            course.due.pop(key, None)
        for result in failed:
            key = str(result.key)
            if (tried is not None and key not in tried) or isinstance(result.err, QueueShutDown):
                continue
            before = course.attempts.get(key, Attempt())
            crashes = before.crashes + isinstance(result.err, WorkerCrashed)
            attempt = course.attempts[key] = Attempt(before.made + 1, error_text(result.err), crashes)
            delay, reason = decide(self._policies[key], attempt, result.err, chance=self._chance(), left=left)
            told = _with_attempts(result, attempt.made, before.error)
            results[results.index(result)] = told
            if reason is None:
                in_haste = self._draining and self.recorder is None
                course.due[key] = now + (min(delay, HASTE) if in_haste else delay)
            else:
                self._bury(event, key, attempt, reason, told)

    def _schedule(self, event: CollectorEvent, course: Course) -> None:
        due = min(course.due.values())
        if self.recorder is not None:
            attempts = {key: course.attempts[key] for key in course.due}
            self.recorder.retrying(event, attempts, max(0.0, due - self._now()))
            if self._draining:
                self._deadlines.discard(event)
                self._events.conclude(event, self.unanswered(event, _left()), on_record=False)
                return
        self.returned += 1
        self._events.hold(event)
        self._retries.add(event, due)

    def _bury(
        self, event: CollectorEvent, key: str, attempt: Attempt, reason: str, result: Error[Any] | None
    ) -> None:
        course = event.course
        payload = event.payload if course is None or course.original is None else course.original
        trace = (result.details or {}).get("trace", "") if result is not None else ""
        self.letters.add(
            DeadLetter(event.id, key, payload, attempt.made, reason, attempt.error, str(trace), time.time())
        )

    # Another attempt

    def resume(self, event: CollectorEvent, course: Course, delay: float) -> None:
        """Schedule the next attempt of an event that waited for it when an earlier program ended."""
        due = self._now() + delay
        course.due = dict.fromkeys(course.attempts, due)
        self._events.hold(event)
        if course.deadline is not None:
            self.watch(event, course.deadline)
        self._retries.add(event, due)

    def _begin_again(self, event: CollectorEvent) -> None:
        course = event.course
        if course is None:
            raise RuntimeError(f"event {event.id} is scheduled without an attempt")
        now = self._now()
        course.only = tuple(key for key, due in course.due.items() if due <= now or self._draining)
        self.prepare(event, course)
        remote = any(self._collectors[key].place == PROCESS for key in course.only)
        self._events.requeue(event, remote=remote)

    def prepare(self, event: CollectorEvent, course: Course) -> None:
        """Have an event that goes to one collector and no other carry the number of its attempt."""
        if len(course.only) == 1 and (course.results is None or len(course.results) == 1):
            if course.original is None:
                course.original = event.payload
            event.payload = later(course.original, course.attempts[course.only[0]])

    async def attempt(self, payload: Payload[Any], course: Course) -> ResultList:
        """Process an event in those collectors only that its course names, each with the number of its attempt."""
        missing = set(course.only) - set(self._collectors)
        if missing or self._router is None:
            raise ConfigError(
                f"the event goes to collectors that this queue no longer has: {sorted(missing)}"
            )
        payload = course.original or payload
        deliveries = [
            (collector, later(payload, course.attempts[key]) if key in course.attempts else payload)
            for key, collector in self._collectors.items()
            if key in course.only
        ]
        return await self._router.process_each(deliveries)

    # What is scheduled

    @property
    def scheduled(self) -> int:
        """How many events wait for their next attempt."""
        return len(self._retries)

    def is_scheduled(self, event: CollectorEvent) -> bool:
        """Return whether this one does."""
        return event in self._retries

    def forget(self, event: CollectorEvent) -> None:
        """The event ends while it waits: it is neither scheduled nor watched any more."""
        self._retries.discard(event)
        self._deadlines.discard(event)

    def unanswered(self, event: CollectorEvent, error: Exception) -> ResultList:
        """Return the results of an event that ends while it waits: `error` in place of those that are missing."""
        course = event.course
        if course is None or course.results is None:
            return ResultList((Error(error),))
        return ResultList(
            Error(error, key=result.key) if result.key in course.due else result for result in course.results
        )


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
    """Return a result whose details tell how often its handler was called, and how the time before the last failed."""
    told = copy(result)  # a handler may return one and the same Error for many events
    told.details = {**(result.details or {}), "attempt": made, "last_error": last_error or None}
    return told
