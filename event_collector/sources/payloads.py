"""Payloads of messages: JSON of the type that the collectors ask for."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from event_collector.collector import Collector, common_payload_type
from event_collector.data import Payload
from event_collector.json_values import JsonDecoder
from event_collector.sources.source import Message

__all__ = ["JsonPayloads", "MessagePayload", "MessageTooLong", "from_message"]

T = TypeVar("T")


class MessageTooLong(ValueError):
    """A message is longer than allowed."""


class MessagePayload(Payload[T]):
    """A payload that knows which message it came in: what is encoded for a worker process tells it, too."""

    __slots__ = ()


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
        return MessagePayload(self._decode(message.data, message.place))


def from_message(to_payload: Callable[[Message], Payload[Any]], message: Message) -> Payload[Any]:
    """Return the payload of a message, which tells its id and the number of its delivery."""
    payload = to_payload(message)
    if not isinstance(payload, MessagePayload):
        payload = MessagePayload(
            payload.value, payload.delivery, payload.keys, payload.topics, payload.priority
        )
    payload._message_id = message.id
    if message.deliveries > 1:
        payload._attempt = message.deliveries
    return payload
