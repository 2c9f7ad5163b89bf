"""Chunks of values as jobs of the worker pool, and their outcomes as results."""

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from event_collector.remote.item_codec import ItemsEncoder, OutcomesDecoder
from event_collector.values.payload import Delivery, Payload
from event_collector.values.results import Result
from event_collector_workers.job import Buffer, ChunkJob

if TYPE_CHECKING:
    from event_collector.tiers.workers.event_jobs import CollectorTask


class ChunkOwner(Protocol):
    """What has the values of a chunk, and gets their results in order."""

    def ended(
        self, chunk: "ValueChunk", place: int, results: list[Result[Any]], seconds: list[float], size: int, /
    ) -> None:
        """Take the results of consecutive values, the first one at this place in the chunk.

        `size` is the number of bytes of these values, or of the results if they have more.
        """

    def failed(self, chunk: "ValueChunk", place: int, result: Result[Any], seconds: float, /) -> None:
        """Take the Error of one value."""

    def returned(self, chunk: "ValueChunk", place: int, values: list[Any], /) -> None:
        """Take the values from this place on back: no worker has begun them."""

    def refused(self, chunk: "ValueChunk", error: BaseException, /) -> None:
        """End the values without a result with an error: the pool cannot run them."""


class ValueCodec:
    """Encodes the values of chunks for one collector, and decodes their outcomes."""

    def __init__(self, task: "CollectorTask") -> None:
        collector = task.collector
        self.encode = ItemsEncoder(collector.payload_type)
        self.outcomes = OutcomesDecoder(collector.result_type, collector.key, task.decode)


class ValueChunk(ChunkJob):
    """Values of a stream that go to a collector in one job. Raises EncodeError, or what a value raises, if one cannot.

    Attributes:
        index: place of the first value in the stream.
        first_id: id of the event that the first value would be.
        created: when the first value was accepted, by the clock of the queues.
    """

    __slots__ = ("_codec", "created", "first_id", "index", "of", "owner", "priority", "value_size", "values")

    def __init__(
        self,
        task: "CollectorTask",
        codec: ValueCodec,
        values: list[Any],
        owner: ChunkOwner,
        *,
        index: int,
        first_id: int,
        priority: float | None,
        created: float,
    ) -> None:
        body = codec.encode(values, first_id, priority)
        super().__init__(task.number, body, len(values))
        self.limit = task.limit
        self.of, self._codec, self.owner, self.values = task, codec, owner, values
        self.index, self.first_id, self.priority, self.created = index, first_id, priority, created
        self.value_size = len(body) / len(values)

    def payload_of(self, place: int) -> Payload[Any]:
        """Return the payload of one of the values."""
        return Payload(self.values[place], Delivery.KEY, (self.of.key,), priority=self.priority)

    def error_of(self, error: BaseException, place: int) -> Result[Any]:
        """Return the Error of one of the values."""
        return self.of.failed(error, self.payload_of(place))

    def items_ended(self, outcomes: bytes, seconds: list[float], known: int) -> None:
        """Take the results of handlers that succeeded."""
        count, decoder = len(seconds), self._codec.outcomes
        first = self.taken - count + known
        results = decoder.all(outcomes, count)
        if results is not None:
            fresh, times = (results[known:], seconds[known:]) if known else (results, seconds)
            self._ended(first, fresh, times, len(outcomes) * len(fresh) // count)
            return
        each = decoder.each(outcomes, count)[known:]
        for place, (result, elapsed) in enumerate(zip(each, seconds[known:], strict=True), first):
            if isinstance(result, BaseException):
                self.owner.failed(self, place, self.error_of(result, place), elapsed)
            else:
                self._ended(place, [result], [elapsed], 0)

    def _ended(self, place: int, results: list[Result[Any]], seconds: list[float], size: int) -> None:
        self.owner.ended(self, place, results, seconds, max(size, int(self.value_size * len(results))))

    def item_answered(self, body: Buffer, blob: bytes | None, seconds: float) -> None:
        """Take the outcome of one handler, which may be an exception."""
        place = self.taken - 1
        try:
            result = self.of.decode(body, blob)
        except (Exception, asyncio.CancelledError) as exc:
            result = self.error_of(exc, place)
        if result.is_error:
            self.owner.failed(self, place, result, seconds)
        else:
            self._ended(place, [result], [seconds], len(body) + len(blob or b""))

    def item_failed(self, error: BaseException, seconds: float) -> None:
        """Take the error of a value whose worker has died."""
        place = self.taken - 1
        self.owner.failed(self, place, self.error_of(self.of.explain(error), place), seconds)

    def given_back(self, first: int) -> None:
        """Return values that have not begun."""
        values, self.values = self.values[first:], self.values[:first]
        self.owner.returned(self, first, values)

    def failed(self, error: BaseException, elapsed: float) -> None:
        """Take an error of the pool."""
        self.owner.refused(self, self.of.explain(error))
