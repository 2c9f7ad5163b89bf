"""The events of one executor: those that wait in the lines of its collectors, those in its tasks.

        run() -> line of the collector -> batch -> one task of the executor -> replies -> run()

A line waits while the executor has all the tasks that it needs to be busy; what gathers meanwhile goes out as the next
batch. So an event alone travels at once, and a flood in tasks that are worth their price.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from copy import copy
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import msgspec

from event_collector.handlers.collector import Collector
from event_collector.handlers.running_event import running_id
from event_collector.remote.batch_host import BatchReply, decode_reply
from event_collector.remote.codec import ReplyDecoder, encode_payload
from event_collector.remote.setup import seal
from event_collector.tiers.executors.batching import BATCH_BYTES, DEPTH, next_limit, room_for, size_of_batch
from event_collector.tiers.executors.executor_adapter import ExecutorAdapter
from event_collector.values.errors import EncodeError, HandlerTimeout
from event_collector.values.payload import Payload
from event_collector_workers.pool_errors import WorkerCrashed

if TYPE_CHECKING:
    from concurrent.futures import Future

GRACE: Final = 60.0
"""Seconds that a task may take beyond the timeouts of its events, to open its collector for one. After it the process
itself must be stuck, since it ends a handler over its time by itself."""

_SUSPECTS: Final = (f"{WorkerCrashed.__name__}:", f"{HandlerTimeout.__name__}:")
"""How the last attempt of an event ended that travels alone now: whatever was with it would share its fate."""


class _QueuedEvent:
    """An event that waits, or is in a task."""

    __slots__ = ("alone", "body", "outcome")

    def __init__(self, body: bytes, outcome: "asyncio.Future[bytes]", alone: bool) -> None:
        self.body, self.outcome, self.alone = body, outcome, alone


class Line:
    """The events of one collector that wait for a task."""

    def __init__(self, collector: Collector, feed: "ExecutorFeed") -> None:
        self.collector, self.feed = collector, feed
        self.setup = seal(collector, shares_main=feed.adapter.shares_main)
        self.name = f"{collector.key}-{sha256(self.setup).hexdigest()[:16]}{feed.adapter.tag}"
        self.limit = 1
        self.waiting: deque[_QueuedEvent] = deque()
        self._decode = ReplyDecoder(collector.result_type, collector.key)

    async def run(self, payload: Payload[Any]) -> Any:
        """Have an event processed, and return the outcome of its handler."""
        collector = self.collector
        body, _ = encode_payload(payload, collector.key, running_id(), inline=True)
        entry = _QueuedEvent(body, asyncio.get_running_loop().create_future(), _is_suspect(payload))
        self.waiting.append(entry)
        collector.usage.began()
        try:
            self.feed.wake()
            return self._decode(await entry.outcome, None)
        except asyncio.CancelledError:
            if entry.outcome.cancelled():
                self.feed.withdraw()
            raise
        finally:
            collector.usage.left()

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


class _Batch:
    """Events in one task."""

    __slots__ = ("entries", "future", "line", "timer")

    def __init__(self, line: Line, entries: list[_QueuedEvent], future: "Future[bytes]") -> None:
        self.line, self.entries = line, entries
        self.future: Future[bytes] | None = future
        self.timer: asyncio.TimerHandle | None = None

    def cancel(self) -> None:
        """Withdraw the task; a process that is in it runs on, unheard."""
        self.stop_timer()
        if self.future is not None:
            self.future.cancel()

    def stop_timer(self) -> None:
        """It has come back, or nobody waits any more."""
        if self.timer is not None:
            self.timer.cancel()


class ExecutorFeed:
    """What one executor has to do. All of it happens in the thread of the event loop."""

    def __init__(self, adapter: ExecutorAdapter) -> None:
        self.adapter = adapter
        self._lines: list[Line] = []
        self._turn = 0
        self._flying: dict[_Batch, None] = {}  # in the order of their submission
        self._is_due = self._has_orphans = False
        self._refreshing: asyncio.Task[None] | None = None

    def add(self, collector: Collector) -> Line:
        """Return the line of another collector."""
        line = Line(collector, self)
        self._lines.append(line)
        return line

    @property
    def slots(self) -> int | None:
        """How many tasks the executor runs at once; None if it does not tell."""
        return self.adapter.slots

    @property
    def room(self) -> int:
        """How many more events the executor can use; none where it does not tell."""
        slots = self.adapter.slots
        if slots is None:
            return 0
        in_hand = sum(line.collector.usage.running for line in self._lines)
        return room_for(slots, max(line.limit for line in self._lines), in_hand)

    async def open(self) -> None:
        """Make the executor ready."""
        self._loop = asyncio.get_running_loop()
        await self.adapter.open({line.name: line.setup for line in self._lines})

    async def close(self) -> None:
        """Let go of the executor."""
        for batch in list(self._flying):  # all of them orphans: what waited for them has ended
            batch.cancel()
        self._flying.clear()
        if self._refreshing is not None:
            self._refreshing.cancel()
            self._refreshing = None
        await self.adapter.close()

    def wake(self) -> None:
        """There is something to send; all of this turn of the loop goes together."""
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._send_all)

    def withdraw(self) -> None:
        """An event was withdrawn, perhaps one of many: tasks that nobody waits for will be, too."""
        self._has_orphans = True
        self.wake()

    def _withdraw_orphans(self) -> None:
        self._has_orphans = False
        for batch in list(self._flying):
            if all(entry.outcome.done() for entry in batch.entries):
                batch.cancel()

    def _send_all(self) -> None:
        self._is_due = False
        if self._has_orphans:
            self._withdraw_orphans()
        slots = self.adapter.slots
        while (line := self._next_line()) is not None:
            free = None if slots is None else slots * DEPTH - len(self._flying)
            if free is not None and free <= 0:
                break
            if entries := line.take(free):
                self._send(line, entries)
        self._watch()
        self._keep_fresh()

    def _next_line(self) -> Line | None:
        """Return a line where events wait; each has its turn."""
        for _ in self._lines:
            self._turn = (self._turn + 1) % len(self._lines)
            if self._lines[self._turn].waiting:
                return self._lines[self._turn]
        return None

    def _send(self, line: Line, entries: list[_QueuedEvent]) -> None:
        bodies = [entry.body for entry in entries]
        try:
            future = self.adapter.submit(line.name, line.setup, bodies, line.collector.timeout)
        except Exception as exc:  # it takes no more tasks
            _fail(line, entries, self.adapter.explain(exc, line.collector.key))
            return
        batch = _Batch(line, entries, future)
        self._flying[batch] = None
        future.add_done_callback(lambda _: self._tell(batch))

    def _tell(self, batch: _Batch) -> None:
        """Called by a thread of the executor."""
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._ended, batch)

    def _ended(self, batch: _Batch) -> None:
        line, key = batch.line, batch.line.collector.key
        self._flying.pop(batch, None)
        batch.stop_timer()
        # The future knows the batch. As a cycle they would live on for a while, and with Dask the result in its worker.
        future, batch.future = batch.future, None
        self.wake()
        if future is None or future.cancelled():
            _fail(line, batch.entries, self.adapter.lost(key))
        elif (error := future.exception()) is not None:
            _fail(line, batch.entries, self.adapter.explain(error, key))
        else:
            try:
                reply = _checked(future.result(), len(batch.entries), key)
            except EncodeError as exc:
                _fail(line, batch.entries, exc)
            else:
                self._take_in(batch, reply, key)

    def _take_in(self, batch: _Batch, reply: BatchReply, key: str) -> None:
        line, ran = batch.line, len(reply.replies)
        if reply.begun_by:
            _fail(line, batch.entries, _crashed(key, reply.begun_by))
            return
        line.limit = next_limit(line.limit, ran, sum(reply.seconds), self.adapter.latency)
        for entry, answer, seconds in zip(batch.entries, reply.replies, reply.seconds, strict=False):
            line.collector.usage.took(seconds)
            if not entry.outcome.done():
                entry.outcome.set_result(answer)
        line.waiting.extendleft(reversed(batch.entries[ran:]))

    # Executors that grow and shrink

    def _keep_fresh(self) -> None:
        """See to it that the number of slots is looked up now and then, while there is work."""
        interval = self.adapter.refresh_interval
        if interval is not None and self._flying and self._refreshing is None:
            self._refreshing = self._loop.create_task(self._refresh(interval), name="executor refresh")

    async def _refresh(self, interval: float) -> None:
        while self._flying:
            await asyncio.sleep(interval)
            await self.adapter.refresh()
            self.wake()
        self._refreshing = None

    # Processes that do not answer

    def _watch(self) -> None:
        """Give tasks that should run by now a time by which they have to be back."""
        for _, batch in zip(range(self.adapter.slots or len(self._flying)), self._flying, strict=False):
            timeout = batch.line.collector.timeout
            if timeout is not None and batch.timer is None:
                bound = timeout * len(batch.entries) + GRACE
                batch.timer = self._loop.call_later(bound, self._give_up, batch)

    def _give_up(self, batch: _Batch) -> None:
        late = batch.line.collector.timeout_error()
        late.add_note("its process did not answer")
        _fail(batch.line, batch.entries, late)
        batch.cancel()


def _is_suspect(payload: Payload[Any]) -> bool:
    return payload.attempt > 1 and (payload.last_error or "").startswith(_SUSPECTS)


def _checked(answer: Any, events: int, key: str) -> BatchReply:
    """Return the reply of a batch of so many events.

    Raises:
        EncodeError: it is none.

    """
    try:
        reply = decode_reply(answer)
        ran = len(reply.replies)
        if ran != len(reply.seconds) or not (reply.begun_by or 1 <= ran <= events):
            raise ValueError(f"{ran} replies to {events} events")
    except (msgspec.MsgspecError, TypeError, ValueError) as exc:
        raise EncodeError(f"collector {key!r}: its executor answered what is no reply of a collector: {exc}") from exc
    return reply


def _crashed(key: str, worker: str) -> WorkerCrashed:
    return WorkerCrashed(
        f"collector {key!r}: the worker {worker} ended, or was given up, in the task with this event: the event may "
        f"have taken effect"
    )


def _fail(line: Line, entries: Sequence[_QueuedEvent], error: BaseException) -> None:
    for entry in entries:
        if not entry.outcome.done():
            line.collector.usage.took(0.0)
            entry.outcome.set_exception(_another(error))


def _another(error: BaseException) -> BaseException:
    """Return an error that says the same: one that is raised for many events would keep every traceback."""
    try:
        again = copy(error)
    except Exception:
        return error
    if type(again) is not type(error) or str(again) != str(error):
        return error
    again.__cause__ = error.__cause__
    return again.with_traceback(error.__traceback__)
