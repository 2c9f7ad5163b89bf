"""The dispatcher: every event from its acceptance to its result, and how many may be in handlers at once.

        accept() -> backlog -> next_event() -> a consumer, or a job for the worker pool -> finish()

At every instant: accepted = finished + in handlers + queued + scheduled + dead. All of it happens in the thread
of the event loop.
"""

import asyncio
import itertools
from asyncio import _get_running_loop
from collections.abc import Callable, Mapping, Sized
from contextvars import Context as ContextVars
from contextvars import copy_context
from sys import exception
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from event_collector.attempt import Attempt, Course
from event_collector.backlog import Backlog, RecordedBacklog, make_backlog, sort_out
from event_collector.capacity import WAIT, Capacity, Turnstile
from event_collector.collector import Collector
from event_collector.consumer import Consumer
from event_collector.consumer_pool import ConsumerPool
from event_collector.data import Error, Payload, ResultList
from event_collector.dead_letters import DeadLetters
from event_collector.delivery import DeliveryPlan
from event_collector.exceptions import ConfigError
from event_collector.metrics import Accounting, Meter
from event_collector.publisher import DEFAULT_PRIORITY, CollectorEvent, QueueType
from event_collector.recorder import Recorder
from event_collector.refusals import QueueShutDown, another
from event_collector.settings import Limits
from event_collector.supervisor import Supervisor
from event_collector.waiting import WaitingEvents
from event_collector_workers.autoscaler import burst_size

if TYPE_CHECKING:
    from collections import deque

__all__ = ["Dispatcher", "JobTier", "reserve_ids"]

SLICE = 0.002
"""Seconds for which events are processed without a turn of the loop: less costs turns, more keeps others waiting."""

ADMITTED = 64
"""How many senders go on in one turn of the loop, of those that wait because a slice was used up. They need not come
to use up the next one, and more would only be woken to wait again."""

_ALWAYS = ("something",)
"""What stands ahead of each event where none may begin within `send()` without further thought."""

_next_id = itertools.count(1).__next__


class JobTier(Protocol):
    """The worker processes, as the dispatcher sees them."""

    @property
    def room(self) -> int:
        """How many more events the workers can take now."""

    def submit(self, event: CollectorEvent, collector: Collector) -> None:
        """Have a worker process the event; its results reach `Dispatcher.finish()`, perhaps within this call."""

    def cancel(self, event: CollectorEvent) -> bool:
        """Withdraw a submitted event, or kill its worker; its results follow. False if it has just ended."""


class Dispatcher(WaitingEvents):
    """Owns the events of one queue.

    Args:
        queue_type: the order in which queued events are taken.
        default_priority: of payloads without a priority, in a PRIORITY queue.
        max_queue_size: how many events may wait; 0 for no bound.
        overflow: what happens when they are as many, "wait", "drop_oldest" or "drop_newest".
        letters: where events go that have failed for good.
        limits: of the number of consumers.
        meter: keeps the times of finished events.

    """

    # More than 30 attributes: without slots Python would look each up in a plain dict.
    __slots__ = (
        "_ahead",
        "_backlog",
        "_capacity",
        "_default_priority",
        "_in_order",
        "_joiners",
        "_loop",
        "_newest_first",
        "_on_activity",
        "_overflow",
        "_pump_due",
        "_push",
        "_refusal",
        "_remote_backlog",
        "_service_times",
        "_slice_ends",
        "_tier",
        "_turnstile",
        "_wait_times",
        "accepted",
        "busy",
        "ceiling",
        "consumers",
        "crowded",
        "direct",
        "finished",
        "idle",
        "limits",
        "peak",
        "plan",
        "recorder",
        "route",
        "service_total",
        "size",
        "supervisor",
        "waits",
    )

    def __init__(
        self,
        *,
        queue_type: QueueType,
        default_priority: float,
        max_queue_size: int,
        overflow: str,
        limits: Limits,
        meter: Meter,
        letters: DeadLetters,
    ) -> None:
        self._in_order = queue_type is QueueType.FIFO
        self._newest_first = queue_type is QueueType.LIFO
        self._default_priority = default_priority if queue_type is QueueType.PRIORITY else None
        self._service_times, self._wait_times = meter.service_times, meter.wait_times
        self._on_activity: Callable[[], None] = _nothing
        self._capacity = Capacity(max_queue_size) if max_queue_size > 0 else None
        self._turnstile = Turnstile()
        # Events for worker processes have a line of their own: they wait for room there, the others need not.
        self._backlog, self._remote_backlog = make_backlog(queue_type), make_backlog(queue_type)
        self._overflow = overflow
        self._push = self._backlog.push
        self._ahead: Sized = _ALWAYS
        self.supervisor = Supervisor(self, letters)
        self._supervised: Supervisor | None = None  # the same, while events that leave handlers concern it
        self.recorder: Recorder | None = None
        self._joiners: dict[asyncio.Future[None], None] = {}
        self._refusal: QueueShutDown | None = None
        self.limits = limits
        self.size = limits.min_consumers if limits.autoscale else limits.max_consumers
        """How many events may be in handlers now."""
        self.ceiling = limits.max_consumers
        """How far the pool may grow at a burst by itself; written by the autoscaler."""
        self.accepted = 0
        self.finished = 0
        """Events that have their results, dead ones included."""
        self.dropped = 0
        self.busy = 0
        self.peak = 0
        """Most events in handlers since the monitor last looked, if the pool had to grow for them."""
        self.service_total = 0.0
        """Seconds that all finished events spent in handlers."""
        self.waits: dict[str | None, deque[float]] | None = None
        """The last events' times from sending to the end, by collector, where there are several."""
        self.idle = True
        """Whether whoever watches the queue rests, to be woken by the next event; the watcher calls `rest()`."""
        self.crowded = self._capacity is not None
        """Whether a sender must wait: a bounded queue always has to be asked, others when a slice is used up."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self.direct: Collector | None = None
        self._tier: JobTier | None = None
        self._slice_ends = 0.0
        self._pump_due = False

    # Start and stop

    def open(
        self,
        loop: asyncio.AbstractEventLoop,
        plan: DeliveryPlan,
        tier: JobTier | None,
        on_activity: Callable[[], None],
    ) -> None:
        """Begin to process events, those already accepted first; `on_activity` is called after each rest."""
        self._loop, self.plan, self._tier, self._on_activity = loop, plan, tier, on_activity
        self._refusal = None
        self.size = self.limits.min_consumers if self.limits.autoscale else self.limits.max_consumers
        self.ceiling = self.limits.max_consumers
        self.direct, self.route = plan.direct, plan.router.handle_event
        self.supervisor.open(loop, plan.collectors, plan.router)
        self._supervised = self.supervisor if self.supervisor.is_needed else None
        self.consumers = ConsumerPool(self, loop)
        if self._in_order and tier is None and self._capacity is None and self.recorder is None:
            self._ahead = self._backlog
        if self.qsize:
            self._notice_activity()
            self.schedule_pump()

    def refuse(self, error: QueueShutDown) -> None:
        """Accept no more events; senders who wait for room fail."""
        self._refusal = error
        self._ahead = _ALWAYS
        self._turnstile.admit(len(self._turnstile))
        if self._capacity is not None:
            self._capacity.refuse(error)
        if self._loop is not None:
            self.supervisor.drain()

    def give_up(self, error: QueueShutDown) -> None:
        """End every event that waits with `error`, and cancel the handlers of the others."""
        self.supervisor.give_up(error)
        for backlog in (self._backlog, self._remote_backlog):
            while backlog:
                event = self._take(backlog)
                self.supervisor.forget(event)
                self.conclude(event, self.supervisor.unanswered(event, another(error)), on_record=False)
        for consumer in self.consumers.busy():
            consumer.cancel_event(another(error))

    def abandon(self, error: QueueShutDown) -> None:
        """End the events of handlers that ignore their cancellation; what these answer is dropped."""
        for consumer in self.consumers.busy():
            event = self.consumers.abandon(consumer)
            self.settle(event, ResultList((Error(another(error)),)), monotonic())

    def is_consumer(self, task: asyncio.Task[Any] | None) -> bool:
        """Return whether the task is a consumer of this queue, and so within a handler."""
        return self._loop is not None and any(consumer.task is task for consumer in self.consumers.busy())

    async def close(self) -> None:
        """End the consumers. No event may be left."""
        await self.consumers.close()
        self.supervisor.close()
        self._loop = self._tier = None
        self._on_activity = _nothing

    # Acceptance

    def accept(self, payload: Any, course: Course | None = None) -> CollectorEvent:
        """Take a payload in and return its event; its handler may run up to its first wait before this returns.

        Raises:
            QueueShutDown: the queue takes no more events.
            ConfigError: it is not a Payload.

        """
        # The fast lane: an event that nothing stands in the way of. The conditions are those of _take_in().
        if (
            not self._ahead
            and course is None
            and isinstance(payload, Payload)
            and (consumer := self.consumers.express) is not None
            and consumer.event is None
            and (now := monotonic()) < self._slice_ends
            and self.busy < self.size
            and _get_running_loop() is self._loop
            and not consumer.parking.done()
            and exception() is None
        ):
            self.accepted += 1
            self.busy += 1
            event = CollectorEvent(_next_id(), payload, DEFAULT_PRIORITY, now, now, self)
            self.consumers.step(consumer, event, copy_context())
            return event
        if self._refusal is not None or not isinstance(payload, Payload):
            self._release_room()
            raise _not_a_payload(payload) if self._refusal is None else another(self._refusal)
        return self._take_in(payload, copy_context(), course)

    def _take_in(
        self, payload: Payload[Any], variables: ContextVars, course: Course | None
    ) -> CollectorEvent:
        """Accept an event; run the first step of its handler now, if that is possible, else queue it."""
        event = CollectorEvent(_next_id(), payload, DEFAULT_PRIORITY, monotonic(), 0.0, self)
        self.accepted += 1
        if self.idle:
            self._notice_activity()
        if course is not None:
            event.course = course
            if self._is_late(event, course):
                return event
        if self._overflow != WAIT:
            self._keep(event, variables)
            if self._is_dropped(event):
                return event
        if self._tier is not None and self.plan.is_remote(payload):
            self._keep(event, variables)
            if self._submit_at_once(event):
                return event
            self._push_remote(event)
            self._submit_jobs()
        elif self._in_order and not self._backlog and (consumer := self._claim_for(event)) is not None:
            event.started = event.created
            self.consumers.step(consumer, event, variables)
            return event
        else:
            self._keep(event, variables)
            self._push(event)
            if event.created >= self._slice_ends:
                self._within_slice(event.created)
        if not self._pump_due:
            self.schedule_pump()
        return event

    def _keep(self, event: CollectorEvent, variables: ContextVars) -> None:
        """Note what an event that is queued needs: its place in the order, and the sender's context variables."""
        if len(variables):
            event.variables = variables
        if self._default_priority is not None:
            priority = event.payload.priority
            event.priority = self._default_priority if priority is None else priority

    def _claim_for(self, event: CollectorEvent) -> Consumer | None:
        """Return the consumer that can run the event's first step within send(); None if it has to be queued."""
        if self._loop is None or exception() is not None:
            return None  # what the sender handles is none of the handler's business
        if _get_running_loop() is not self._loop:  # between two runs of the loop a handler could not wait
            return None
        if event.created >= self._slice_ends and not self._within_slice(event.created):
            return None
        if self.busy >= self.size and not self._grow():
            return None
        consumer = self.consumers.next_up()
        if consumer is not None:
            self.busy += 1
            if self._capacity is not None:
                self._capacity.release()
        return consumer

    def claim_room(self) -> None:
        """Take a place in a bounded queue, at once; QueueFull when there is none."""
        if self._capacity is not None:
            if self._overflow == WAIT:
                self._capacity.claim()
            else:
                self._capacity.take()

    async def wait_for_room(self) -> None:
        """Wait for a place in a bounded queue, or for a turn of the loop after a slice of work."""
        if self._refusal is not None:
            raise another(self._refusal)
        if self._capacity is not None:
            if self._overflow == WAIT:
                await self._capacity.wait()
            else:
                self._capacity.take()
        else:
            await self._turnstile.wait()

    def _release_room(self) -> None:
        if self._capacity is not None:
            self._capacity.release()

    # Dispatch

    def next_event(self) -> CollectorEvent | None:
        """Return the next event for a consumer that is free, as started now; None when it should rest."""
        backlog = self._backlog if self._tier is None else self._next_backlog()
        if not backlog or (self.busy >= self.size and not self._grow()):
            return None
        now = monotonic()
        if now >= self._slice_ends and not self._within_slice(now):
            return None
        self.busy += 1
        if self._capacity is not None:
            self._capacity.release()
        event = backlog.pop()
        event.started = now
        if backlog.gaps:
            backlog.close_gaps()
        return event

    def schedule_pump(self) -> None:
        """Look for work in the next turn of the loop."""
        if not self._pump_due and self._loop is not None:
            self._loop.call_soon(self._pump)
            self._pump_due = True

    def submit_jobs(self) -> None:
        """The workers have room again: give them what waits."""
        self._submit_jobs()
        if self._remote_backlog:
            self.schedule_pump()

    def _pump(self) -> None:
        """Bring events that wait and consumers that are free together. Its run also marks a turn of the loop."""
        self._pump_due = False
        self.crowded = self._capacity is not None or self.recorder is not None
        self._slice_ends = monotonic() + SLICE
        if self._turnstile.admit(ADMITTED):
            self.schedule_pump()
        consumers = self.consumers
        while (consumer := consumers.next_up()) is not None:
            event = self.next_event()
            if event is None:
                return
            variables = event.variables
            consumers.step(consumer, event, ContextVars() if variables is None else variables)
        backlog = self._next_backlog()
        if backlog and (self.busy < self.size or self._grow()):
            limit = self.ceiling if self.limits.autoscale else self.size
            consumers.spawn(min(self.qsize, limit - self.busy))

    def _next_backlog(self) -> Backlog | None:
        """Return the line whose head a consumer should take, after the workers have got what is theirs alone."""
        if self._tier is None:
            return self._backlog
        self._submit_jobs()
        if not self._remote_backlog or self._tier.room <= 0:
            return self._backlog
        return self._remote_backlog if not self._backlog or self._is_remote_first() else self._backlog

    def _submit_jobs(self) -> None:
        """Give the workers the events that are theirs alone, as many as they have room for."""
        tier, backlog = self._tier, self._remote_backlog
        if not backlog or tier is None:
            return
        room = tier.room
        while room > 0 and backlog and self._may_submit():
            collector = self.plan.sole_remote(backlog.peek().payload)
            if collector is None:
                return
            room -= 1
            self.busy += 1
            tier.submit(self._take(backlog), collector)

    def _submit_at_once(self, event: CollectorEvent) -> bool:
        """Give the workers an event without a wait in line, if nothing stands before it; return whether."""
        tier = self._tier
        if tier is None or self._remote_backlog or self._backlog or self.busy >= self.size or tier.room <= 0:
            return False
        collector = self.plan.sole_remote(event.payload)
        if collector is None:
            return False
        self.busy += 1
        if self._capacity is not None:
            self._capacity.release()
        tier.submit(event, collector)
        return True

    def _may_submit(self) -> bool:
        """Return whether the workers' next event may have a place in handlers; older ones of the other line first."""
        if self._backlog and not self._is_remote_first():
            limit = self.ceiling if self.limits.autoscale else self.size
            if limit - self.busy <= len(self._backlog):
                return False
        return self.busy < self.size or self._grow()

    def _is_remote_first(self) -> bool:
        """Return whether, of the heads of both lines, that of the workers' is to be taken first."""
        here, there = self._backlog.peek(), self._remote_backlog.peek()
        return here < there if self._newest_first else there < here

    def _take(self, backlog: Backlog) -> CollectorEvent:
        event = backlog.pop()
        if backlog.gaps:
            backlog.close_gaps()
        if self._capacity is not None:
            self._capacity.release()
        return event

    def _within_slice(self, now: float) -> bool:
        """Return whether there is time left in this turn of the loop; `now` is past the end of the slice.

        A due pump tells that the turn is still the one in which the slice began. With none due a new slice
        begins, and a pump to mark the turn.
        """
        if self._pump_due:
            self.crowded = self.crowded or self._in_order
            return False
        self._slice_ends = now + SLICE
        self.schedule_pump()
        return True

    # The end of an event

    def finish(self, event: CollectorEvent, results: ResultList, now: float) -> None:
        """An event of a worker is done. No consumer is there to take the next one in its place, so look for it."""
        was_full = self.busy >= self.size
        self.settle(event, results, now)
        if was_full and self.qsize:
            self.schedule_pump()

    def settle(self, event: CollectorEvent, results: ResultList, now: float) -> None:
        """An event has left its handlers: note its times, set its results, free its place."""
        self.busy -= 1
        event.finished = now
        service_time = now - event.started
        self.service_total += service_time
        self._service_times.append(service_time)
        self._wait_times.append(now - event.created)
        if self.waits is not None:
            self._note_wait(results, now - event.created)
        if self._supervised is not None:
            self._supervised.settle(event, results)
            return
        self.finished += 1
        if event._results is None and event._waiters is None:
            event._results = results
        else:
            event.set_result(results)
        if self._joiners:
            self._wake_joiners()

    def _note_wait(self, results: ResultList, seconds: float) -> None:
        for result in results:
            waits = None if self.waits is None else self.waits.get(result.key)
            if waits is not None:  # a router of the application's own may answer what it likes
                waits.append(seconds)

    def conclude(self, event: CollectorEvent, results: ResultList, *, on_record: bool = True) -> None:
        """An event has left its handlers, or what it waited in, for good. Not `on_record`: the next start has it."""
        course = event.course
        if course is not None and course.original is not None:
            event.payload = course.original
        event.place = None
        if course is not None:
            self.supervisor.letters.finished(event.id)
        self.finished += 1
        event.set_result(results)
        if self.recorder is not None and on_record:
            self.recorder.finished(event)
        self._wake_joiners()

    # Events that are on record

    def attach_recorder(self, recorder: Recorder) -> None:
        """Have every event put on record. Before `open()`, and for good."""
        self.recorder = self.supervisor.recorder = self.supervisor.letters.recorder = recorder
        self._backlog = RecordedBacklog(self._backlog, recorder.started)
        self._remote_backlog = RecordedBacklog(self._remote_backlog, recorder.started)
        self._push = self._backlog.push
        self.crowded = True

    def put_on_record(
        self, payload: Any, course: Course | None
    ) -> "tuple[CollectorEvent, asyncio.Future[None] | None]":
        """Make an event that is not accepted yet, and have it recorded; its place in the queue is claimed already."""
        if self._refusal is not None or not isinstance(payload, Payload) or self.recorder is None:
            self._release_room()
            raise _not_a_payload(payload) if self._refusal is None else another(self._refusal)
        event = CollectorEvent(_next_id(), payload, owner=self, course=course)
        self._keep(event, copy_context())
        try:
            return event, self.recorder.accept(event)
        except BaseException:
            self._release_room()
            raise

    def withdraw(self, event: CollectorEvent) -> None:
        """An event that was put on record is not accepted."""
        self._release_room()
        if self.recorder is not None:
            self.recorder.withdrawn(event)

    def admit(self, event: CollectorEvent) -> None:
        """Accept an event that is on record.

        Raises:
            QueueShutDown: meanwhile the queue takes no more events.

        """
        if self._refusal is not None:
            self.withdraw(event)
            raise another(self._refusal)
        self._enter(event, is_new=True)

    def recover(
        self,
        event_id: int,
        payload: Payload[Any],
        attempts: Mapping[str, Attempt] | None = None,
        *,
        deadline: float | None = None,
        delay: float = 0.0,
    ) -> CollectorEvent:
        """Accept an event that is on record from before the start, without recording it again.

        Args:
            event_id: its id; see `reserve_ids()`.
            payload: what was sent.
            attempts: by key, the collectors that have not finished it, and what they have tried; they are called
                again, and no others. None or empty: wherever the payload goes.
            deadline: when the last attempt may begin, by the clock of the queue; None for no limit.
            delay: seconds until the next of these attempts may begin.

        """
        course = None if deadline is None else Course(deadline)
        if attempts:
            course = Course(deadline, tuple(attempts))
            course.attempts = dict(attempts)
        event = CollectorEvent(event_id, payload, owner=self, course=course)
        self._keep(event, ContextVars())
        if course is not None:
            self.supervisor.prepare(event, course)
        if course is not None and attempts and delay > 0:
            self.accepted += 1
            self.supervisor.resume(event, course, delay)
            return event
        if self._capacity is not None:
            self._capacity.take()
        self._enter(event, is_new=False)
        return event

    def _enter(self, event: CollectorEvent, *, is_new: bool) -> None:
        self.accepted += 1
        if self.idle:
            self._notice_activity()
        if event.course is not None and self._is_late(event, event.course):
            return
        if is_new and self._is_dropped(event):
            return
        if self._tier is not None and self.plan.is_remote(event.payload):
            self._push_remote(event)
            self._submit_jobs()
        else:
            self._push(event)
        self.schedule_pump()

    def _wake_joiners(self) -> None:
        if not self._joiners or self.finished < self.accepted:
            return
        joiners, self._joiners = self._joiners, {}
        for joiner in joiners:
            if not joiner.done():
                joiner.set_result(None)

    async def join(self) -> None:
        """Wait until no accepted event is unfinished."""
        if self.finished == self.accepted:
            return
        joiner = asyncio.get_running_loop().create_future()
        self._joiners[joiner] = None
        try:
            await joiner  # and not for what is accepted before this task runs again: it might never end
        finally:
            self._joiners.pop(joiner, None)

    def redirect(self, plan: DeliveryPlan) -> None:
        """Deliver by another plan: collectors have moved. Events that wait go to the line that is theirs now."""
        self.plan = plan
        for event, remote in sort_out(self._backlog, self._remote_backlog, plan.is_remote):
            if remote:
                self._push_remote(event)
            else:
                event.place = None
                self._backlog.push(event)
        self.schedule_pump()

    # Size

    def resize(self, size: int) -> None:
        """Set the number of consumers; those that have an event finish it first."""
        self.size = max(self.limits.min_consumers, min(size, self.limits.max_consumers))
        if self._loop is not None:
            self.consumers.trim(self.size)
            self.schedule_pump()

    def _grow(self) -> bool:
        """Make room for one more event in handlers, and some to spare; False when the pool may not grow."""
        if not self.limits.autoscale or self.size >= self.ceiling:
            return False
        self.peak = max(self.peak, self.busy + 1)
        self.size = max(self.size + 1, burst_size(self.busy + 1, self.ceiling))
        return True

    # Figures

    @property
    def refusing(self) -> bool:
        """Whether the end has begun."""
        return self._refusal is not None

    @property
    def is_bounded(self) -> bool:
        """Whether a place has to be claimed for each event."""
        return self._capacity is not None

    @property
    def has_room(self) -> bool:
        """Whether a sender need not wait for a place."""
        return self._capacity is None or self._overflow != WAIT or self._capacity.is_free

    @property
    def qsize(self) -> int:
        """How many events wait."""
        here, there = self._backlog, self._remote_backlog
        return len(here) + len(there) - len(here.gaps) - len(there.gaps)

    @property
    def remote_queued(self) -> int:
        """How many events wait for a worker process."""
        return len(self._remote_backlog) - len(self._remote_backlog.gaps)

    @property
    def active(self) -> int:
        """How many events are queued or in handlers."""
        return self.accepted - self.finished - self.supervisor.scheduled

    @property
    def attempts(self) -> int:
        """How many attempts have ended, of events that are finished or wait for another one."""
        return self.finished + self.supervisor.returned

    @property
    def unfinished(self) -> int:
        """How many accepted events have no result yet."""
        return self.accepted - self.finished

    def accounting(self) -> Accounting:
        """Return where all events are."""
        letters, scheduled = self.supervisor.letters, self.supervisor.scheduled
        accepted, finished = self.accepted + letters.restored, self.finished + letters.restored
        return Accounting(
            accepted, finished - letters.events, self.busy, self.qsize, scheduled, letters.events
        )

    def rest(self, idle: bool) -> None:
        """Note whether whoever watches the queue rests."""
        self.idle = idle
        if idle:
            self._slice_ends = 0.0  # keeps the next event out of the fast lane

    def _notice_activity(self) -> None:
        self.idle = False
        self._on_activity()


def reserve_ids(above: int) -> None:
    """Have the ids of events to come be higher than this one."""
    global _next_id  # noqa: PLW0603 - one counter for all queues of the program
    _next_id = itertools.count(max(_next_id(), above + 1)).__next__


def _nothing() -> None:
    """Nobody watches a queue that does not run."""


def _not_a_payload(payload: object) -> ConfigError:
    return ConfigError(
        f"send() takes a Payload, not {type(payload).__name__}: wrap the value, Payload(value)"
    )
