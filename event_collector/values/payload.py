"""Payloads: the value that was sent, and where it goes."""

import math
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic

import msgspec
from msgspec.structs import replace

from event_collector.values.errors import ConfigError

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)
    E = TypeVar("E", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")
    E = TypeVar("E")

__all__ = ["NO_HEADERS", "Delivery", "Headers", "Payload", "names"]


class Delivery(Enum):
    """Which collectors a payload goes to."""

    BROADCAST = 0
    """Every collector."""
    KEY = 1
    """The collectors that the payload's `keys` name."""
    TOPIC = 2
    """The collectors subscribed to any of the payload's `topics`."""


_BROADCAST = Delivery.BROADCAST


def names(what: str, value: Iterable[object] | None) -> tuple[str, ...]:
    """Return a sequence of strings as a tuple; `what` is its name in the error.

    Raises:
        ConfigError: for a bare string, which would be taken letter by letter, and for anything but strings.

    """
    if value is None:
        return ()
    if isinstance(value, str):
        raise ConfigError(f"{what} takes a list of strings, not the string {value!r}: write [{value!r}]")
    given = tuple(value)
    strings = tuple(name for name in given if isinstance(name, str))
    if len(strings) != len(given):
        raise ConfigError(f"{what} takes a list of strings, not {list(given)!r}")
    return strings


def _checked_priority(priority: object) -> float | None:
    if priority is None or (isinstance(priority, (int, float)) and not math.isnan(priority)):
        return priority
    raise ConfigError(f"priority takes a number, the lowest first, not {priority!r}")


def _check_delivery(delivery: object) -> None:
    if not isinstance(delivery, Delivery):
        raise ConfigError(f"delivery takes a Delivery such as Delivery.KEY, not {delivery!r}")


class Headers(msgspec.Struct, frozen=True):
    """What is known of a payload besides its value and its delivery; see the properties of Payload."""

    keys: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    priority: float | None = None
    attempt: int = 1
    last_error: str | None = None
    event_id: int | None = None
    message_id: str | None = None
    origin: int | None = None
    """The line of input that it was, if the command sent it; a journal keeps it."""


NO_HEADERS = Headers()
"""Most payloads share these."""


class Payload(Generic[T]):
    """What a handler receives: the value that was sent, and where it was to go.

    Args:
        value: the value itself; a coroutine handler gets this very object, a worker process a decoded copy.
        delivery: BROADCAST to every collector, KEY to those in `keys`, TOPIC to the subscribers of `topics`.
        keys: collector keys for KEY delivery; unknown ones are skipped.
        topics: topics for TOPIC delivery.
        priority: the lowest goes first in a PRIORITY queue; None means the queue's `default_priority`.

    Raises:
        ConfigError: for keys or topics that are no list of strings, an unknown delivery, or a priority that
            is no number.

    """

    __slots__ = ("_headers", "_value", "delivery")

    def __init__(
        self,
        value: T,
        delivery: Delivery = _BROADCAST,
        keys: Sequence[str] | None = None,
        topics: Sequence[str] | None = None,
        priority: float | None = None,
    ) -> None:
        self._value = value
        self.delivery = delivery
        if delivery is not _BROADCAST:
            _check_delivery(delivery)
        if keys is None and topics is None and priority is None:
            self._headers = NO_HEADERS
        else:
            self._headers = Headers(
                names("Payload keys", keys), names("Payload topics", topics), _checked_priority(priority)
            )

    @property
    def value(self) -> T:
        """The value that was sent; it cannot be replaced."""
        return self._value

    @property
    def keys(self) -> list[str]:
        """The keys of the collectors it is meant for, with KEY delivery."""
        return list(self._headers.keys)

    @keys.setter
    def keys(self, keys: Sequence[str]) -> None:
        self._note(keys=names("Payload keys", keys))

    @property
    def topics(self) -> list[str]:
        """The topics it is published under, with TOPIC delivery."""
        return list(self._headers.topics)

    @topics.setter
    def topics(self, topics: Sequence[str]) -> None:
        self._note(topics=names("Payload topics", topics))

    @property
    def priority(self) -> float | None:
        """Its place in a PRIORITY queue, lowest first; None for the queue's default."""
        return self._headers.priority

    @priority.setter
    def priority(self, priority: float | None) -> None:
        self._note(priority=_checked_priority(priority))

    @property
    def attempt(self) -> int:
        """The number of this attempt of the handler: 1, or more where the collector has `retry=` and failed before."""
        return self._headers.attempt

    @property
    def last_error(self) -> str | None:
        """How the attempt before failed: the class of the exception and what it says; None in the first attempt."""
        return self._headers.last_error

    @property
    def event_id(self) -> int | None:
        """The id of its event in a queue with a journal, None in others: the same whenever the event is run again.

        Within one journal no two events have the same: a handler that must not take effect twice can tell by it.
        """
        return self._headers.event_id

    @property
    def message_id(self) -> str | None:
        """The id of the message that it came in, from a source such as JetStreamSource; None elsewhere.

        The same whenever the message is delivered again, here or on another machine: a handler that must not take
        effect twice can tell by it.
        """
        return self._headers.message_id

    def set_delivery(
        self, delivery: Delivery, keys: Sequence[str] | None = None, topics: Sequence[str] | None = None
    ) -> None:
        """Say anew which collectors it goes to; keys and topics that are not given stay.

        Raises:
            ConfigError: for keys or topics that are no list of strings, or an unknown delivery.

        """
        _check_delivery(delivery)
        if keys is not None:
            self.keys = keys
        if topics is not None:
            self.topics = topics
        self.delivery = delivery

    def set_priority(self, priority: float | None) -> None:
        """Give it another place in a PRIORITY queue; events already sent keep theirs.

        Raises:
            ConfigError: if it is not a number, or not a number that can be ordered (NaN).

        """
        self.priority = priority

    def _note(self, **headers: Any) -> None:
        self._headers = replace(self._headers, **headers)

    def __repr__(self) -> str:
        return (
            f"<Payload value={self._value!r} delivery={self.delivery.name} keys={self.keys}"
            f" topics={self.topics} priority={self.priority}>"
        )
