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
from event_collector_workers.pool.job_watch import EndedJob

if TYPE_CHECKING:
    from event_collector.events.event import CollectorEvent
    from event_collector.events.failures import FailureOwner, FailureWatch

MOST_SPANS: Final = 2000
"""Spans between two lines of details."""
SPANS_WANTED: Final = 500
"""Spans that the stride aims at. The rest of the room is for slow and failed attempts."""
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
        "_here_attempts", "_here_seconds", "_is_killed", "_lost", "_sampled", "_shows_payloads", "_spans", "_to_next",
        "_until", "_uses", "decoder_of", "encode", "errors", "failed", "slowest", "splits", "stride",
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
        self.encode, self.decoder_of = self.splits.encode, self.splits.decoder_of
        self.failed: deque[EndedAttempt] = deque(maxlen=MOST_FAILED)
        self.stride, self._to_next = 1, 1  # attempts until the next one in the sample
        self._spans: list[KeptSpan] = []
        self._lost = self._sampled = 0
        self._here: TaskRow = (HERE, os.getpid())
        self._here_attempts, self._here_seconds = 0, 0.0
        self._uses: dict[TaskRow, tuple[int, float]] = {}  # of workers
        # Of the worker whose jobs are about to receive their outcomes:
        self._current: TaskRow | None = None
        self._is_killed = False
        self._ended: list[EndedJob] = []
        self._until = 0.0  # when the last one of them ended
        self._chosen: list[tuple[EndedJob, float, int]] = []  # with the time of its end, and what it stands for
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

    def entered(self, worker: int, pid: int, ended: list[EndedJob], until: float, *, killed: bool) -> None:
        """Take jobs of one worker before they receive their outcomes; see `JobWatcher`."""
        self._current, self._is_killed, self._ended, self._until = (worker, pid), killed, ended, until
        seconds = [one[1] for one in ended]
        attempts, total = self._uses.get(self._current, (0, 0.0))
        self._uses[self._current] = attempts + sum([one[2] for one in ended]), total + sum(seconds)
        if self._to_next > len(ended) and max(seconds) <= self._bar and not killed:
            self._to_next -= len(ended)
            return
        for job in reversed(ended):
            self._to_next -= 1
            if self._to_next <= 0 or job[1] > self._bar or killed:
                self._chosen.append((job, until, self._draw()))
            until -= job[1]

    def left(self) -> None:
        """Take the outcomes of the jobs."""
        row, chosen = self._current, self._chosen
        self._current, self._chosen = None, []
        for job, until, stands_for in reversed(chosen):
            self._note_there(row or self._here, job, until, stands_for)
        self._is_killed = False
        self._has_failed.clear()
        if self.splits.pending:
            now = clock.now()
            for one, seconds, _ in self._ended:
                if type(one) is EventJob:
                    at = self.splits.answered(one.of.key, one.event.id, seconds, now)
                    if at is not None and _number(one.event, one.of.key) == 1:
                        self.splits.waited(one.of.key, at - one.event.created)
                elif type(one) is CallJob:
                    self.splits.answered(one.of.key, one.event_id, seconds, now)
        self._ended = []

    def _note_there(self, row: TaskRow, ended: EndedJob, until: float, stands_for: int) -> None:
        job: Any = ended[0]
        began = until - ended[1]
        if isinstance(job, EventJob):
            if job.event.id not in self._has_failed:  # else note() has it
                self._keep(job.event, row, job.of.key, began, until, stands_for)
            return
        outcome: AttemptOutcome = "killed" if self._is_killed else "error" if _has_failed(job) else "ok"
        event = job.event_id if isinstance(job, CallJob) else job.first_id if isinstance(job, ValueChunk) else 0
        self._keep_span((row, job.of.key, began, until, outcome, event, max(1, ended[2]), stands_for))

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
        outcome: AttemptOutcome = "killed" if self._is_killed else "error"
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
        until = self._until
        for job, seconds, _ in reversed(self._ended):
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
        at, _ = self.splits.pending.get((event.id, key), (None, 0.0))
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
        self.splits.sample_one_of(stride)

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
