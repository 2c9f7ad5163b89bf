"""JSON from outside: values of a type, or an error that says what does not fit and where."""

from typing import Any

import msgspec

from event_collector.values.errors import PayloadTypeError

__all__ = ["InvalidJSON", "JsonDecoder", "UnknownType"]


class InvalidJSON(ValueError):
    """What came from outside is not JSON."""


class UnknownType(TypeError):
    """The payload type is nothing that JSON can be decoded into."""


class JsonDecoder:
    """Makes values of JSON.

    Args:
        payload_type: what every value must be: a type that msgspec knows, or Any.
        noun: what the JSON is, for errors, in the singular: "line".

    Raises:
        UnknownType: msgspec cannot decode into the type.

    """

    def __init__(self, payload_type: Any, noun: str) -> None:
        try:
            self._decode = msgspec.json.Decoder(payload_type).decode
        except TypeError as exc:
            raise UnknownType(f"{noun}s cannot be decoded into {payload_type!r}: {exc}") from None
        self._noun = noun

    def __call__(self, data: bytes, name: object) -> Any:
        """Return the value; `name` tells the JSON from others, in errors.

        Raises:
            InvalidJSON, PayloadTypeError: there is none; the message says where.

        """
        try:
            return self._decode(data)
        except msgspec.ValidationError as exc:
            raise PayloadTypeError(f"{self._noun} {name} does not fit the payload type: {exc}") from None
        except (msgspec.DecodeError, UnicodeError, RecursionError) as exc:
            raise InvalidJSON(f"{self._noun} {name} is not JSON: {exc}") from None
