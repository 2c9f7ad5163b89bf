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

    def ended(self, chunk: "ValueChunk", place: int, results: Any, seconds: list[float], size: int, /) -> None:
        """Take the results of consecutive values, the first one at this place in the chunk.

        `size` is the number of bytes of these values, or of the results if they have more.
        """

    def failed(self, chunk: "ValueChunk", place: int, result: Result[Any], seconds: float, /) -> None:
        """Take the Error of one value."""

    def returned(self, chunk: "ValueChunk", place: int, values: list[Any], /) -> None:
        """Take the values from this place on back: no worker has begun them."""

    def refused(self, chunk: "ValueChunk", error: BaseException, /) -> None:
        """End the values without a result with an error: the pool cannot run them."""


class ChunkCodec(Protocol):
    """Encodes the values of chunks for one collector, and decodes their outcomes."""

    def encode(self, values: list[Any], *, index: int, first_id: int, priority: float | None) -> bytes:
        """Encode values; see `ValueChunk` for their attributes."""

    def payload(self, value: Any, index: int, priority: float | None) -> Payload[Any]:
        """Return the payload of one value. Raise ValueError or TypeError if it has none."""

    def error(self, error: BaseException, value: Any, index: int, priority: float | None) -> Result[Any]:
        """Return the Error of one value."""

    def all(self, outcomes: bytes, count: int, known: int) -> Any:
        """Return the results of handlers that succeeded but the first `known`; None if a value does not have the type.

        They have the length of their number.
        """

    def each(self, outcomes: bytes, count: int) -> list[Result[Any] | BaseException]:
        """Return these results, with an exception in place of each that does not have the type."""


class ValueCodec:
    """The codec of values."""

    def __init__(self, task: "CollectorTask") -> None:
        collector = task.collector
        self._task = task
        self._encode = ItemsEncoder(collector.payload_type)
        outcomes = OutcomesDecoder(collector.result_type, collector.key, task.decoder)
        self._all, self.each = outcomes.all, outcomes.each

    def encode(self, values: list[Any], *, index: int, first_id: int, priority: float | None) -> bytes:
        """Encode values. Raise if one cannot be encoded."""
        return self._encode(values, first_id, priority)

    def payload(self, value: Any, index: int, priority: float | None) -> Payload[Any]:
        """Return the payload of one value."""
        return Payload(value, Delivery.KEY, (self._task.key,), priority=priority)

    def error(self, error: BaseException, value: Any, index: int, priority: float | None) -> Result[Any]:
        """Return the Error of one value."""
        return self._task.failed(error, self.payload(value, index, priority))

    def all(self, outcomes: bytes, count: int, known: int) -> list[Result[Any]] | None:
        """Return the results; None if a value does not have the type."""
        results = self._all(outcomes, count)
        return results[known:] if known and results is not None else results


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
        codec: ChunkCodec,
        values: list[Any],
        owner: ChunkOwner,
        *,
        index: int,
        first_id: int,
        priority: float | None,
        created: float,
    ) -> None:
        body = codec.encode(values, index=index, first_id=first_id, priority=priority)
        super().__init__(task.number, body, len(values))
        self.limit = task.limit
        self.of, self._codec, self.owner, self.values = task, codec, owner, values
        self.index, self.first_id, self.priority, self.created = index, first_id, priority, created
        self.value_size = len(body) / len(values)

    def payload_of(self, place: int) -> Payload[Any]:
        """Return the payload of one of the values."""
        return self._codec.payload(self.values[place], self.index + place, self.priority)

    def error_of(self, error: BaseException, place: int) -> Result[Any]:
        """Return the Error of one of the values."""
        return self._codec.error(error, self.values[place], self.index + place, self.priority)

    def items_ended(self, outcomes: bytes, seconds: list[float], known: int) -> None:
        """Take the results of handlers that succeeded."""
        count, codec = len(seconds), self._codec
        first = self.taken - count + known
        results = codec.all(outcomes, count, known)
        if results is not None:
            self._ended(first, results, seconds[known:] if known else seconds, len(outcomes) * len(results) // count)
            return
        each = codec.each(outcomes, count)[known:]
        for place, (result, elapsed) in enumerate(zip(each, seconds[known:], strict=True), first):
            if isinstance(result, BaseException):
                self.owner.failed(self, place, self.error_of(result, place), elapsed)
            else:
                self._ended(place, [result], [elapsed], 0)

    def _ended(self, place: int, results: Any, seconds: list[float], size: int) -> None:
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
