"""Who watches the worker processes of a queue closely. Nobody does unless a viewer asks for details."""

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from event_collector.remote.codec import Parts
from event_collector.values.results import Result
from event_collector_workers.pool.job_watch import JobWatcher

Decode: TypeAlias = Callable[[Any, Any], Result[Any]]
"""Takes the body and the blob of a reply."""


class WorkerWatcher(JobWatcher, Protocol):
    """Is told of the jobs that end, and takes the time of some events on their way to a worker and back."""

    def encode(self, payload: Any, owner: Any, number: int, /, **options: Any) -> Parts:
        """Do what `encode_payload()` does."""

    def decoder_of(self, key: str, decode: Decode) -> Decode:
        """Return what does the same as `decode`, which decodes the replies of the collector with this key."""
