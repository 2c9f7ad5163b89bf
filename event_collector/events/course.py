"""The course of an event: its deadline, its attempts, its cancellation."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from event_collector.handlers.attempt import Attempt
    from event_collector.values.payload import Payload
    from event_collector.values.results import ResultList


class Course:
    """State of an event that has a deadline, is retried or is cancelled. Most events have none.

    Attributes:
        deadline: when the last attempt may begin, by the clock of the queue; None for no limit.
        only: keys of the collectors that the current or next attempt goes to; empty: as routed.
        attempts: by key, of the collectors that have failed.
        due: by key, when the next attempt of a collector may begin; collectors without another attempt are missing.
        results: of all collectors that have answered, in their order; None until they have.
        original: the payload that was sent, while the event holds a copy with the number of the attempt.
        cancelled: whether the event was cancelled while it was in a handler.
    """

    __slots__ = ("attempts", "cancelled", "deadline", "due", "only", "original", "results")

    def __init__(
        self, deadline: float | None = None, only: tuple[str, ...] = (), attempts: "Mapping[str, Attempt] | None" = None
    ) -> None:
        self.deadline, self.only = deadline, only
        self.attempts = dict(attempts or {})
        self.due: dict[str, float] = {}
        self.results: ResultList | None = None
        self.original: Payload[Any] | None = None
        self.cancelled = False

    def take_results(self, results: "ResultList") -> None:
        """Take the results after an attempt; the collectors that it went to are not due any more."""
        self.results = results
        for key in self.only:
            self.due.pop(key, None)

    def note_attempt(self, key: str, attempt: "Attempt") -> None:
        """Note how often a collector has failed, and how it did the last time."""
        self.attempts[key] = attempt

    def schedule(self, key: str, due: float) -> None:
        """Note when the next attempt of a collector may begin."""
        self.due[key] = due

    def choose_due(self, now: float) -> None:
        """Have the next attempt go to the collectors that are due."""
        self.only = tuple(key for key, due in self.due.items() if due <= now)

    def keep_original(self, payload: "Payload[Any]") -> "Payload[Any]":
        """Return the payload that was sent; it is this one if none was noted before."""
        if self.original is None:
            self.original = payload
        return self.original

    def cancel(self) -> bool:
        """Note that the event was cancelled in a handler; return False if that was noted before."""
        was_cancelled, self.cancelled = self.cancelled, True
        return not was_cancelled

    def schedule_all(self, due: float) -> None:
        """Note that every collector that has failed is tried again at that time."""
        self.due = dict.fromkeys(self.attempts, due)
