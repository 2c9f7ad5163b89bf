"""Payloads: a value and the collectors that it is addressed to."""

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
else:
    from typing import TypeVar

    T = TypeVar("T")


class Delivery(Enum):
    """The addressing of a payload."""

    BROADCAST = 0
    """Every collector."""
    KEY = 1
    """The collectors whose key is in the payload's `keys`."""
    TOPIC = 2
    """The collectors subscribed to any of the payload's `topics`."""


_BROADCAST = Delivery.BROADCAST


def to_strings(parameter: str, value: Iterable[object] | None) -> tuple[str, ...]:
    """Return a tuple of strings, empty for None; `parameter` is its name in error messages.

    Raise ConfigError if `value` is a bare string, which would be split into letters, or contains other objects.
    """
    if value is None:
        return ()
    if isinstance(value, str):
        raise ConfigError(f"{parameter} takes a list of strings, not the string {value!r}: write [{value!r}]")
    items = tuple(value)
    strings = tuple(item for item in items if isinstance(item, str))
    if len(strings) != len(items):
        raise ConfigError(f"{parameter} takes a list of strings, not {list(items)!r}")
    return strings


def _checked_priority(priority: object) -> float | None:
    if priority is None or (isinstance(priority, (int, float)) and not math.isnan(priority)):
        return priority
    raise ConfigError(f"priority takes a number, the lowest first, not {priority!r}")


def _check_delivery(delivery: object) -> None:
    if not isinstance(delivery, Delivery):
        raise ConfigError(f"delivery takes a Delivery such as Delivery.KEY, not {delivery!r}")


class Headers(msgspec.Struct, frozen=True, array_like=True):
    """The attributes of a payload besides its value and its delivery; see the properties of Payload."""

    keys: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    priority: int | float | None = None  # not float alone: msgspec would decode an int as a float
    attempt: int = 1
    last_error: str | None = None
    event_id: int | None = None
    message_id: str | None = None
    origin: int | None = None
    """Line number in the input of the command; stored in a journal."""


NO_HEADERS = Headers()
"""Shared by all payloads that have none."""


class Payload(Generic[T]):
    """A value and the collectors that it is addressed to.

    Args:
        value: any object. A handler in this process receives the object itself, a worker process a decoded copy.
        delivery: BROADCAST to every collector, KEY to those in `keys`, TOPIC to the subscribers of `topics`.
        keys: collector keys for KEY delivery; unknown keys are ignored.
        topics: topics for TOPIC delivery.
        priority: position in a PRIORITY queue, lowest first; None uses the queue's `default_priority`.

    Raises:
        ConfigError: `keys` or `topics` is not a list of strings, `delivery` is not a Delivery, or `priority` is not
            a number.
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
                to_strings("Payload keys", keys), to_strings("Payload topics", topics), _checked_priority(priority)
            )

    @property
    def value(self) -> T:
        """The value; read-only."""
        return self._value

    @property
    def keys(self) -> list[str]:
        """Collector keys for KEY delivery."""
        return list(self._headers.keys)

    @keys.setter
    def keys(self, keys: Sequence[str]) -> None:
        self._update_headers(keys=to_strings("Payload keys", keys))

    @property
    def topics(self) -> list[str]:
        """Topics for TOPIC delivery."""
        return list(self._headers.topics)

    @topics.setter
    def topics(self, topics: Sequence[str]) -> None:
        self._update_headers(topics=to_strings("Payload topics", topics))

    @property
    def priority(self) -> float | None:
        """Position in a PRIORITY queue, lowest first; None for the queue's default."""
        return self._headers.priority

    @priority.setter
    def priority(self, priority: float | None) -> None:
        self._update_headers(priority=_checked_priority(priority))

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1; greater only for a collector with `retry=`."""
        return self._headers.attempt

    @property
    def last_error(self) -> str | None:
        """Class and message of the exception of the previous attempt; None in the first attempt."""
        return self._headers.last_error

    @property
    def event_id(self) -> int | None:
        """The id of the event in a queue with a journal, None in other queues.

        It is unique within the journal and stays the same when the event runs again, so that a handler can be
        idempotent.
        """
        return self._headers.event_id

    @property
    def message_id(self) -> str | None:
        """The id of the message from a source such as JetStreamSource; None for other payloads.

        It stays the same when the message is delivered again, here or on another machine, so that a handler can be
        idempotent.
        """
        return self._headers.message_id

    def set_delivery(
        self, delivery: Delivery, keys: Sequence[str] | None = None, topics: Sequence[str] | None = None
    ) -> None:
        """Change the delivery, and the keys and topics that are not None.

        Raises:
            ConfigError: as for the arguments of Payload.
        """
        _check_delivery(delivery)
        if keys is not None:
            self.keys = keys
        if topics is not None:
            self.topics = topics
        self.delivery = delivery

    def set_priority(self, priority: float | None) -> None:
        """Change the priority; events already sent keep theirs.

        Raises:
            ConfigError: `priority` is not a number or is NaN.
        """
        self.priority = priority

    def _update_headers(self, **headers: Any) -> None:
        self._headers = replace(self._headers, **headers)

    def __repr__(self) -> str:
        return (
            f"<Payload value={self._value!r} delivery={self.delivery.name} keys={self.keys}"
            f" topics={self.topics} priority={self.priority}>"
        )
