"""Payloads of messages: JSON of the type that the collectors ask for."""

from collections.abc import Callable, Iterable
from copy import copy
from typing import Any

from event_collector.handlers.collector import Collector, common_payload_type
from event_collector.sources.source import Message
from event_collector.values.json_values import JsonDecoder
from event_collector.values.payload import Payload

__all__ = ["JsonPayloads", "MessageTooLong", "from_message"]


class MessageTooLong(ValueError):
    """A message is longer than allowed."""


class JsonPayloads:
    """Makes payloads of messages whose data is JSON.

    Args:
        collectors: they say which type the values have.
        max_bytes: longer messages are refused.

    Raises:
        UnknownType: JSON cannot be decoded into the type.

    """

    def __init__(self, collectors: Iterable[Collector], max_bytes: int) -> None:
        self._decode = JsonDecoder(common_payload_type(collectors), "message")
        self._max_bytes = max_bytes

    def __call__(self, message: Message) -> Payload[Any]:
        """Return the payload.

        Raises:
            MessageTooLong, InvalidJSON, PayloadTypeError: there is none; the text says where in the message.

        """
        if len(message.data) > self._max_bytes:
            raise MessageTooLong(f"message {message.place} is longer than {self._max_bytes} bytes")
        return Payload(self._decode(message.data, message.place))


def from_message(to_payload: Callable[[Message], Payload[Any]], message: Message) -> Payload[Any]:
    """Return the payload of a message, which tells its id and the number of its delivery."""
    payload = copy(to_payload(message))  # that may be one that it gives more than once
    payload._update_headers(message_id=message.id, attempt=max(1, message.deliveries))
    return payload
