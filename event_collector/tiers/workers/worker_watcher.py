"""Who watches the worker processes of a queue closely. Nobody does unless a viewer asks for details."""

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from event_collector.remote.codec import Parts
from event_collector.values.results import Result

Encode: TypeAlias = Callable[..., Parts]
"""Does what `encode_payload()` does."""

Decode: TypeAlias = Callable[[Any, Any], Result[Any]]
"""Takes the body and the blob of a reply."""


class TimedTier(Protocol):
    """The worker processes, as far as the time of encoding is concerned."""

    def encode_with(self, encode: Encode | None, /) -> None:
        """Have events encoded by another function; None: by `encode_payload()`."""
