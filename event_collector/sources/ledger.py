"""The ledger of a feed: which messages are held, and what became of the others."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from event_collector.events.event import CollectorEvent
from event_collector.sources.duplicates import DuplicateWindow
from event_collector.sources.settlement import Settlement
from event_collector.sources.source import Message

__all__ = ["FeedCounts", "Finished", "Held", "Ledger"]

REMEMBERED: Final = 100_000
"""Ids in the window of duplicates: some ten megabytes."""


class FeedCounts(msgspec.Struct, frozen=True):
    """What became of the messages of one feed: fetched = held + all of the others.

    Attributes:
        fetched: deliveries that were fetched.
        held: those that are not settled yet.
        acknowledged: done with.
        retried: to be delivered again, since a handler failed.
        buried: dead letters.
        released: given back because the feed ended.
        duplicates: of a message that is held, or that was done with a short while ago; not run again.
        unsettled: the source could not be told: they are delivered again.

    """

    fetched: int = 0
    held: int = 0
    acknowledged: int = 0
    retried: int = 0
    buried: int = 0
    released: int = 0
    duplicates: int = 0
    unsettled: int = 0


class Finished(msgspec.Struct, frozen=True, eq=False):
    """A message that is done with, for good or for bad.

    Attributes:
        message: the message.
        settlement: its fate.
        event: what it became; None if it was malformed, or lost.
        error: why there was no event; None if there was one.

    """

    message: Message
    settlement: Settlement
    event: CollectorEvent | None = None
    error: Exception | None = None


class Held:
    """A message in the works; as a waiter of its event it hears of the end.

    Args:
        message: the message, in its last delivery.
        now: when it was delivered, by the clock of the feed.
        on_done: is called with it when there is nothing more to wait for.

    """

    __slots__ = ("_on_done", "error", "event", "message", "settlement", "touched")

    def __init__(self, message: Message, now: float, on_done: Callable[["Held"], None]) -> None:
        self.message, self._on_done = message, on_done
        self.touched = now
        """When it was delivered or extended."""
        self.event: CollectorEvent | None = None
        self.error: Exception | None = None
        self.settlement: Settlement | None = None
        """Where it is clear without an event."""

    def sent(self, event: CollectorEvent) -> None:
        """The message became an event."""
        self.event = event
        if event.is_done():
            self._on_done(self)
        else:
            event.add_waiter(self)

    def settled(self, settlement: Settlement, error: Exception | None = None) -> None:
        """There is no event to wait for."""
        self.settlement, self.error = settlement, error
        self._on_done(self)

    def done(self) -> bool:
        """Return False: it wants to hear of the event's end."""
        return False

    def set_result(self, _result: None, /) -> None:
        """The event is done."""
        self._on_done(self)


class Ledger:
    """Messages, from their delivery to what the source was told.

    Args:
        duplicate_window: seconds for which the id of a message that is done with is remembered.
        on_done: is called with each that is held when there is nothing more to wait for.

    """

    def __init__(self, duplicate_window: float, on_done: Callable[[Held], None]) -> None:
        self.held: dict[str, Held] = {}
        """By the ids of messages."""
        self.bytes = 0
        """Of their data."""
        self._window = DuplicateWindow(duplicate_window, REMEMBERED)
        self._counts = dict.fromkeys(FeedCounts.__struct_fields__, 0)
        self._on_done = on_done

    def counts(self) -> FeedCounts:
        """Return what became of the messages, until now."""
        return FeedCounts(**{**self._counts, "held": len(self.held)})

    def enter(self, messages: Iterable[Message], now: float) -> tuple[list[Held], list[Message]]:
        """Take these in; return those that are to run, and duplicates that can be acknowledged.

        Of a message that is held, the new delivery takes the place of the old one, which the source has given up.
        """
        fresh, duplicates = [], []
        for message in messages:
            self._counts["fetched"] += 1
            held = self.held.get(message.id)
            if held is not None and held.message.place == message.place:
                held.message, held.touched = message, now
                self._counts["duplicates"] += 1
            elif held is not None or self._window.has(message.id, now):
                duplicates.append(message)
            else:
                held = self.held[message.id] = Held(message, now, self._on_done)
                self.bytes += len(message.data)
                fresh.append(held)
        return fresh, duplicates

    def remember(self, message: Message, now: float) -> None:
        """Note that it is done with: when it comes again, it is a duplicate."""
        self._window.add(message.id, now)

    def told(self, messages: Sequence[Message], counted_as: str) -> None:
        """The source knows what becomes of these, or cannot be told: they are not held any more."""
        self._counts[counted_as] += len(messages)
        for message in messages:
            held = self.held.get(message.id)
            if (
                held is not None and held.message.place == message.place
            ):  # else a duplicate of one that is held
                del self.held[message.id]
                self.bytes -= len(message.data)
