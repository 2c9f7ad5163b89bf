"""Attempts: what the collectors of an event have tried so far, and what is kept of it for the next attempt."""

from copy import copy
from typing import Any

import msgspec

from event_collector.values.payload import Payload

__all__ = ["Attempt", "later"]


class Attempt(msgspec.Struct, frozen=True):
    """How far one collector has come with one event.

    Attributes:
        made: attempts that were made, and failed.
        error: how the last one failed, as text: the class of the exception and what it says.
        crashes: how many of them ended their worker process.

    """

    made: int = 0
    error: str = ""
    crashes: int = 0


def later(payload: Payload[Any], attempt: Attempt) -> Payload[Any]:
    """Return the payload for the attempt after this one, a copy: one that was sent may be sent elsewhere, too."""
    again = copy(payload)
    again._update_headers(attempt=attempt.made + 1, last_error=attempt.error if attempt.made else None)
    return again
