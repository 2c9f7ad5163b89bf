"""Payloads: a value and the collectors that it is addressed to."""

from collections.abc import Iterable, Sequence
from copy import copy
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic

import msgspec
from msgspec.structs import replace

from event_collector.values.checks import is_number
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
    if not isinstance(value, Iterable):
        raise ConfigError(f"{parameter} takes a list of strings, not {value!r}")
    items = tuple(value)
    strings = tuple(item for item in items if isinstance(item, str))
    if len(strings) != len(items):
        raise ConfigError(f"{parameter} takes a list of strings, not {list(items)!r}")
    return strings


def _checked_priority(priority: object) -> float | None:
    if priority is None:
        return None
    if is_number(priority):
        return priority  # type: ignore[return-value]
    raise ConfigError(f"priority takes a number, the lowest first, not {priority!r}")


def _check_delivery(delivery: object) -> None:
    if not isinstance(delivery, Delivery):
        raise ConfigError(f"delivery takes a Delivery such as Delivery.KEY, not {delivery!r}")


def _implied_delivery(keys: tuple[str, ...] | None, topics: tuple[str, ...] | None) -> Delivery:
    """Return the delivery of a payload that names keys or topics and no delivery."""
    if keys is None and topics is None:
        return _BROADCAST
    if keys is not None and topics is not None and bool(keys) == bool(topics):
        raise ConfigError(
            f"Payload has keys={list(keys)} and topics={list(topics)}: give delivery=Delivery.KEY or Delivery.TOPIC"
        )
    return Delivery.KEY if keys or topics is None else Delivery.TOPIC


def _check_contradiction(delivery: Delivery, keys: Iterable[str] | None, topics: Iterable[str] | None) -> None:
    """Raise ConfigError if a delivery uses none of the names that are given with it."""
    used = keys if delivery is Delivery.KEY else topics if delivery is Delivery.TOPIC else None
    if not used and (keys or topics):
        given = " and ".join(f"{kind}={list(names)}" for kind, names in (("keys", keys), ("topics", topics)) if names)
        raise ConfigError(
            f"{delivery} does not use {given}: leave these out, or use {'Delivery.KEY' if keys else 'Delivery.TOPIC'}"
        )


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
        delivery: BROADCAST to every collector, KEY to those in `keys`, TOPIC to the subscribers of `topics`. With
            `keys` the default is KEY, with `topics` it is TOPIC.
        keys: collector keys for KEY delivery. The queue logs unknown keys, and delivers to the others.
        topics: topics for TOPIC delivery.
        priority: position in a PRIORITY queue, lowest first; None uses the queue's `default_priority`.

    Raises:
        ConfigError: `keys` or `topics` is not a list of strings, `delivery` is not a Delivery, or `priority` is not
            a number; there are both keys and topics and no delivery, or a delivery that uses neither.
    """

    __slots__ = ("_delivery", "_headers", "_sent", "_value")

    _sent: object
    """What other processes get of the value, in a copy that `_carrying()` made. Most payloads have none."""

    def __init__(
        self,
        value: T,
        delivery: Delivery = _BROADCAST,
        keys: Sequence[str] | None = None,
        topics: Sequence[str] | None = None,
        priority: float | None = None,
    ) -> None:
        self._value = value
        self._delivery = delivery
        self._headers = NO_HEADERS
        if keys is not None or topics is not None or priority is not None or delivery is not _BROADCAST:
            self._address(delivery, keys, topics, priority)

    def _address(self, delivery: Delivery, keys: Any, topics: Any, priority: Any) -> None:
        _check_delivery(delivery)
        keys = None if keys is None else to_strings("Payload keys", keys)
        topics = None if topics is None else to_strings("Payload topics", topics)
        if delivery is _BROADCAST:
            self._delivery = _implied_delivery(keys, topics)
        else:
            _check_contradiction(delivery, keys, topics)
        self._headers = Headers(keys or (), topics or (), _checked_priority(priority))

    @property
    def value(self) -> T:
        """The value; read-only."""
        return self._value

    @property
    def delivery(self) -> Delivery:
        """Who receives the payload."""
        return self._delivery

    @delivery.setter
    def delivery(self, delivery: Delivery) -> None:
        _check_delivery(delivery)
        self._delivery = delivery

    @property
    def keys(self) -> list[str]:
        """Collector keys for KEY delivery, which a broadcast payload gets when they are assigned."""
        return list(self._headers.keys)

    @keys.setter
    def keys(self, keys: Sequence[str]) -> None:
        self._update_headers(keys=to_strings("Payload keys", keys))
        if self._headers.keys and self._delivery is _BROADCAST:
            self._delivery = Delivery.KEY

    @property
    def topics(self) -> list[str]:
        """Topics for TOPIC delivery, which a broadcast payload gets when they are assigned."""
        return list(self._headers.topics)

    @topics.setter
    def topics(self, topics: Sequence[str]) -> None:
        self._update_headers(topics=to_strings("Payload topics", topics))
        if self._headers.topics and self._delivery is _BROADCAST:
            self._delivery = Delivery.TOPIC

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
            ConfigError: as for the arguments of Payload; keys or topics are given for BROADCAST. Nothing has changed.
        """
        _check_delivery(delivery)
        headers = self._headers
        new_keys = headers.keys if keys is None else to_strings("Payload keys", keys)
        new_topics = headers.topics if topics is None else to_strings("Payload topics", topics)
        _check_contradiction(
            delivery,
            new_keys if keys is not None or delivery is Delivery.KEY else None,
            new_topics if topics is not None or delivery is Delivery.TOPIC else None,
        )
        self._update_headers(keys=new_keys, topics=new_topics)
        self._delivery = delivery

    def set_priority(self, priority: float | None) -> None:
        """Change the priority; events already sent keep theirs.

        Raises:
            ConfigError: `priority` is not a number or is NaN.
        """
        self.priority = priority

    def _carrying(self, sent: object) -> "Payload[T]":
        """Return a copy that carries what other processes get of the value."""
        if type(self) is Payload:  # faster
            carrier = Payload(self._value)
            carrier._delivery, carrier._headers = self._delivery, self._headers
        else:
            carrier = copy(self)
        carrier._sent = sent
        return carrier

    def _update_headers(self, **headers: Any) -> None:
        self._headers = replace(self._headers, **headers)

    def __repr__(self) -> str:
        return (
            f"<Payload value={self._value!r} delivery={self.delivery.name} keys={self.keys}"
            f" topics={self.topics} priority={self.priority}>"
        )


def holds_payloads(value: object) -> bool:
    """Return whether a value that was sent is a list of payloads, which belongs to `send_many()`."""
    return isinstance(value, (list, tuple)) and bool(value) and isinstance(value[0], Payload)
