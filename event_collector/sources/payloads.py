"""Payloads of messages: JSON of the type that the collectors declare."""

from collections.abc import Callable, Iterable
from copy import copy
from typing import Any

from event_collector.encoding.coding import PLAIN_CODING
from event_collector.handlers.collector import Collector, common_payload_type
from event_collector.sources.source import BrokerMessage
from event_collector.values.json_values import JsonDecoder
from event_collector.values.payload import Payload


class MessageTooLong(ValueError):
    """A message exceeds the allowed length."""


class JsonPayloads:
    """Decodes JSON of at most `max_bytes` into the collectors' payload type. Raises UnknownType if msgspec cannot."""

    def __init__(self, collectors: Iterable[Collector], max_bytes: int) -> None:
        self._decode = JsonDecoder(common_payload_type(collectors), "message", PLAIN_CODING.convert)
        self._max_bytes = max_bytes

    def __call__(self, message: BrokerMessage) -> Payload[Any]:
        """Return the payload. Raises MessageTooLong, InvalidJSON or PayloadTypeError; the text says where."""
        if len(message.data) > self._max_bytes:
            raise MessageTooLong(f"message {message.place} is longer than {self._max_bytes} bytes")
        return Payload(self._decode(message.data, message.place))


def from_message(to_payload: Callable[[BrokerMessage], Payload[Any]], message: BrokerMessage) -> Payload[Any]:
    """Return the payload of a message, with the message id and the number of the delivery."""
    payload = copy(to_payload(message))  # `to_payload` may return one object several times
    payload._update_headers(message_id=message.id, attempt=max(1, message.deliveries))
    return payload
