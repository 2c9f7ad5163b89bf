"""Chunks: values of streams that go to worker processes many in one job, without an event for each.

    ChunkFeed.put() --> waiting --> job in the pool --> results
                           ^             |
                           '-- returned -'         the failed ones with `retry=`, and those that cannot travel in a
                           '--> event -----------> chunk, go on as events

A value counts as an event from `put()` on. A job has one permit: its worker runs one value at a time, and the others
wait. At every instant the values of this place that are neither waiting nor running have results.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from event_collector.dispatch.chunk_size import ValuePace
from event_collector.dispatch.ending import Ending
from event_collector.dispatch.permits import Permits
from event_collector.dispatch.totals import Totals
from event_collector.events.backlog import Backlogs
from event_collector.events.event import CollectorEvent
from event_collector.events.gate import Gate
from event_collector.values.payload import Delivery, Payload
from event_collector.values.refusals import QueueShutDown, fresh_copy
from event_collector.values.results import Result

if TYPE_CHECKING:
    from event_collector.handlers.collector import Collector
    from event_collector.handlers.delivery import DeliveryPlan
    from event_collector.tiers.workers.value_chunks import ChunkOwner, ValueChunk


class ChunkTier(Protocol):
    """The worker processes, as chunks see them."""

    @property
    def room(self) -> int:
        """Number of jobs that workers can take now."""

    @property
    def size(self) -> int:
        """Number of workers that are ready."""

    @property
    def takes_chunks(self) -> bool:
        """Whether workers take values in lists."""

    def make_chunk(
        self, collector: "Collector", values: list[Any], owner: "ChunkOwner", read_line: Any, **about: Any
    ) -> "ValueChunk":
        """Encode values; or lines of JSON, with what reads one."""

    def submit_chunk(self, chunk: "ValueChunk") -> None:
        """Hand values to a worker."""

    def recall(self, job: Any) -> bool:
        """Take a job back from its worker, as far as it has not begun; return whether it waits now."""

    def cancel(self, job: Any) -> bool:
        """Withdraw a job that waits."""


class ValueFeed(Protocol):
    """The values of one stream, as all of them are seen here."""

    collector: "Collector"
    pace: ValuePace
    """What is known of the values."""

    @property
    def unstarted(self) -> int:
        """Values that wait, here or in the pool."""

    def submit(self) -> None:
        """Give workers as many chunks as they have room for."""

    def dissolve(self) -> None:
        """Send the values that wait on as events."""

    def end_waiting(self, error_of: Callable[[], Exception]) -> None:
        """End the values that wait, each with a new error."""


class Chunks:
    """The place of values that travel in chunks, and the books of all feeds of one queue.

    Args:
        totals, permits, gate, ending: count, bound and end what is in the queue.
        backlogs: events that wait.
        requeue: queues a value as an event, for a worker group or for none.
        wake: called before values are accepted.

    Attributes:
        values: accepted values that have no result and are no events.
        jobs: jobs in the pool, each with a permit.
        feeds: of streams that have values here, or may get some.
        is_allowed: whether the queue has no feature that concerns each value by itself: an order other than FIFO, a
            journal.
    """

    def __init__(
        self,
        totals: Totals,
        permits: Permits,
        gate: Gate,
        ending: Ending,
        backlogs: Backlogs,
        requeue: Callable[[CollectorEvent, str | None], None],
        wake: Callable[[], None],
    ) -> None:
        self.values = self.jobs = 0
        self.is_allowed = False
        self._totals, self._permits, self._gate, self._ending = totals, permits, gate, ending
        self._backlogs, self._requeue, self._wake = backlogs, requeue, wake
        self._tiers: Mapping[str, ChunkTier] = {}  # of each worker group; none while the queue does not run
        self._plan: DeliveryPlan | None = None
        self._refusal: QueueShutDown | None = None
        self.feeds: list[ValueFeed] = []
        self._paces: dict[Collector, ValuePace] = {}  # of the streams that have ended last
        self._are_first = False

    @property
    def waiting(self) -> int:
        """Values in no handler. Each job has one in its handler, although others of it may have begun by now."""
        return self.values - self.jobs

    # Start and stop

    def allow(self, allowed: bool) -> None:
        """Set whether the queue may use chunks at all."""
        self.is_allowed = allowed and not self._gate.drops

    def open(self, tiers: Mapping[str, Any], plan: "DeliveryPlan") -> None:
        """Begin to use the worker processes of all groups."""
        self._tiers, self._refusal = tiers, None
        self.follow(plan)

    def follow(self, plan: "DeliveryPlan") -> None:
        """Deliver by another plan from now on."""
        self._plan = plan
        for feed in self.feeds:
            if not self.is_open(feed.collector):
                feed.dissolve()

    def give_up(self, error: QueueShutDown) -> None:
        """End the values that wait, and those that workers will return."""
        self._refusal = error
        for feed in tuple(self.feeds):
            feed.end_waiting(lambda: fresh_copy(error))

    def close(self) -> None:
        """Stop. No value may be left."""
        self._tiers, self._plan = {}, None
        self._paces.clear()

    # Feeds

    def add(self, feed: ValueFeed) -> ValuePace:
        """Add the feed of a stream. Return what earlier streams tell of its values."""
        self.feeds.append(feed)
        return self._paces.get(feed.collector, ValuePace()).resumed()

    def forget(self, feed: ValueFeed) -> None:
        """Remove a feed that has no values left, and gets no more."""
        self.feeds.remove(feed)
        self._paces[feed.collector] = feed.pace

    def is_open(self, collector: "Collector") -> bool:
        """Return whether values of this collector may travel in chunks now."""
        tier = self.tier_of(collector)
        if not self.is_allowed or tier is None or self._plan is None or not tier.takes_chunks:
            return False
        return self._plan.sole_remote(Payload(None, Delivery.KEY, (collector.key,))) is collector

    @property
    def is_bounded(self) -> bool:
        """Whether each value needs a place in the queue, for which its sender has to wait."""
        return self._gate.is_bounded

    async def wait_for_place(self) -> None:
        """Take a place in a bounded queue, when there is one. Raises QueueShutDown."""
        if self.is_bounded:  # else it would wait for a turn of the loop, of which there may be none
            await self._gate.wait()

    def tier_of(self, collector: "Collector") -> ChunkTier | None:
        """Return the worker processes of a collector; None while the queue does not run."""
        return self._tiers.get(collector.worker_group)

    def may_submit(self, tier: ChunkTier) -> bool:
        """Return whether workers have room for another job, with a permit that is taken then."""
        return tier.room > 0 and self._permits.free() > 0

    def has_to_wait(self, collector: "Collector") -> bool:
        """Return whether events wait for the same workers, and it is not the turn of chunks; see `hand_out()`."""
        return not self._are_first and bool(self._backlogs.of_groups[collector.worker_group].order)

    def waiting_for(self, group: str) -> int:
        """Return how many values wait for the workers of one group."""
        return sum(feed.unstarted for feed in self.feeds if feed.collector.worker_group == group)

    def hand_out(self, *, before_events: bool) -> None:
        """Submit what fits. Called before and after events are handed out: which of both goes first alternates."""
        if before_events:
            self._are_first = not self._are_first
            self.feeds.append(self.feeds.pop(0))
        for feed in tuple(self.feeds):
            feed.submit()

    # Books

    def accept(self, count: int) -> None:
        """Count values as accepted. Raises QueueShutDown."""
        self._gate.check()
        self._wake()
        self._totals.accept(count)
        self.values += count

    def begin(self, collector: "Collector", count: int) -> None:
        """Count a job, whose values leave their places in the queue."""
        self._permits.take_many(1)
        self._gate.release(count)
        self.jobs += 1
        collector.usage.began()

    def leave(self, collector: "Collector") -> None:
        """Count a job that has ended."""
        self._permits.give_back()
        self.jobs -= 1
        collector.usage.left()

    def take_back(self, count: int) -> None:
        """Give values their places in the queue again."""
        self._gate.take(count)

    def finish(self, collector: "Collector", seconds: list[float], wait: float) -> None:
        """End values after so many seconds in the handler each; `wait` is the time since they were accepted."""
        self.values -= len(seconds)
        collector.usage.took_many(seconds, wait)
        self._totals.finish_many(seconds, wait)

    def note_failed(self, event_id: int, result: Result[Any]) -> None:
        """Tell of a value that ends with an Error, and has the id of the event that it would be."""
        self._ending.note_failed_value(event_id, result)

    def end_unstarted(self, count: int) -> None:
        """End values that were in no handler."""
        self.values -= count
        self._totals.finish_unstarted(count)

    def leave_places(self, count: int) -> None:
        """Give the places of values back that wait no longer."""
        self._gate.release(count)

    def retry(self, collector: "Collector", event: CollectorEvent, result: Result[Any], seconds: float) -> None:
        """Go on with a value whose attempt has failed as an event, which its policy has tried again or buries."""
        self.values -= 1
        self._permits.take_many(1)
        collector.usage.took(seconds)
        self._ending.ended_many([(event, result, seconds)])

    def release_as_event(self, event: CollectorEvent) -> None:
        """Queue a value that waits as an event."""
        self.values -= 1
        self._requeue(event, None if self._plan is None else self._plan.line_of(event.payload))

    @property
    def refusal_of(self) -> "Callable[[], Exception] | None":
        """What makes the error of a value that is returned now; None if it waits for another worker."""
        refusal = self._refusal
        return None if refusal is None else lambda: fresh_copy(refusal)

    def __repr__(self) -> str:
        return f"<Chunks {self.values} values, {self.jobs} jobs, {len(self.feeds)} streams>"
