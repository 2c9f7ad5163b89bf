"""The events of one executor of processes: queued per collector, or in a task of the executor.

        run() -> queue of the collector -> batch -> one task of the executor -> replies -> run()

Events wait while the executor has enough tasks to be busy, and then travel together in the next batch. A single event
is submitted at once, and a burst in few tasks.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import msgspec

from event_collector.handlers.collector import Collector
from event_collector.handlers.running_event import running_id
from event_collector.remote.batch_host import BatchReply, decode_reply
from event_collector.remote.codec import ReplyDecoder
from event_collector.remote.fidelity import Fidelity
from event_collector.remote.remote_exceptions import presentable
from event_collector.remote.sent_value import encode_sent
from event_collector.remote.setup import seal
from event_collector.tiers.executors.batching import BATCH_BYTES, DEPTH, capacity_of, next_limit, size_of_batch
from event_collector.tiers.executors.executor_adapter import ExecutorAdapter
from event_collector.tiers.failed_calls import copy_of, travels_alone
from event_collector.values.clock import clock
from event_collector.values.errors import EncodeError
from event_collector.values.payload import Payload
from event_collector_workers.pool_errors import WorkerCrashed

if TYPE_CHECKING:
    from concurrent.futures import Future

GRACE: Final = 60.0
"""Seconds that a task may take beyond the timeouts of its events, to open its collector. A later task is stuck, since
the process itself ends a handler that exceeds its timeout."""


@dataclass(slots=True, eq=False)
class _QueuedEvent:
    """An event, or a batch of them for a batch handler, that waits or is in a task."""

    body: bytes
    outcome: "asyncio.Future[tuple[bytes, float]]"
    alone: bool


class BatchQueue:
    """The events of one collector that wait for a task."""

    def __init__(self, collector: Collector, feed: "ExecutorFeed") -> None:
        self.collector, self.feed = collector, feed
        self.setup = seal(collector, shares_main=feed.adapter.shares_main)
        self.name = f"{collector.key}-{sha256(self.setup).hexdigest()[:16]}{feed.adapter.tag}"
        self.limit = 1
        self.waiting: deque[_QueuedEvent] = deque()
        self._fidelity = Fidelity(collector.payload_type)
        self._decode = ReplyDecoder(collector.result_type, collector.key)

    async def run(self, payload: Payload[Any]) -> Any:
        """Process a payload and return the outcome of its handler."""
        collector = self.collector
        body, _ = encode_sent(payload, collector, running_id(), inline=True, fidelity=self._fidelity)
        collector.usage.began()
        try:
            reply, _ = await self.exchange(body, alone=travels_alone(payload))
            return self._decode(reply, None)
        finally:
            collector.usage.left()

    async def exchange(self, body: bytes, *, alone: bool = False) -> tuple[bytes, float]:
        """Have a body processed, `alone` in its task or not; return the reply, and the seconds in the handler."""
        entry = _QueuedEvent(body, asyncio.get_running_loop().create_future(), alone)
        self.waiting.append(entry)
        try:
            self.feed.wake()
            return await entry.outcome
        except asyncio.CancelledError:
            if entry.outcome.cancelled():
                self.feed.withdraw()
            raise

    def take(self, free: int | None) -> list[_QueuedEvent]:
        """Return the events of the next task; none if all that waited were withdrawn."""
        most = size_of_batch(len(self.waiting), free, self.limit)
        batch: list[_QueuedEvent] = []
        size = 0
        while self.waiting and len(batch) < most:
            entry = self.waiting[0]
            if entry.outcome.done():
                self.waiting.popleft()
                continue
            size += len(entry.body)
            if batch and (entry.alone or size > BATCH_BYTES):
                break
            batch.append(self.waiting.popleft())
            if entry.alone:
                break
        return batch

    def adapt(self, events: int, seconds: float) -> None:
        """Adapt the limit to a task that had so many events, whose handlers took so long."""
        self.limit = next_limit(self.limit, events, seconds, self.feed.adapter.latency)

    def took(self, seconds: float) -> None:
        """Count the time of an event in the handler; `BatchTier` counts those of a batch handler."""
        if self.collector.batch is None:
            self.collector.usage.took(seconds)

    def put_back(self, entries: Sequence[_QueuedEvent]) -> None:
        """Have events that a task has not begun wait again, before all others."""
        self.waiting.extendleft(reversed(entries))

    def fail(self, entries: Sequence[_QueuedEvent], error: BaseException) -> None:
        """End events with an error, which may be any that an executor of the application has."""
        for entry in entries:
            if not entry.outcome.done():
                self.took(0.0)
                entry.outcome.set_exception(presentable(copy_of(error)))


@dataclass(slots=True, eq=False)
class _Batch:
    """Events in one task."""

    queue: BatchQueue
    entries: list[_QueuedEvent]
    future: "Future[bytes] | None"
    timer: asyncio.TimerHandle | None = None

    def cancel(self) -> None:
        """Withdraw the task. A task that runs continues, and its reply is dropped."""
        self._stop_timer()
        if self.future is not None:
            self.future.cancel()

    def end(self) -> "Future[bytes] | None":
        """Stop the timer, and return the task."""
        self._stop_timer()
        # Breaks a cycle of batch and future, which would keep the result in memory, with Dask even in its worker.
        future, self.future = self.future, None
        return future

    def start_timer(self, timer: asyncio.TimerHandle) -> None:
        """Set the timer that gives the task up."""
        self.timer = timer

    def _stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()


class ExecutorFeed:
    """Feeds one executor. All of it happens in the thread of the event loop, except `_notify()`."""

    def __init__(self, adapter: ExecutorAdapter) -> None:
        self.adapter = adapter
        self._queues: list[BatchQueue] = []
        self._turn = 0
        self._in_flight: dict[_Batch, None] = {}  # in the order of their submission
        self._is_due = self._has_orphans = False
        self._refreshing: asyncio.Task[None] | None = None

    def add(self, collector: Collector) -> BatchQueue:
        """Return the queue of another collector."""
        self._queues.append(BatchQueue(collector, self))
        return self._queues[-1]

    @property
    def capacity(self) -> int:
        """Number of events that the executor can use at once; 0 if its size is unknown."""
        return capacity_of(self.adapter.slots or 0, max(queue.limit for queue in self._queues))

    async def open(self) -> None:
        """Prepare the executor."""
        self._loop = asyncio.get_running_loop()
        await self.adapter.open({queue.name: queue.setup for queue in self._queues})

    async def close(self) -> None:
        """Release the executor."""
        for batch in list(self._in_flight):  # all of them orphans, since their events have ended
            batch.cancel()
        self._in_flight.clear()
        if self._refreshing is not None:
            self._refreshing.cancel()
            self._refreshing = None
        await self.adapter.close()

    def wake(self) -> None:
        """Submit queued events at the end of this turn of the loop, all of them together."""
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._send_all)

    def withdraw(self) -> None:
        """Cancel tasks without a live event at the end of this turn of the loop. One event has just been withdrawn."""
        self._has_orphans = True
        self.wake()

    def __repr__(self) -> str:
        waiting = {queue.collector.key: len(queue.waiting) for queue in self._queues}
        executor = type(self.adapter.executor).__name__
        return (
            f"<ExecutorFeed of {executor}: {self.adapter.slots} slots, {len(self._in_flight)} tasks, queued={waiting}>"
        )

    def _send_all(self) -> None:
        self._is_due = False
        if self._has_orphans:
            self._withdraw_orphans()
        slots = self.adapter.slots
        while (queue := self._next_queue()) is not None:
            free = None if slots is None else slots * DEPTH - len(self._in_flight)
            if free is not None and free <= 0:
                break
            if entries := queue.take(free):
                self._send(queue, entries)
        self._limit_time()
        # The size of an executor that may change is read while tasks are in flight.
        if self.adapter.refresh_interval is not None and self._in_flight and self._refreshing is None:
            refreshing = self._refresh(self.adapter.refresh_interval)
            self._refreshing = self._loop.create_task(refreshing, name="executor refresh")

    def _withdraw_orphans(self) -> None:
        self._has_orphans = False
        for batch in list(self._in_flight):
            if all(entry.outcome.done() for entry in batch.entries):
                batch.cancel()

    def _next_queue(self) -> BatchQueue | None:
        """Return a queue with events, in rotation."""
        for _ in self._queues:
            self._turn = (self._turn + 1) % len(self._queues)
            if self._queues[self._turn].waiting:
                return self._queues[self._turn]
        return None

    def _send(self, queue: BatchQueue, entries: list[_QueuedEvent]) -> None:
        bodies = [entry.body for entry in entries]
        try:
            future = self.adapter.submit(queue.name, queue.setup, bodies, queue.collector.timeout)
            batch = _Batch(queue, entries, future)
            future.add_done_callback(lambda _: self._notify(batch))
        except (Exception, asyncio.CancelledError) as exc:  # the executor accepts no tasks, or returned no future
            queue.fail(entries, self.adapter.explain(exc, queue.collector.key))
        else:
            self._in_flight[batch] = None

    def _notify(self, batch: _Batch) -> None:
        """Called in a thread of the executor."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._ended, batch)

    def _ended(self, batch: _Batch) -> None:
        queue, key = batch.queue, batch.queue.collector.key
        self._in_flight.pop(batch, None)
        future = batch.end()
        self.wake()
        try:
            if future is None or future.cancelled():
                queue.fail(batch.entries, self.adapter.lost(key))
            elif (error := future.exception()) is not None:
                queue.fail(batch.entries, self.adapter.explain(error, key))
            else:
                self._settle(queue, batch.entries, _decode(future.result(), len(batch.entries), key))
        except (Exception, asyncio.CancelledError) as exc:  # no reply of a collector, or an odd future
            queue.fail(batch.entries, exc)

    def _settle(self, queue: BatchQueue, entries: list[_QueuedEvent], reply: BatchReply) -> None:
        ran = len(reply.replies)
        if reply.begun_by:
            crashed = WorkerCrashed(
                f"collector {queue.collector.key!r}: the worker {reply.begun_by} ended, or was given up, in the task "
                f"with this event: the event may have taken effect"
            )
            queue.fail(entries, crashed)
            return
        queue.adapt(ran, sum(reply.seconds))
        for entry, answer, seconds in zip(entries, reply.replies, reply.seconds, strict=False):
            queue.took(seconds)
            if not entry.outcome.done():
                entry.outcome.set_result((answer, seconds))
        queue.put_back(entries[ran:])

    async def _refresh(self, interval: float) -> None:
        while self._in_flight:
            await asyncio.sleep(interval)
            await self.adapter.refresh()
            self.wake()
        self._refreshing = None

    def _limit_time(self) -> None:
        """Start the timers of tasks that should run by now."""
        for _, batch in zip(range(self.adapter.slots or len(self._in_flight)), self._in_flight, strict=False):
            timeout = batch.queue.collector.timeout
            if timeout is not None and batch.timer is None:
                bound = timeout * len(batch.entries) + clock.source.patience(GRACE)
                batch.start_timer(self._loop.call_later(bound, self._give_up, batch))

    def _give_up(self, batch: _Batch) -> None:
        late = batch.queue.collector.timeout_error()
        late.add_note("its process did not answer")
        batch.queue.fail(batch.entries, late)
        batch.cancel()


def _decode(answer: Any, events: int, key: str) -> BatchReply:
    """Decode and check the reply to a batch. Raises EncodeError."""
    try:
        reply = decode_reply(answer)
        ran = len(reply.replies)
        if ran != len(reply.seconds) or not (reply.begun_by or 1 <= ran <= events):
            raise ValueError(f"{ran} replies to {events} events")
    except (msgspec.MsgspecError, TypeError, ValueError) as exc:
        raise EncodeError(f"collector {key!r}: its executor returned no reply of a collector: {exc}") from exc
    return reply
