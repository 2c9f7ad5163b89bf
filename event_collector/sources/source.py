"""The interface of a broker to a feed: messages, and the calls that settle them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

import msgspec

from event_collector.values.checks import is_number
from event_collector.values.errors import ConfigError, SourceError

PATIENCE: Final = 1.0
"""Maximum seconds that `fetch()` waits for a message, and so delays the end of a feed."""
ANSWER_TIMEOUT: Final = 5.0
"""Seconds after which a server that does not answer counts as one that cannot be reached."""

MIN_HOLD: Final = 0.1
MAX_HOLD: Final = 1e9
"""Seconds, about thirty years."""


class BrokerMessage(msgspec.Struct, eq=False, kw_only=True):
    """One delivery of a message.

    Attributes:
        id: identifies the message: the same at each delivery, and for copies published under one id. It is `place`
            if the publisher has given no id.
        place: position in the stream: the same at each delivery, and unique in the stream.
        data: the contents.
        deliveries: number of deliveries, this one included; the first is 1.
        born: distinguishes the message from those that were at this place before the stream was deleted and made
            again: the same at each delivery, for example the time of its publication. Empty if places never recur.
        subject: the subject it was published under; the name of the stream if the broker has no subjects.
        headers: further headers of the publisher.
        handle: the object by which its source identifies it.
    """

    id: str
    place: str
    data: bytes
    deliveries: int = 1
    born: str = ""
    subject: str = ""
    headers: Mapping[str, str] = {}
    handle: Any = None


Message = BrokerMessage
"""The name for applications: `event_collector.sources.Message`."""


class Source(Protocol):
    """A stream of messages that several programs share: each message is delivered to one of them, at least once.

    This program holds a delivered message until it is settled, or until its hold expires: then the broker delivers it
    again, to this program or to another. One feed calls all methods, in the thread of the event loop. `fetch()` is
    never called while it runs; the others may be.

    A source may also have `async def count_unsettled(self) -> int`: the number of messages that wait, or are delivered
    and not settled, here or elsewhere. `run(until_empty=True)` then ends when there are none. It raises SourceError as
    `fetch()` does.

    Attributes:
        name: name for log lines and errors, without passwords.
        hold: seconds for which a message is held after its delivery, and after each `extend()`.
    """

    name: str
    hold: float

    async def open(self) -> None:
        """Connect, and check that the stream exists.

        Raises:
            SourceError: the broker cannot be reached, or the stream does not exist; nothing is left open.
        """

    async def fetch(self, most: int) -> Sequence[BrokerMessage]:
        """Return up to `most` messages as soon as there is one; an empty list after PATIENCE seconds.

        Cancellation loses no message: what was delivered meanwhile is returned later, or delivered again.

        Raises:
            SourceError: there is no connection, or the stream is gone. A later call may succeed.
        """

    async def extend(self, messages: Sequence[BrokerMessage]) -> None:
        """Hold the messages for another `hold` seconds."""

    async def acknowledge(self, messages: Sequence[BrokerMessage]) -> None:
        """Settle messages that succeeded: they are never delivered again."""

    async def retry(self, message: BrokerMessage, delay: float) -> None:
        """Have the message delivered again in `delay` seconds, to this program or to another."""

    async def bury(self, message: BrokerMessage, reason: str, error: str) -> None:
        """Store a message that failed for good as a dead letter; only then settle it, so that it never comes again.

        `reason` is one of `DeadLetter`, or "malformed" or "lost"; `error` is the error as text.
        """

    def interrupt(self) -> None:
        """Make a running `fetch()` return at once, if the broker allows it."""

    async def hand_back(self) -> None:
        """Stop deliveries to this program, and give back what was delivered and not fetched.

        No `fetch()` follows. This method and `extend()`, `acknowledge()`, `retry()` and `bury()` raise SourceError if
        the broker cannot be reached; the messages are then delivered again.
        """

    async def close(self) -> None:
        """Disconnect. Idempotent."""


def check_names(what: str, options: Any, **names: Any) -> None:
    """Raise ConfigError if a name is neither a non-empty string nor None, or if `options` is no dict."""
    for name, value in names.items():
        if value is not None and not (isinstance(value, str) and value):
            raise ConfigError(f"{what}({name}=...) takes a string, not {value!r}")
    if options is not None and not isinstance(options, dict):
        raise ConfigError(f"{what}(options=...) takes a dict, not {options!r}")


def check_hold(what: str, seconds: Any) -> None:
    """Raise ConfigError if `seconds` is not a number or too short to extend messages in time; `what` names it."""
    if not is_number(seconds) or not MIN_HOLD <= seconds <= MAX_HOLD:
        raise ConfigError(f"{what} takes a number of seconds from {MIN_HOLD} on, not {seconds!r}")


@contextmanager
def translate_errors(text: str) -> Iterator[None]:
    """Raise errors of a client library as SourceError, whose message begins with `text`.

    That is any exception: on a connection that is gone, the libraries raise RuntimeError, TypeError and AttributeError
    as well as errors of their own.
    """
    try:
        yield
    except SourceError:
        raise
    except Exception as exc:
        raise SourceError(f"{text}: {describe_error(exc)}") from exc


def describe_error(error: object) -> str:
    """Return the text of an error, or its class if it has no text."""
    if type(error) is TimeoutError:
        return "no answer in time"
    return str(error).removeprefix("nats: ") or type(error).__name__


def encodable(text: str) -> str:
    """Return a text that can be encoded: lone surrogates, as in the error of a user's handler, are escaped."""
    return text.encode(errors="backslashreplace").decode()
