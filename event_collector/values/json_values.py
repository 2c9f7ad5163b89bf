"""JSON: input of files and brokers, decoded into a type, and values that are written."""

import json
from collections.abc import Callable
from typing import Any

import msgspec

from event_collector.values.errors import PayloadTypeError

BOM = b"\xef\xbb\xbf"
"""The byte order mark that some programs write before UTF-8. RFC 8259, section 8.1, lets a parser ignore it."""
_encode = msgspec.json.Encoder().encode


class InvalidJSON(ValueError):
    """The input is not JSON."""


class UnknownType(TypeError):
    """msgspec cannot decode JSON into the payload type."""


class JsonDecoder:
    """Decodes JSON into a type; raises UnknownType if msgspec does not support it.

    `noun` is the kind of input in error messages, singular, such as "line". `convert` makes objects of classes that
    msgspec leaves to its `dec_hook`.
    """

    def __init__(self, payload_type: Any, noun: str, convert: Callable[[Any, Any], Any] | None = None) -> None:
        try:
            self._decode = msgspec.json.Decoder(payload_type, dec_hook=convert).decode
        except TypeError as exc:
            raise UnknownType(f"{noun}s cannot be decoded into {payload_type!r}: {exc}") from None
        self._noun = noun

    def __call__(self, data: bytes, name: object) -> Any:
        """Return the decoded value. `name` identifies the input in error messages, which contain the position.

        Raise InvalidJSON if `data` is not JSON, PayloadTypeError if the value does not have the type.
        """
        try:
            return self._decode(data.removeprefix(BOM))
        except msgspec.ValidationError as exc:
            raise PayloadTypeError(f"{self._noun} {name} does not fit the payload type: {exc}") from None
        except (msgspec.DecodeError, UnicodeError, RecursionError) as exc:
            hint = "; it looks like UTF-16: convert it to UTF-8" if b"\0" in data else ""
            raise InvalidJSON(f"{self._noun} {name} is not JSON: {exc}{hint}") from None


def encode_json(value: Any) -> bytes:
    """Return a value as JSON in one line.

    Raises ValueError for NaN and infinity, of which msgspec makes null, and what msgspec raises for other values that
    JSON does not have.
    """
    encoded = _encode(value)
    if b"null" in encoded:
        try:
            json.dumps(msgspec.to_builtins(value, str_keys=True, enc_hook=msgspec.json.decode), allow_nan=False)
        except ValueError:
            raise ValueError("JSON has no NaN and no infinity: return None or a string instead") from None
    return encoded
