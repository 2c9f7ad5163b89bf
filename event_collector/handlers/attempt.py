"""Attempts: the failed attempts of a collector with an event, and the payload of the next attempt."""

from copy import copy
from typing import Any

import msgspec

from event_collector.values.payload import Payload


class Attempt(msgspec.Struct, frozen=True):
    """The failed attempts of one collector with one event."""

    made: int = 0
    error: str = ""
    """Class and message of the last exception."""
    crashes: int = 0
    """Number of attempts that ended their worker process."""


def later(payload: Payload[Any], attempt: Attempt) -> Payload[Any]:
    """Return a copy of the payload for the next attempt; the sender may send the original elsewhere."""
    again = copy(payload)
    again._update_headers(attempt=attempt.made + 1, last_error=attempt.error if attempt.made else None)
    return again
