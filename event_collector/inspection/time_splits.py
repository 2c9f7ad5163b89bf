"""Where the time of a sample of events goes: in the queue, in the codec, on the way to a worker, in the handler."""

from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from event_collector.handlers.stack_frames import hide_modules
from event_collector.remote.codec import Parts, encode_payload
from event_collector.tiers.workers.event_jobs import CollectorTask
from event_collector.tiers.workers.exchangeable import Encode
from event_collector.values.clock import clock
from event_collector.values.results import Result
from event_collector.watching.details import TimeSplit
from event_collector_workers.job import Job

if TYPE_CHECKING:
    from collections.abc import Callable

    from event_collector.dispatch.dispatcher import Dispatcher
    from event_collector.events.event import CollectorEvent
    from event_collector.handlers.collector import Collector
    from event_collector.tiers.workers.worker_tier import WorkerTier

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


class TimedSupply:
    """Stands before the workers, and notes which events they are given."""

    def __init__(self, workers: "WorkerTier", note: "Callable[[list[tuple[CollectorEvent, Collector]]], None]") -> None:
        self._workers, self._note = workers, note

    @property
    def room(self) -> int:
        """How many more events the workers can take now."""
        return self._workers.room

    @property
    def is_idle(self) -> bool:
        """Whether a worker would begin with an event at once."""
        return self._workers.is_idle

    def submit(self, batch: "list[tuple[CollectorEvent, Collector]]") -> None:
        """Give events to the workers."""
        self._note(batch)
        self._workers.submit(batch)


class TimeSplits:
    """Takes the time of a sample of events, by collector.

    An event on its way to a worker is timed in passing: once enough events have been answered, what encodes the next
    one, hands it out or decodes its reply is exchanged for what takes the time too, and exchanged back by that.

    Attributes:
        pending: when an event was handed to the workers, by id and collector: of events in the sample.
    """

    def __init__(self) -> None:
        self._parts: dict[str, _Parts] = {}
        self.pending: dict[tuple[int, str], float] = {}
        self._stride = self._to_next = 1  # events until the next one in the sample
        self._dispatcher: Dispatcher | None = None
        self._workers: WorkerTier | None = None
        self._decoding: CollectorTask | None = None  # whose decoder is exchanged

    def __repr__(self) -> str:
        return f"<TimeSplits of {len(self._parts)} collectors, {len(self.pending)} events pending>"

    def follow(self, dispatcher: "Dispatcher", workers: "WorkerTier | None") -> None:
        """Take the time of events on their way to these workers; None: no longer."""
        if workers is None:
            self._encode_with(None)
            self._end_supply()
        self._dispatcher, self._workers = dispatcher, workers
        self._begin()

    def _begin(self) -> None:
        """Take the time of the next event that is encoded, and of the next that is handed out."""
        dispatcher, workers = self._dispatcher, self._workers
        if dispatcher is not None and workers is not None:
            self._encode_with(self.encode)
            if dispatcher.supply is not None:
                dispatcher.supply.give_to(TimedSupply(workers, self._handed_out))

    def _encode_with(self, encode: Encode | None) -> None:
        if self._dispatcher is not None and self._workers is not None:
            self._dispatcher.sent_values.encode_with(encode)
            self._workers.encode_with(encode)

    def _end_supply(self) -> None:
        if self._dispatcher is not None and self._workers is not None and self._dispatcher.supply is not None:
            self._dispatcher.supply.give_to(self._workers)

    def _handed_out(self, batch: "list[tuple[CollectorEvent, Collector]]") -> None:
        now = clock.now()
        if self._stride > 1:
            self._end_supply()
            batch = batch[:1]
        for event, collector in batch:
            self.pending[event.id, collector.key] = now
        while len(self.pending) > MOST_PENDING:
            del self.pending[next(iter(self.pending))]

    def sample_one_of(self, stride: int) -> None:
        """Set the stride. A stride of 1 takes the time of every event."""
        self._stride = stride
        self._to_next = min(self._to_next, stride)

    def entered(self, jobs: list[Job]) -> None:
        """Note that these jobs are about to receive their outcomes."""
        self._to_next -= len(jobs)
        if self._to_next <= 0:
            self._to_next = self._stride
            self._begin()
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

        Return when it was handed out; None if it is not in the sample.
        """
        at = self.pending.pop((event, key), None)
        if at is not None:
            parts = self._of(key)
            parts.handler.add(seconds)
            parts.transit.add(max(0.0, now - at - seconds))
        return at

    def encode(self, payload: Any, owner: Any, number: int, **options: Any) -> Parts:
        """Do what `encode_payload()` does, and take the time."""
        if self._stride > 1:
            self._encode_with(None)
        began = perf_counter()
        parts = encode_payload(payload, owner, number, **options)
        self._of(owner.key).encode.add(perf_counter() - began)
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
