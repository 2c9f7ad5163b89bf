"""JSON from files and brokers, decoded into a type."""

from typing import Any

import msgspec

from event_collector.values.errors import PayloadTypeError


class InvalidJSON(ValueError):
    """The input is not JSON."""


class UnknownType(TypeError):
    """msgspec cannot decode JSON into the payload type."""


class JsonDecoder:
    """Decodes JSON into a type; raises UnknownType if msgspec does not support it.

    `noun` is the kind of input in error messages, singular, such as "line".
    """

    def __init__(self, payload_type: Any, noun: str) -> None:
        try:
            self._decode = msgspec.json.Decoder(payload_type).decode
        except TypeError as exc:
            raise UnknownType(f"{noun}s cannot be decoded into {payload_type!r}: {exc}") from None
        self._noun = noun

    def __call__(self, data: bytes, name: object) -> Any:
        """Return the decoded value. `name` identifies the input in error messages, which contain the position.

        Raise InvalidJSON if `data` is not JSON, PayloadTypeError if the value does not have the type.
        """
        try:
            return self._decode(data)
        except msgspec.ValidationError as exc:
            raise PayloadTypeError(f"{self._noun} {name} does not fit the payload type: {exc}") from None
        except (msgspec.DecodeError, UnicodeError, RecursionError) as exc:
            raise InvalidJSON(f"{self._noun} {name} is not JSON: {exc}") from None
