"""The owner of the events whose handlers the coroutine tier runs."""

from typing import TYPE_CHECKING, Protocol

from event_collector.values.results import ResultList

if TYPE_CHECKING:
    from event_collector.events.course import Course
    from event_collector.events.event import CollectorEvent


class EventEnding(Protocol):
    """What ends events, as the coroutine tier sees it."""

    @property
    def is_plain(self) -> bool:
        """Whether an event that leaves its handler is finished, and no more than that."""

    def ended(self, event: "CollectorEvent", results: ResultList, /) -> None:
        """Take the results of an event whose handlers have ended."""

    def note_errors(self, event: "CollectorEvent", results: ResultList, /) -> bool:
        """Take the results of an event that is about to end; return whether there are errors."""

    def note_failed(self, event: "CollectorEvent", results: ResultList, /) -> None:
        """Take the results of an event that is about to end, with an error that is counted."""


class EventOwner(Protocol):
    """The owner of the events, as the coroutine tier sees it."""

    @property
    def ending(self) -> EventEnding:
        """What ends them."""

    @property
    def retries(self) -> "Attempts":
        """What tries them again."""

    def go_on(self) -> None:
        """Begin the events that wait, as far as they may."""

    @property
    def turns(self) -> "LoopTurns":
        """The time that events have in a turn of the loop."""


class LoopTurns(Protocol):
    """The turns of the loop, as the coroutine tier sees them."""

    def end_slice(self) -> None:
        """Have no more events begin in this turn."""


class Attempts(Protocol):
    """What tries events again, as the coroutine tier sees it."""

    async def attempt(self, event: "CollectorEvent", course: "Course", /) -> ResultList:
        """Process an event in those collectors only that have to try again."""
