"""An attempt that has ended, as it is kept until the next line of details. Times are those of the queue's clock."""

from typing import NamedTuple, TypeAlias

from event_collector.watching.details import AttemptOutcome, EventTimeline, TaskSpan

TaskRow: TypeAlias = tuple[int, int]
"""A row of the task stream: worker and pid, as in `TaskSpan`."""

KeptSpan: TypeAlias = tuple[TaskRow, str, float, float, AttemptOutcome, int, int, int]
"""Row, collector, begin, end, outcome, event, events, and what it stands for: a tuple costs least."""


def span_of(kept: KeptSpan, offset: float) -> TaskSpan:
    """Return a span for the task stream; `offset` makes an instant of a time."""
    (worker, pid), key, began, ended, outcome, event, events, stands_for = kept
    return TaskSpan(worker, pid, key, began + offset, ended + offset, outcome, event, events, stands_for)


class EndedAttempt(NamedTuple):
    """An attempt that is kept for longer, since it was slow or has failed."""

    row: TaskRow
    collector: str
    outcome: AttemptOutcome
    began: float
    ended: float
    event: int
    sent: float | None
    handed_out: float | None
    attempt: int
    error: str = ""
    payload: str | None = None

    @property
    def seconds(self) -> float:
        """The time in the handler."""
        return self.ended - self.began

    def timeline(self, offset: float) -> EventTimeline:
        """Return it with its instants."""
        return EventTimeline(
            event=self.event,
            collector=self.collector,
            outcome=self.outcome,
            worker=self.row[0],
            pid=self.row[1],
            attempt=self.attempt,
            sent=None if self.sent is None else self.sent + offset,
            handed_out=None if self.handed_out is None else self.handed_out + offset,
            began=self.began + offset,
            ended=self.ended + offset,
            error=self.error,
            payload=self.payload,
        )
