"""The ledger of a feed: the messages it holds, the fate of the others, and recently finished messages."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from math import inf
from typing import Final, TypeAlias

import msgspec

from event_collector.events.event import CollectorEvent
from event_collector.sources.settlement import Settlement
from event_collector.sources.source import BrokerMessage
from event_collector.watching.feeds import FeedCounts

REMEMBERED: Final = 100_000
"""Keys in the window of duplicates, about twenty megabytes; a message has one, and one more if it has an id."""

MessageKey: TypeAlias = tuple[str, str]


class Finished(msgspec.Struct, frozen=True, eq=False):
    """A message that succeeded, or failed for good.

    Attributes:
        message: the message.
        settlement: its fate.
        event: its event; None if the message was malformed or lost.
        error: the reason why there was no event; None if there was one.
    """

    message: BrokerMessage
    settlement: Settlement
    event: CollectorEvent | None = None
    error: Exception | None = None


class HeldMessage:
    """A message that is not settled, in its last delivery.

    It writes its own fields. `on_done` is called once with this object, when its settlement is known or its event is
    done.
    """

    __slots__ = ("_on_done", "error", "event", "message", "settlement", "touched")

    def __init__(self, message: BrokerMessage, now: float, on_done: Callable[["HeldMessage"], None]) -> None:
        self.message, self._on_done = message, on_done
        self.touched = now
        """When it was delivered or extended."""
        self.event: CollectorEvent | None = None
        self.error: Exception | None = None
        self.settlement: Settlement | None = None
        """The settlement of a message without an event."""

    def touch(self, now: float) -> None:
        """Note that its hold was extended."""
        self.touched = now

    def redeliver(self, message: BrokerMessage, now: float) -> None:
        """Note another delivery: the source has given up the one before."""
        self.message, self.touched = message, now

    def attach(self, event: CollectorEvent) -> None:
        """Note the event of the message."""
        self.event = event
        if event.is_done():
            self._on_done(self)
        else:
            event.on_done(lambda _: self._on_done(self))

    def settle(self, settlement: Settlement, error: Exception | None = None) -> None:
        """Note the settlement of a message that has no event."""
        self.settlement, self.error = settlement, error
        self._on_done(self)


class Ledger:
    """The messages of a feed, from their delivery to their settlement; `on_done` is that of `HeldMessage`."""

    def __init__(self, duplicate_window: float, on_done: Callable[[HeldMessage], None]) -> None:
        self.held: dict[MessageKey, HeldMessage] = {}
        self._held_ids: dict[str, MessageKey] = {}
        """The held messages to which their publishers have given an id."""
        self.bytes = 0
        """Bytes of data of the held messages."""
        self._window = DuplicateWindow(duplicate_window, REMEMBERED)
        self._counts = dict.fromkeys(FeedCounts.__struct_fields__, 0)
        self._on_done = on_done

    def counts(self) -> FeedCounts:
        """Return the current counts."""
        return FeedCounts(**{**self._counts, "held": len(self.held)})

    @property
    def remembered(self) -> int:
        """Keys in the window of duplicates."""
        return len(self._window)

    def enter(self, messages: Iterable[BrokerMessage], now: float) -> tuple[list[HeldMessage], list[BrokerMessage]]:
        """Add deliveries; return the messages to run, and duplicates to acknowledge.

        The new delivery of a held message replaces the old one, which the source has given up.
        """
        fresh, duplicates = [], []
        for message in messages:
            self._counts["fetched"] += 1
            key, id_ = message_key(message), publisher_id(message)
            held = self.held.get(key)
            if held is not None:
                held.redeliver(message, now)
                self._counts["duplicates"] += 1
            elif self._window.has(key, now) or (id_ and (id_ in self._held_ids or self._window.has(id_, now))):
                duplicates.append(message)
            else:
                held = self.held[key] = HeldMessage(message, now, self._on_done)
                if id_:
                    self._held_ids[id_] = key
                self.bytes += len(message.data)
                fresh.append(held)
        return fresh, duplicates

    def remember(self, message: BrokerMessage, now: float, *, copies: bool = True) -> None:
        """Note that the message is finished: a later delivery of it, or of `copies` under its id, is a duplicate."""
        self._window.add(message_key(message), now)
        if copies and (id_ := publisher_id(message)):
            self._window.add(id_, now)

    def release(self, messages: Sequence[BrokerMessage], fate: str) -> None:
        """Stop holding messages, and count them under `fate`, a field of `FeedCounts`."""
        self._counts[fate] += len(messages)
        for message in messages:
            key = message_key(message)
            if self.held.pop(key, None) is not None:  # else a duplicate of a held one
                self.bytes -= len(message.data)
                if self._held_ids.get(message.id) == key:
                    del self._held_ids[message.id]


def message_key(message: BrokerMessage) -> MessageKey:
    """Return what only the deliveries of this message have in common: a stream made anew gives its places again."""
    return message.place, message.born


def publisher_id(message: BrokerMessage) -> str | None:
    """Return the id that the publisher has given to the message, and perhaps to copies of it; None if there is none."""
    return message.id if message.id != message.place else None


class DuplicateWindow:
    """Up to `most` keys, each remembered for `seconds`; the oldest is forgotten first. 0 seconds disable the window."""

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds, self._most = seconds, most
        self._ends: OrderedDict[Hashable, float] = OrderedDict()  # the oldest first

    def add(self, key: Hashable, now: float) -> None:
        """Remember a key from now on."""
        ends = self._ends
        ends[key] = now + self._seconds
        ends.move_to_end(key)
        while ends and (len(ends) > self._most or next(iter(ends.values())) <= now):
            ends.popitem(last=False)

    def has(self, key: Hashable, now: float) -> bool:
        """Return whether the key is remembered."""
        return now < self._ends.get(key, -inf)

    def __len__(self) -> int:
        return len(self._ends)
