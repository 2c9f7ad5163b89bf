"""The feed of one stream: values that wait for a chunk, and the chunks in the pool."""

import asyncio
from bisect import insort
from collections import deque
from collections.abc import Callable
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from event_collector.dispatch.chunk_size import JOBS_PER_WORKER, chunk_size, values_ahead
from event_collector.events.event import DEFAULT_PRIORITY, CollectorEvent
from event_collector.events.event_ids import event_ids
from event_collector.values.clock import clock
from event_collector.values.errors import EventCancelled
from event_collector.values.payload import Delivery, Payload
from event_collector.values.results import Error, Result

if TYPE_CHECKING:
    from event_collector.dispatch.chunks import Chunks
    from event_collector.handlers.collector import Collector
    from event_collector.tiers.workers.line_codec import ReadLine
    from event_collector.tiers.workers.value_chunks import ValueChunk


class Sink(Protocol):
    """What gets the results of a stream."""

    def put(self, index: int, results: Any, /) -> None:
        """Take the results of consecutive values, the first one at this place in the stream.

        They are a list of results; those of lines are a `LineResults` if no line failed.
        """


class Run(NamedTuple):
    """Consecutive values of a stream that wait."""

    start: int
    """The place of the first one in the stream."""
    values: list[Any]
    created: float
    """When they were accepted."""


class ChunkFeed:
    """Cuts the values of a stream into chunks, as many as workers have room for.

    Args:
        chunks: the place of the values.
        collector: runs in worker processes, perhaps only for now.
        priority: of the payloads.
        most: values in a chunk; None for a measured size.
        sink: gets the results.
        read_line: if the values are lines of JSON, returns the payload of the line with a number, which is its place
            plus 1, or raises ValueError or TypeError. Their results are `LineResults`, or lists with one Error.
    """

    def __init__(
        self,
        chunks: "Chunks",
        collector: "Collector",
        priority: float | None,
        most: int | None,
        sink: Sink,
        read_line: "ReadLine | None" = None,
    ) -> None:
        self.collector = collector
        self._chunks, self._priority, self._most, self._sink = chunks, priority, most, sink
        self._read_line = read_line
        self._fresh: deque[Run] = deque()
        self._returned: list[Run] = []
        self._waiting = 0  # values in both
        self._jobs: dict[ValueChunk, None] = {}
        self._events: set[CollectorEvent] = set()
        self.pace = chunks.add(self)
        self._is_withdrawn = self._is_submit_due = self._is_forgotten = False

    # From the stream

    @property
    def ahead(self) -> int:
        """Number of values that keep the workers busy."""
        tier = self._chunks.tier_of(self.collector)
        return values_ahead(self.pace, 1 if tier is None else max(1, tier.size)) if self._most is None else 0

    @property
    def unstarted(self) -> int:
        """Values that wait, here or in the pool. Each job has one in its handler."""
        return self._waiting + sum(max(0, job.count - job.taken - 1) for job in self._jobs)

    def put(self, index: int, values: list[Any]) -> None:
        """Accept values, the first one at this place in the stream. Raises QueueShutDown."""
        self._chunks.accept(len(values))
        self._fresh.append(Run(index, values, clock.now()))
        self._waiting += len(values)
        self.submit()

    def withdraw(self) -> None:
        """End the values that no handler has begun, and drop the results of the others."""
        self._is_withdrawn = True
        self.end_waiting(_cancelled)
        tier = self._chunks.tier_of(self.collector)
        for job in tuple(self._jobs):
            if tier is not None and tier.recall(job):
                tier.cancel(job)
        for event in tuple(self._events):
            event.cancel(running=False)
        self._forget_if_done()

    # From the place of all feeds

    def submit(self) -> None:
        """Give workers as many chunks as they have room for."""
        self._is_submit_due = False
        chunks = self._chunks
        if self._waiting and not chunks.is_open(self.collector):
            self.dissolve()
        tier = chunks.tier_of(self.collector)
        while self._waiting and tier is not None and not chunks.has_to_wait(self.collector):
            workers = max(1, tier.size)
            if len(self._jobs) >= JOBS_PER_WORKER * workers or not chunks.may_submit(tier):
                return
            self._submit(self._cut(chunk_size(self.pace, self._waiting, workers, self._most)))

    def dissolve(self) -> None:
        """Send the values that wait on as events: the collector runs elsewhere now."""
        while self._waiting:
            self._as_events(self._cut(self._waiting))

    def end_waiting(self, error_of: Callable[[], Exception]) -> None:
        """End the values that wait, each with a new error."""
        while self._waiting:
            run = self._cut(self._waiting)
            self._chunks.leave_places(len(run.values))
            self._end_unstarted(run.start, len(run.values), error_of)

    # Chunks

    def _cut(self, count: int) -> Run:
        """Remove and return up to `count` values that wait: consecutive ones, returned ones before others."""
        source: deque[Run] | list[Run] = self._returned or self._fresh
        start, _, created = source[0]
        values: list[Any] = []
        while source and (left := count - len(values)) and source[0].start == start + len(values):
            run = source[0]
            values += run.values[:left]
            if left < len(run.values):
                source[0] = Run(run.start + left, run.values[left:], run.created)
            else:
                del source[0]
        self._waiting -= len(values)
        return Run(start, values, created)

    def _submit(self, run: Run) -> None:
        chunks, values = self._chunks, run.values
        tier = chunks.tier_of(self.collector)
        if tier is None:
            return
        about = {"index": run.start, "priority": self._priority, "created": run.created}
        try:
            first_id = event_ids.take(len(values))
            job = tier.make_chunk(self.collector, values, self, self._read_line, first_id=first_id, **about)
        except Exception:  # as events, those that can be encoded are; the others end with an error
            self._as_events(run)
            return
        self._jobs[job] = None
        chunks.begin(self.collector, len(values))
        tier.submit_chunk(job)

    def _as_events(self, run: Run) -> None:
        for index, value in enumerate(run.values, run.start):
            try:
                payload = self._payload(index, value)
            except (ValueError, TypeError) as exc:  # of a line
                self._chunks.leave_places(1)
                self._end_unstarted(index, 1, partial(_same, exc))
                continue
            self._chunks.release_as_event(self._event(event_ids.next(), index, payload, run.created))

    def _payload(self, index: int, value: Any) -> Payload[Any]:
        if self._read_line is not None:
            return self._read_line(index + 1, value)
        return Payload(value, Delivery.KEY, (self.collector.key,))

    def _event(self, event_id: int, index: int, payload: Payload[Any], created: float) -> CollectorEvent:
        def pass_on(event: CollectorEvent) -> None:
            self._events.discard(event)
            self._pass_on(index, [event.get_result().only()])  # type: ignore[union-attr]  # it is done
            self._forget_if_done()

        event = CollectorEvent(event_id, payload, DEFAULT_PRIORITY, created)
        event.on_done(pass_on)
        self._events.add(event)
        return event

    def _pass_on(self, index: int, results: Any) -> None:
        if not self._is_withdrawn:
            self._sink.put(index, results)

    def _end_unstarted(self, index: int, count: int, error_of: Callable[[], Exception]) -> None:
        self._chunks.end_unstarted(count)
        self._pass_on(index, [Error(error_of(), key=self.collector.key) for _ in range(count)])

    # ChunkOwner

    def ended(self, chunk: "ValueChunk", place: int, results: Any, seconds: list[float], size: int) -> None:
        """Take results of a chunk."""
        self._chunks.finish(self.collector, seconds, clock.now() - chunk.created)
        self.pace = self.pace.measured(len(results), sum(seconds), size)
        self._pass_on(chunk.index + place, results)
        self._leave_if_over(chunk)

    def failed(self, chunk: "ValueChunk", place: int, result: Result[Any], seconds: float) -> None:
        """Take the Error of one value. With `retry=` it goes on as an event."""
        if self.collector.retry is None or self._is_withdrawn:
            self.collector.usage.failed()
            self._chunks.note_failed(chunk.first_id + place, result)
            self._chunks.finish(self.collector, [seconds], clock.now() - chunk.created)
            self._pass_on(chunk.index + place, [result])
        else:
            payload = chunk.payload_of(place)
            event = self._event(chunk.first_id + place, chunk.index + place, payload, chunk.created)
            self._chunks.retry(self.collector, event, result, seconds)
        self._leave_if_over(chunk)

    def returned(self, chunk: "ValueChunk", place: int, values: list[Any]) -> None:
        """Take values back, and submit them again, perhaps in smaller chunks."""
        index, refusal = chunk.index + place, self._chunks.refusal_of
        if self._is_withdrawn or refusal is not None:
            self._end_unstarted(index, len(values), refusal or _cancelled)
        else:
            self._chunks.take_back(len(values))
            insort(self._returned, Run(index, values, chunk.created), key=_index_of)
            self._waiting += len(values)
        self._leave_if_over(chunk)

    def refused(self, chunk: "ValueChunk", error: BaseException) -> None:
        """End the values that the pool cannot run."""
        place, count = chunk.taken, chunk.count
        if self._is_withdrawn:
            self._end_unstarted(chunk.index + place, count - place, _cancelled)
        else:
            for at in range(place, count):
                self.failed(chunk, at, chunk.error_of(copy(error), at), 0.0)
        if self._jobs.pop(chunk, chunk) is None:
            self._chunks.leave(self.collector)
        self._forget_if_done()

    def _leave_if_over(self, chunk: "ValueChunk") -> None:
        """Note that no value of a chunk is left, as soon as that is so: from then on none of them is in a handler."""
        if chunk.taken >= chunk.count and chunk in self._jobs:
            del self._jobs[chunk]
            self._chunks.leave(self.collector)
            self._forget_if_done()
        self._plan_submit()

    def _plan_submit(self) -> None:
        """Submit what waits in the next turn of the loop: the pool is about to do its own work."""
        if self._waiting and not self._is_submit_due:
            self._is_submit_due = True
            asyncio.get_running_loop().call_soon(self.submit)

    def _forget_if_done(self) -> None:
        if self._is_withdrawn and not (self._jobs or self._events or self._waiting or self._is_forgotten):
            self._is_forgotten = True
            self._chunks.forget(self)

    def __repr__(self) -> str:
        return (
            f"<ChunkFeed {self.collector.key} {self._waiting} values wait, {len(self._jobs)} chunks in the pool, "
            f"{len(self._events)} events, {self.pace}>"
        )


def _cancelled() -> Exception:
    return EventCancelled("the event was cancelled before it was in a handler")


def _same(error: Exception) -> Exception:
    return error


def _index_of(run: Run) -> int:
    return run.start
