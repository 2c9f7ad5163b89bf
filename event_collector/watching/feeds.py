"""Feeds: what a snapshot tells of those that bring a queue the messages of brokers, and the board that has them."""

from typing import Final, Literal, Protocol

import msgspec

MOST_ENDED: Final = 20
"""Feeds that have ended and are still shown."""

FeedState = Literal["opening", "running", "lost", "failing", "stopping", "ended"]
"""lost: the source gives no messages. failing: the source has not settled the last messages. Both are tried again."""


class FeedCounts(msgspec.Struct, frozen=True):
    """Counts of the messages of one feed: fetched = held + the sum of the others.

    Attributes:
        fetched: deliveries that were fetched.
        held: messages that are not settled yet.
        acknowledged: messages that succeeded.
        retried: messages that will be delivered again, because a handler failed.
        buried: dead letters.
        released: messages given back because the feed ended.
        duplicates: deliveries of a message that is held, or that was finished a short while ago; not run again.
        unsettled: messages that the source could not settle; they are delivered again.
    """

    fetched: int = 0
    held: int = 0
    acknowledged: int = 0
    retried: int = 0
    buried: int = 0
    released: int = 0
    duplicates: int = 0
    unsettled: int = 0


class FeedSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One feed."""

    name: str
    """The name of its source, with a number if several feeds have one."""
    state: FeedState
    counts: FeedCounts
    held_bytes: int
    remembered: int
    """Finished messages, and ids of their publishers, by which duplicates are found."""
    duplicate_window: float
    """Seconds for which they are remembered."""
    is_held_back: bool
    """Whether it fetches nothing until handlers have caught up: the back-pressure of the queue."""
    last_error: str = ""
    """Empty if there was none."""
    last_error_time: float = 0.0
    """Seconds since 1970, UTC."""
    fetch_rate: float | None = None
    acknowledge_rate: float | None = None

    @property
    def is_healthy(self) -> bool:
        """Whether its source gives messages and settles them."""
        return self.state not in ("lost", "failing")


class ShownFeed(Protocol):
    """A feed while it runs."""

    def look(self) -> FeedSnapshot:
        """Return what is known of it now, without rates."""


class FeedBoard:
    """The feeds of one queue, by the names under which they are shown. A feed enters when it begins to run."""

    def __init__(self) -> None:
        self._feeds: dict[str, ShownFeed] = {}
        self._ended: dict[str, FeedSnapshot] = {}

    def __repr__(self) -> str:
        return f"<FeedBoard of {len(self._feeds)} feeds, {len(self._ended)} ended>"

    def enter(self, source: str, feed: ShownFeed) -> str:
        """Show a feed from now on; return its name. It replaces one of this name that has ended."""
        name, number = source, 1
        while name in self._feeds:
            name, number = f"{source} ({number + 1})", number + 1
        self._feeds[name] = feed
        self._ended.pop(name, None)
        return name

    def leave(self, name: str) -> None:
        """Keep the last figures of a feed that has ended; the oldest ones make room."""
        self._ended[name] = self._feeds.pop(name).look()
        while len(self._ended) > MOST_ENDED:
            del self._ended[next(iter(self._ended))]

    def look(self) -> list[FeedSnapshot]:
        """Return what is known of the feeds, without rates: first those that run."""
        running = [msgspec.structs.replace(feed.look(), name=name) for name, feed in self._feeds.items()]
        return running + [msgspec.structs.replace(ended, name=name) for name, ended in self._ended.items()]
