"""What a feed asks of a broker: messages, and a way to say what became of each."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from event_collector.values.errors import ConfigError

__all__ = ["PATIENCE", "Message", "Source", "check_hold"]

PATIENCE: Final = 1.0
"""Seconds that `fetch()` waits for a message at most: a feed that is to end is held up for no longer."""

SHORTEST: Final = 0.1
LONGEST: Final = 1e9
"""Seconds: some thirty years."""


class Message(msgspec.Struct, eq=False, kw_only=True):
    """One delivery of a message.

    Attributes:
        id: the same at each delivery, and for what its publisher has sent twice under one id.
        place: where it is in its stream: the same at each delivery, of no two messages.
        data: its contents.
        deliveries: how often it was delivered, this time included; 1 is the first time.
        subject: under which it was published; the name of the stream where there are no subjects.
        headers: what else its publisher has said.
        handle: what its source knows it by.

    """

    id: str
    place: str
    data: bytes
    deliveries: int = 1
    subject: str = ""
    headers: Mapping[str, str] = {}
    handle: Any = None


class Source(Protocol):
    """A stream of messages that several programs share: each message is delivered to one of them, at least once.

    A delivered message is held by this program until the source is told what became of it, or until it has heard
    nothing of it for a while: then the broker delivers it again, to this program or to another. All methods are called
    by one feed, in the thread of the event loop. `fetch()` is never called while it runs; the others may be.

    Attributes:
        name: for log lines and errors; without passwords.
        hold: seconds for which a message is held after its delivery, and after each `extend()`.

    """

    name: str
    hold: float

    async def open(self) -> None:
        """Connect, and make sure that the stream is there.

        Raises:
            SourceError: it cannot be reached, or is not there; nothing is left open.

        """

    async def fetch(self, most: int) -> Sequence[Message]:
        """Return up to `most` messages, at least one, as soon as there are any; none after PATIENCE seconds.

        Cancelled, what was delivered meanwhile is not lost: it is returned later, or delivered again.

        Raises:
            SourceError: there is no connection, or no such stream any more. To call it again later may help.

        """

    async def extend(self, messages: Sequence[Message]) -> None:
        """Hold them for another `hold` seconds."""

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        """Have them never delivered again: they are done with."""

    async def retry(self, message: Message, delay: float) -> None:
        """Have it delivered again, in `delay` seconds: to this program or to another."""

    async def bury(self, message: Message, reason: str, error: str) -> None:
        """Keep it as a dead letter, and only then have it never delivered again: it has failed for good.

        Args:
            message: which.
            reason: one of those of a dead letter, or "malformed".
            error: how it failed, as text.

        """

    def interrupt(self) -> None:
        """Have a `fetch()` under way return at once, if that can be had."""

    async def hand_back(self) -> None:
        """Have nothing more delivered to this program, and give back what was delivered and not fetched.

        No `fetch()` follows. This and the four above raise SourceError when the broker cannot be told: messages are
        delivered again then.
        """

    async def close(self) -> None:
        """Disconnect. Idempotent."""


def check_hold(what: str, seconds: Any) -> None:
    """Refuse a time for which a message cannot be held; `what` is its name in the error.

    Raises:
        ConfigError: it is no number, or so short that nobody could be heard of in time.

    """
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, (int, float))
        or not SHORTEST <= seconds <= LONGEST
    ):
        raise ConfigError(f"{what} takes a number of seconds from {SHORTEST} on, not {seconds!r}")
