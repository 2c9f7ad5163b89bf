"""Functions of the process tier that an inspection exchanges for some that take the time."""

from collections.abc import Callable
from typing import Any, TypeAlias

from event_collector.remote.codec import Parts
from event_collector.values.results import Result

Encode: TypeAlias = Callable[..., Parts]
"""Does what `encode_payload()` does."""

Decode: TypeAlias = Callable[[Any, Any], Result[Any]]
"""Takes the body and the blob of a reply."""
