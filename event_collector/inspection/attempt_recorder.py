"""The recorder of attempts: it is told when they end, on the event loop and in workers, and keeps a sample of them.

    CoroutineTier --> ended() ---------.--> spans, rows, slowest, times
    WorkerPool ----> entered(), left() '
    Ending --------> note() --> failed, errors, and the spans of what has failed

It stands where the queue reports ends anyway, and only while a viewer asks for details. What it does for every event is
a few additions; the rest is done for one of `stride` events, for the slowest, and for those that fail.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from event_collector.handlers.collector import PROCESS, Collector
from event_collector.inspection.ended_attempt import EndedAttempt, KeptSpan, TaskRow
from event_collector.inspection.error_groups import ErrorGroups, name_of
from event_collector.inspection.slowest import Slowest
from event_collector.inspection.time_splits import TimeSplits
from event_collector.tiers.workers.event_jobs import CallJob, EventJob
from event_collector.tiers.workers.value_chunks import ValueChunk
from event_collector.values.clock import clock
from event_collector.values.errors import EventCancelled, EventDropped
from event_collector.values.guarded import guarded
from event_collector.values.refusals import QueueShutDown
from event_collector.values.results import Error, Result, ResultList
from event_collector.watching.details import HERE, AttemptOutcome, RowUse
from event_collector_workers.error_texts import line_of
from event_collector_workers.pool.job_watch import EndedJobs

if TYPE_CHECKING:
    from event_collector.events.event import CollectorEvent
    from event_collector.events.failures import FailureOwner, FailureWatch

MOST_SPANS: Final = 2000
"""Spans between two lines of details."""
SPANS_WANTED: Final = 500
"""Spans that the stride aims at. The rest of the room is for slow and failed attempts."""
LESS_OFTEN: Final = 5
"""Strides between two events whose time on the way to a worker and back is taken, which costs more than a span."""
MOST_ITEMS: Final = 50
"""Items of a container whose text is shown: that of a large one would take time."""
MOST_FAILED: Final = 50
"""Failed attempts that are kept with their instants."""

_ASKED_FOR: Final = (EventCancelled, EventDropped, QueueShutDown)
"""Errors that are no failures of a handler."""


class AttemptRecorder:
    """Records the attempts of one queue.

    Args:
        collectors: of the queue, by key.
        end: ends an event, as `Ending.ended()` does.
        failures: watches events that fail, and goes on doing so.
        shows_payloads: whether texts of payloads are kept.

    Attributes:
        stride: one of so many attempts is kept.
        errors, splits, slowest: what else is kept.
        failed: the last attempts that failed, the newest last.
    """

    # fmt: off
    __slots__ = (
        "_bar", "_chosen", "_collectors", "_current", "_end", "_ended", "_failures", "_has_failed", "_here",
        "_here_attempts", "_here_seconds", "_lost", "_sampled", "_shows_payloads", "_spans", "_to_next",
        "_uses", "errors", "failed", "slowest", "splits", "stride",
    )
    # fmt: on

    def __init__(
        self,
        collectors: Mapping[str, Collector],
        end: "Callable[[CollectorEvent, ResultList], None]",
        failures: "FailureWatch",
        *,
        shows_payloads: bool,
    ) -> None:
        self._collectors, self._end, self._failures, self._shows_payloads = collectors, end, failures, shows_payloads
        self.errors, self.splits, self.slowest = ErrorGroups(), TimeSplits(), Slowest()
        self._bar = self.slowest.bar  # seconds from which an attempt is slow
        self.failed: deque[EndedAttempt] = deque(maxlen=MOST_FAILED)
        self.stride, self._to_next = 1, 1  # attempts until the next one in the sample
        self._spans: list[KeptSpan] = []
        self._lost = self._sampled = 0
        self._here: TaskRow = (HERE, os.getpid())
        self._here_attempts, self._here_seconds = 0, 0.0
        self._uses: dict[TaskRow, tuple[int, float]] = {}  # of workers
        # Of the worker whose jobs are about to receive their outcomes:
        self._current: TaskRow | None = None
        self._ended: EndedJobs | None = None
        self._chosen: list[tuple[int, float, int]] = []  # place of a job, time of its end, what it stands for
        self._has_failed: set[int] = set()  # ids of events

    def __repr__(self) -> str:
        return f"<AttemptRecorder one of {self.stride}, {len(self._spans)} spans, {self.errors!r}>"

    # Ends on the event loop

    def ended(self, event: "CollectorEvent", results: ResultList) -> None:
        """End an event, as `Ending.ended()` does."""
        started = event.started
        self._end(event, results)
        seconds = (event.finished or clock.now()) - started  # it is 0 again if another attempt follows
        self._here_seconds += seconds
        self._here_attempts += 1
        self._to_next -= 1
        if seconds > self._bar or self._to_next <= 0:
            guarded("the record of an attempt", self._note_here, event, results, started, seconds)

    def _note_here(self, event: "CollectorEvent", results: ResultList, started: float, seconds: float) -> None:
        stands_for = self._draw()
        for result in results:
            key = result.key or ""
            collector = self._collectors.get(key)
            if _number(event, key) == 1:
                self.splits.waited(key, started - event.created)
            if isinstance(result, Error) or (collector is not None and collector.place == PROCESS):
                continue  # note() has it, or the pool tells of it
            self.splits.ran(key, seconds)
            self._keep(event, self._here, key, started, started + seconds, stands_for)

    # Ends in workers

    def entered(self, ended: EndedJobs) -> None:
        """Take jobs of one worker before they receive their outcomes."""
        jobs, seconds, row = ended.jobs, ended.seconds, (ended.worker, ended.pid)
        self._current, self._ended = row, ended
        attempts, total = self._uses.get(row, (0, 0.0))
        self._uses[row] = attempts + (sum(ended.items) or len(jobs)), total + sum(seconds)
        self.splits.entered(jobs)
        if self._to_next > len(jobs) and max(seconds) <= self._bar and not ended.is_killed:
            self._to_next -= len(jobs)
        else:
            self._choose(ended)

    def _choose(self, ended: EndedJobs) -> None:
        """Choose the jobs that are kept: those in the sample, and slow ones."""
        until = ended.until
        for place in range(len(ended.jobs) - 1, -1, -1):
            self._to_next -= 1
            if self._to_next <= 0 or ended.seconds[place] > self._bar or ended.is_killed:
                self._chosen.append((place, until, self._draw()))
            until -= ended.seconds[place]

    def left(self) -> None:
        """Take the outcomes of the jobs."""
        ended, chosen = self._ended, self._chosen
        if ended is None:
            return
        self._current, self._ended, self._chosen = None, None, []
        for place, until, stands_for in reversed(chosen):
            self._note_there(ended, place, until, stands_for)
        self._has_failed.clear()
        self.splits.left()
        if self.splits.pending:
            self._note_times(ended, clock.now())

    def _note_times(self, ended: EndedJobs, now: float) -> None:
        pending, answered = self.splits.pending, self.splits.answered
        jobs: list[Any] = ended.jobs
        for job, seconds in zip(jobs, ended.seconds, strict=True):
            if type(job) is EventJob:
                event, key = job.event, job.of.key
                if (event.id, key) in pending:
                    at = answered(key, event.id, seconds, now)
                    if at is not None and _number(event, key) == 1:
                        self.splits.waited(key, at - event.created)

    def _note_there(self, ended: EndedJobs, place: int, until: float, stands_for: int) -> None:
        job: Any = ended.jobs[place]
        began, row, key = until - ended.seconds[place], (ended.worker, ended.pid), job.of.key
        if isinstance(job, EventJob):
            if job.event.id not in self._has_failed:  # else note() has it
                self._keep(job.event, row, key, began, until, stands_for)
            return
        outcome: AttemptOutcome = "killed" if ended.is_killed else "error" if _has_failed(job) else "ok"
        event = job.event_id if isinstance(job, CallJob) else job.first_id if isinstance(job, ValueChunk) else 0
        events = max(1, ended.items[place]) if ended.items else 1
        self._keep_span((row, key, began, until, outcome, event, events, stands_for))

    # Failures

    def note(
        self, event: "CollectorEvent", results: Iterable[Result[Any]], owners: "Mapping[str, FailureOwner]"
    ) -> None:
        """Take an event that fails, and have `Failures` watch it."""
        guarded("the record of a failed attempt", self._note_failed, event, [*results])
        self._failures.note(event, results, owners)

    def _note_failed(self, event: "CollectorEvent", results: list[Result[Any]]) -> None:
        if self._current is not None:
            self._has_failed.add(event.id)
        for result in results:
            if isinstance(result, Error):
                self._note_error(event, result)

    def _note_error(self, event: "CollectorEvent", result: Error[Any]) -> None:
        now, key, row = clock.now(), result.key or "", self._current or self._here
        is_looked_at = not issubclass(type(result.err), _ASKED_FOR) and self.errors.admits()
        if not is_looked_at and len(self._spans) >= MOST_SPANS:
            self._lost += 1
            return
        collector = self._collectors.get(key)
        began, ended = self._times_of(event, now)
        outcome: AttemptOutcome = "killed" if self._ended is not None and self._ended.is_killed else "error"
        is_known = self._current is not None or collector is None or collector.place != PROCESS
        if event.started and is_known:  # else it was in no handler, or the pool tells of it
            self._keep_span((row, key, began, ended, outcome, event.id, 1, 1))
        if not is_looked_at:
            return
        name = name_of(result.err)
        attempt = self._attempt(event, row, key, outcome, began, ended)._replace(error=str(name))
        trace = result.details.get("trace", "") if isinstance(result.details, dict) else ""
        self.errors.add(key, name, now, event=event.id, trace=trace, payload=attempt.payload)
        self.failed.append(attempt)
        if attempt.seconds > self._bar:
            self._keep_slow(attempt)

    def note_value(self, event_id: int, result: Result[Any]) -> None:
        """Take a value of a stream that fails; its chunk has the span."""
        if isinstance(result, Error) and not issubclass(type(result.err), _ASKED_FOR) and self.errors.admits():
            trace = result.details.get("trace", "") if isinstance(result.details, dict) else ""
            self.errors.add(result.key or "", name_of(result.err), clock.now(), event=event_id, trace=trace)

    def _times_of(self, event: "CollectorEvent", now: float) -> tuple[float, float]:
        """Return when an event that ends now began and ended in its handler; in a worker it ended before."""
        if self._ended is not None:
            until = self._ended.until
            for job, seconds in zip(reversed(self._ended.jobs), reversed(self._ended.seconds), strict=True):
                if isinstance(job, EventJob) and job.event is event:
                    return until - seconds, until
                until -= seconds
        return event.started or now, now

    # What is kept

    def _keep(
        self, event: "CollectorEvent", row: TaskRow, key: str, began: float, ended: float, stands_for: int
    ) -> None:
        """Keep an attempt that has succeeded."""
        self._keep_span((row, key, began, ended, "ok", event.id, 1, stands_for))
        if ended - began > self._bar:
            self._keep_slow(self._attempt(event, row, key, "ok", began, ended))

    def _keep_span(self, span: KeptSpan) -> None:
        if len(self._spans) < MOST_SPANS:
            self._spans.append(span)
        else:
            self._lost += 1

    def _keep_slow(self, attempt: EndedAttempt) -> None:
        self.slowest.add(attempt)
        self._bar = self.slowest.bar

    def _attempt(
        self, event: "CollectorEvent", row: TaskRow, key: str, outcome: AttemptOutcome, began: float, ended: float
    ) -> EndedAttempt:
        at = self.splits.pending.get((event.id, key))
        payload, attempt = self.payload_of(event), _number(event, key)
        return EndedAttempt(row, key, outcome, began, ended, event.id, event.created, at, attempt, payload=payload)

    def payload_of(self, event: "CollectorEvent") -> str | None:
        """Return the text of a payload, if that may be shown."""
        return payload_text(event.payload.value) if self._shows_payloads else None

    def _draw(self) -> int:
        """Return what an attempt that is kept stands for: itself, or the attempts since the one before."""
        if self._to_next > 0:
            return 1
        stands_for = self.stride
        self._sampled += 1
        if self._sampled > SPANS_WANTED:  # a burst that the stride is not made for
            self._sampled //= 2
            self._take_stride(4 * stands_for)
        self._to_next = self.stride
        return stands_for

    def _take_stride(self, stride: int) -> None:
        self.stride = stride
        self.splits.sample_one_of(stride if stride == 1 else LESS_OFTEN * stride)

    # For a line of details

    def take(self, now: float, elapsed: float) -> tuple[list[KeptSpan], int, list[RowUse]]:
        """Return the spans since the last call, the number of those that were left out, and the use of each row.

        `elapsed`: seconds since the last call. The stride follows from the number of attempts.
        """
        self.slowest.forget(now)
        self._bar = self.slowest.bar
        uses = {self._here: (self._here_attempts, self._here_seconds), **self._uses}
        rows = [RowUse(*row, seconds, attempts) for row, (attempts, seconds) in uses.items() if attempts]
        spans, lost = self._spans, self._lost
        self._spans, self._lost, self._sampled = [], 0, 0
        self._here_attempts, self._here_seconds, self._uses = 0, 0.0, {}
        rate = sum(row.attempts for row in rows) / max(elapsed, 1e-3)
        self._take_stride(max(1, -int(-rate // SPANS_WANTED)))
        self._to_next = min(self._to_next, self.stride)
        return spans, lost, rows


def _number(event: "CollectorEvent", key: str) -> int:
    """Return the number of the last attempt of a collector, from 1, before its failure is judged."""
    course = event.course
    failed = None if course is None else course.attempts.get(key)
    return 1 if failed is None else failed.made + 1


def payload_text(value: Any) -> str:
    """Return the repr of a value, shortened; of a large container only its size."""
    if isinstance(value, (dict, list, tuple, set, frozenset)) and len(value) > MOST_ITEMS:
        return f"<{type(value).__name__} of {len(value)} items>"
    return line_of(value)


def _has_failed(job: Any) -> bool:
    """Return whether a call in a worker has raised. A chunk or a batch has an outcome for each of its events."""
    if not isinstance(job, CallJob):
        return False
    outcome = job.outcome
    return outcome.done() and not outcome.cancelled() and outcome.exception() is not None
