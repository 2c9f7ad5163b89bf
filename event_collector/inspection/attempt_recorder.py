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
from event_collector.inspection.ended_attempt import EndedAttempt, Row
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
        self.encode, self.decoder_of = self.splits.encode, self.splits.decoder_of
        self.failed: deque[EndedAttempt] = deque(maxlen=MOST_FAILED)
        self.stride, self._to_next = 1, 1  # attempts until the next one in the sample
        self._spans: list[EndedAttempt] = []
        self._lost = self._sampled = 0
        self._here = Row(HERE, os.getpid())
        self._here_attempts, self._here_seconds = 0, 0.0
        self._uses: dict[Row, tuple[int, float]] = {}  # of workers
        # Of the worker whose jobs are about to receive their outcomes:
        self._current: Row | None = None
        self._is_killed = False
        self._ended: list[EndedJob] = []
        self._chosen: list[tuple[EndedJob, float, int]] = []  # with the time of its end, and what it stands for
        self._has_failed: set[int] = set()  # ids of events

    def __repr__(self) -> str:
        return f"<AttemptRecorder one of {self.stride}, {len(self._spans)} spans, {self.errors!r}>"

    # Ends on the event loop

    def ended(self, event: "CollectorEvent", results: ResultList) -> None:
        """End an event, as `Ending.ended()` does."""
        seconds = clock.now() - event.started
        self._here_seconds += seconds
        self._here_attempts += 1
        self._to_next -= 1
        if self._to_next <= 0 or seconds > self.slowest.bar:
            guarded("the record of an attempt", self._note_here, event, results, seconds)
        self._end(event, results)

    def _note_here(self, event: "CollectorEvent", results: ResultList, seconds: float) -> None:
        stands_for = self._draw()
        attempt = event.payload.attempt
        for result in results:
            key = result.key or ""
            collector = self._collectors.get(key)
            if attempt == 1:
                self.splits.waited(key, event.started - event.created)
            if isinstance(result, Error) or (collector is not None and collector.place == PROCESS):
                continue  # note() has it, or the pool tells of it
            self.splits.ran(key, seconds)
            self._keep_ok(event, self._here, key, event.started, event.started + seconds, stands_for)

    # Ends in workers

    def entered(self, worker: int, pid: int, ended: list[EndedJob], until: float, *, killed: bool) -> None:
        """Take jobs of one worker before they receive their outcomes; see `JobWatcher`."""
        self._current, self._is_killed, self._ended = Row(worker, pid), killed, ended
        seconds = [one[1] for one in ended]
        attempts, total = self._uses.get(self._current, (0, 0.0))
        self._uses[self._current] = attempts + sum([one[2] for one in ended]), total + sum(seconds)
        if self._to_next > len(ended) and max(seconds) <= self.slowest.bar and not killed:
            self._to_next -= len(ended)
            return
        for job in reversed(ended):
            self._to_next -= 1
            if self._to_next <= 0 or job[1] > self.slowest.bar or killed:
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
                    if at is not None and one.event.payload.attempt == 1:
                        self.splits.waited(one.of.key, at - one.event.created)
                elif type(one) is CallJob:
                    self.splits.answered(one.of.key, one.event_id, seconds, now)
        self._ended = []

    def _note_there(self, row: Row, ended: EndedJob, until: float, stands_for: int) -> None:
        job: Any = ended[0]
        began = until - ended[1]
        if isinstance(job, EventJob):
            if job.event.id not in self._has_failed:  # else note() has it
                self._keep_ok(job.event, row, job.of.key, began, until, stands_for)
            return
        outcome: AttemptOutcome = "killed" if self._is_killed else "error" if _has_failed(job) else "ok"
        event = job.event_id if isinstance(job, CallJob) else job.first_id if isinstance(job, ValueChunk) else 0
        self._keep(
            EndedAttempt(
                row, job.of.key, outcome, began, until, event=event, events=max(1, ended[2]), stands_for=stands_for
            )
        )

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
        now, key, row = clock.now(), result.key or "", self._current
        collector = self._collectors.get(key)
        is_known = row is not None or collector is None or collector.place != PROCESS
        outcome: AttemptOutcome = "killed" if self._is_killed else "error"
        is_failure = not issubclass(type(result.err), _ASKED_FOR)
        if not (is_failure and self.errors.admits()):
            if event.started and is_known:
                self._keep_span(EndedAttempt(row or self._here, key, outcome, event.started, now, event=event.id))
            return
        name = name_of(result.err)
        began = event.started or now
        attempt = self._attempt(event, row or self._here, key, outcome, began, now, error=str(name))
        attempt = attempt._replace(payload=self.payload_of(event))
        trace = result.details.get("trace", "") if isinstance(result.details, dict) else ""
        self.errors.add(key, name, now, event=event.id, trace=trace, payload=attempt.payload)
        self.failed.append(attempt)
        if event.started and is_known:  # else it was in no handler, or the pool has told of it
            self._keep(attempt)

    # What is kept

    def _attempt(
        self,
        event: "CollectorEvent",
        row: Row,
        key: str,
        outcome: AttemptOutcome,
        began: float,
        ended: float,
        **more: Any,
    ) -> EndedAttempt:
        handed = self.splits.pending.get((event.id, key))
        return EndedAttempt(
            row,
            key,
            outcome,
            began,
            ended,
            event=event.id,
            sent=event.created,
            handed_out=None if handed is None else handed[0],
            attempt=event.payload.attempt,
            **more,
        )

    def _keep_ok(
        self, event: "CollectorEvent", row: Row, key: str, began: float, ended: float, stands_for: int
    ) -> None:
        attempt = self._attempt(event, row, key, "ok", began, ended, stands_for=stands_for)
        if ended - began > self.slowest.bar:
            self.slowest.add(attempt._replace(payload=self.payload_of(event)))
        self._keep_span(attempt)

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
            self._sampled = 0
            self._take_stride(2 * stands_for)
        self._to_next = self.stride
        return stands_for

    def _take_stride(self, stride: int) -> None:
        self.stride = stride
        self.splits.sample_one_of(stride)

    def _keep(self, attempt: EndedAttempt) -> None:
        self.slowest.add(attempt)
        self._keep_span(attempt)

    def _keep_span(self, attempt: EndedAttempt) -> None:
        if len(self._spans) < MOST_SPANS:
            self._spans.append(attempt)
        else:
            self._lost += 1

    # For a line of details

    def take(self, elapsed: float) -> tuple[list[EndedAttempt], int, list[RowUse]]:
        """Return the spans since the last call, the number of those that were left out, and the use of each row.

        `elapsed`: seconds since the last call. The stride follows from the number of attempts.
        """
        uses = {self._here: (self._here_attempts, self._here_seconds), **self._uses}
        rows = [RowUse(*row, seconds, attempts) for row, (attempts, seconds) in uses.items() if attempts]
        spans, lost = self._spans, self._lost
        self._spans, self._lost, self._sampled = [], 0, 0
        self._here_attempts, self._here_seconds, self._uses = 0, 0.0, {}
        rate = sum(row.attempts for row in rows) / max(elapsed, 1e-3)
        self._take_stride(max(1, -int(-rate // SPANS_WANTED)))
        self._to_next = min(self._to_next, self.stride)
        return spans, lost, rows


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
