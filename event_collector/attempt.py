"""Attempts: what the collectors of an event have tried so far, and what is kept of it for the next attempt."""

from copy import copy
from typing import Any

import msgspec

from event_collector.data import Payload, ResultList

__all__ = ["Attempt", "Course", "later"]


class Attempt(msgspec.Struct, frozen=True):
    """How far one collector has come with one event.

    Attributes:
        made: attempts that were made, and failed.
        error: how the last one failed, as text: the class of the exception and what it says.
        crashes: how many of them ended their worker process.

    """

    made: int = 0
    error: str = ""
    crashes: int = 0


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


def later(payload: Payload[Any], attempt: Attempt) -> Payload[Any]:
    """Return the payload for the attempt after this one, a copy: one that was sent may be sent elsewhere, too."""
    again = copy(payload)
    again._note(attempt=attempt.made + 1, last_error=attempt.error if attempt.made else None)
    return again
