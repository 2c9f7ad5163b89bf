"""Where the time of a sample of events goes: in the queue, in the codec, on the way to a worker, in the handler."""

from functools import partial
from time import perf_counter
from typing import Any, Final

from event_collector.handlers.stack_frames import hide_modules
from event_collector.remote.codec import Parts, encode_payload
from event_collector.tiers.workers.event_jobs import CollectorTask
from event_collector.tiers.workers.worker_watcher import TimedTier
from event_collector.values.clock import clock
from event_collector.values.results import Result
from event_collector.watching.details import TimeSplit
from event_collector_workers.job import Job

MOST_PENDING: Final = 10_000
"""Events in the sample that are with workers. One that is cancelled there never leaves, so the oldest makes room."""


class _Mean:
    """The mean of a sample."""

    __slots__ = ("count", "total")

    def __init__(self) -> None:
        self.count, self.total = 0, 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.total += seconds

    def value(self) -> float | None:
        return self.total / self.count if self.count else None


class _Parts:
    """The parts of one collector's time since the last look."""

    def __init__(self) -> None:
        self.queued, self.encode, self.transit, self.handler, self.decode = (_Mean() for _ in range(5))

    def split(self, key: str) -> TimeSplit:
        return TimeSplit(
            collector=key,
            samples=self.handler.count,
            queued=self.queued.value(),
            encode=self.encode.value(),
            transit=self.transit.value(),
            handler=self.handler.value(),
            decode=self.decode.value(),
        )


class TimeSplits:
    """Takes the time of a sample of events, by collector.

    An event on its way to a worker is timed in passing: once enough events have been answered, the function that
    encodes the next one is exchanged for `encode()`, which exchanges it back; so is that which decodes the next reply.

    Attributes:
        pending: when the encoding of an event began, and its seconds, by id and collector: of events in the sample.
    """

    def __init__(self) -> None:
        self._parts: dict[str, _Parts] = {}
        self.pending: dict[tuple[int, str], tuple[float, float]] = {}
        self._stride = self._to_next = 1  # events until the next one in the sample
        self._tier: TimedTier | None = None
        self._decoding: CollectorTask | None = None  # whose decoder is exchanged

    def __repr__(self) -> str:
        return f"<TimeSplits of {len(self._parts)} collectors, {len(self.pending)} events pending>"

    def follow(self, tier: TimedTier | None) -> None:
        """Take the time of events on their way to this tier."""
        if self._tier is not None:
            self._tier.encode_with(None)
        self._tier = tier
        if tier is not None:
            tier.encode_with(self.encode)

    def sample_one_of(self, stride: int) -> None:
        """Set the stride. A stride of 1 takes the time of every event."""
        self._stride = stride
        self._to_next = min(self._to_next, stride)

    def entered(self, jobs: list[Job]) -> None:
        """Note that these jobs are about to receive their outcomes."""
        self._to_next -= len(jobs)
        if self._to_next <= 0 and self._tier is not None:
            self._to_next = self._stride
            self._tier.encode_with(self.encode)
            task = getattr(jobs[0], "of", None)
            if isinstance(task, CollectorTask):
                self._decoding = task
                task.decode_with(partial(self.decode, task))

    def left(self) -> None:
        """Note that they have received them."""
        if self._decoding is not None:
            self._decoding.decode_with(None)
            self._decoding = None

    def look(self) -> list[TimeSplit]:
        """Return the means since the last look, of collectors that have any."""
        parts, self._parts = self._parts, {}
        return [one.split(key) for key, one in parts.items()]

    def waited(self, key: str, seconds: float) -> None:
        """Add the wait of a first attempt for its handler."""
        self._of(key).queued.add(max(0.0, seconds))

    def ran(self, key: str, seconds: float) -> None:
        """Add an attempt that has ended in the handler."""
        self._of(key).handler.add(seconds)

    def answered(self, key: str, event: int, seconds: float, now: float) -> float | None:
        """Add an event that was in the handler of a worker for so many seconds, if it is in the sample.

        Return when it was encoded; None if it is not in the sample.
        """
        handed = self.pending.pop((event, key), None)
        if handed is None:
            return None
        at, encoding = handed
        parts = self._of(key)
        parts.handler.add(seconds)
        parts.encode.add(encoding)
        parts.transit.add(max(0.0, now - at - encoding - seconds))
        return at

    def encode(self, payload: Any, owner: Any, number: int, **options: Any) -> Parts:
        """Do what `encode_payload()` does, and take the time."""
        if self._stride > 1 and self._tier is not None:
            self._tier.encode_with(None)
        at, began = clock.now(), perf_counter()
        parts = encode_payload(payload, owner, number, **options)
        self.pending[number, owner.key] = at, perf_counter() - began
        if len(self.pending) > MOST_PENDING:
            del self.pending[next(iter(self.pending))]
        return parts

    def decode(self, task: CollectorTask, body: Any, blob: Any) -> Result[Any]:
        """Do what the decoder of a collector does, and take the time."""
        if self._stride > 1:
            task.decode_with(None)
        began = perf_counter()
        try:
            return task.decoder(body, blob)
        finally:
            self._of(task.key).decode.add(perf_counter() - began)

    def _of(self, key: str) -> _Parts:
        parts = self._parts.get(key)
        if parts is None:
            parts = self._parts[key] = _Parts()
        return parts


hide_modules(__name__)
