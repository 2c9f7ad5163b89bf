"""An attempt that has ended, as it is kept until the next line of details. Times are those of the queue's clock."""

from typing import NamedTuple

from event_collector.watching.details import AttemptOutcome, EventTimeline, TaskSpan


class Row(NamedTuple):
    """A row of the task stream."""

    worker: int
    """As in `TaskSpan`."""
    pid: int


class EndedAttempt(NamedTuple):
    """One attempt, or several values of a stream that a worker has processed in a row."""

    row: Row
    collector: str
    outcome: AttemptOutcome
    began: float
    ended: float
    event: int = 0
    """The id; 0 if it is not known."""
    events: int = 1
    stands_for: int = 1
    sent: float | None = None
    handed_out: float | None = None
    attempt: int = 1
    error: str = ""
    payload: str | None = None

    @property
    def seconds(self) -> float:
        """The time in the handler."""
        return self.ended - self.began

    def span(self, offset: float) -> TaskSpan:
        """Return it for the task stream; `offset` makes an instant of a time."""
        return TaskSpan(
            *self.row,
            self.collector,
            self.began + offset,
            self.ended + offset,
            self.outcome,
            self.event,
            self.events,
            self.stands_for,
        )

    def timeline(self, offset: float) -> EventTimeline:
        """Return it with its instants."""
        return EventTimeline(
            event=self.event,
            collector=self.collector,
            outcome=self.outcome,
            worker=self.row.worker,
            pid=self.row.pid,
            attempt=self.attempt,
            sent=None if self.sent is None else self.sent + offset,
            handed_out=None if self.handed_out is None else self.handed_out + offset,
            began=self.began + offset,
            ended=self.ended + offset,
            error=self.error,
            payload=self.payload,
        )
