"""The course of an event that does not simply go from the queue through its handlers to its end."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from event_collector.handlers.attempt import Attempt
    from event_collector.values.payload import Payload
    from event_collector.values.results import ResultList


class Course:
    """What is known of an event that does not simply go from the queue through its handlers to its end.

    Most events have none.

    Attributes:
        deadline: when the last attempt may begin, by the clock of the queue; None for no limit.
        only: the keys of the collectors that the next attempt, or the one under way, goes to; empty: as routed.
        attempts: by key, of the collectors that have failed.
        due: by key, when the next attempt of those may begin that are to have one.
        results: of all collectors that have answered, in their order; None until they have.
        original: the payload that was sent, while the event holds a copy that tells the number of the attempt.
        cancelled: whether the event was cancelled while it was in a handler.

    """

    __slots__ = ("attempts", "cancelled", "deadline", "due", "only", "original", "results")

    def __init__(self, deadline: float | None = None, only: tuple[str, ...] = ()) -> None:
        self.deadline = deadline
        self.only = only
        self.attempts: dict[str, Attempt] = {}
        self.due: dict[str, float] = {}
        self.results: ResultList | None = None
        self.original: Payload[Any] | None = None
        self.cancelled = False

    def schedule_all(self, due: float) -> None:
        """Note that every collector that has failed is tried again at that time."""
        self.due = dict.fromkeys(self.attempts, due)
