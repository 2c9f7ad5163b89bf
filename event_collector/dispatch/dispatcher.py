"""The dispatcher: every event from its acceptance to its result, and how many may be in handlers at once.

        accept() -> backlog -> next_event() -> a consumer, or a job for the worker pool -> finish()

At every instant: accepted = finished + in handlers + queued + scheduled + dead. All of it happens in the thread
of the event loop. It is one object in six modules, each a class that builds on the one before:

        dispatcher_state    what it knows
        settlement          the end of an event
        waiting             events that wait, and leave other than to a handler
        worker_line         the line of events for worker processes
        recorded            events that a journal keeps
        dispatcher          the way that every event takes
"""

import asyncio
from asyncio import _get_running_loop
from collections.abc import Callable
from contextvars import Context as ContextVars
from contextvars import copy_context
from math import inf
from sys import exception
from typing import Any

from event_collector.dispatch.dispatcher_state import ALWAYS, JobTier, nothing
from event_collector.dispatch.recorded import RecordedEvents
from event_collector.dispatch.supervisor import Supervisor
from event_collector.events.capacity import WAIT
from event_collector.events.course import Course
from event_collector.events.dead_letters import DeadLetters
from event_collector.events.event import DEFAULT_PRIORITY, CollectorEvent
from event_collector.events.event_ids import event_ids
from event_collector.handlers.delivery import DeliveryPlan
from event_collector.tiers.coroutines.consumer import Consumer
from event_collector.tiers.coroutines.consumer_pool import ConsumerPool
from event_collector.values.clock import clock
from event_collector.values.errors import ConfigError
from event_collector.values.payload import Payload
from event_collector.values.refusals import QueueShutDown, another
from event_collector.values.results import Error, ResultList
from event_collector_workers.autoscaler import burst_size

__all__ = ["Dispatcher"]

SLICE = 0.002
"""Seconds for which events are processed without a turn of the loop: less costs turns, more keeps others waiting."""


class Dispatcher(RecordedEvents):
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

    __slots__ = ()

    def __init__(self, *, letters: DeadLetters, **settings: Any) -> None:
        super().__init__(**settings)
        self.supervisor = Supervisor(self, letters)

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
        self._refusal = self.reminder = None
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
        self._ahead = ALWAYS
        self._turnstile.admit_all()
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
            self.settle(event, ResultList((Error(another(error)),)), clock.now())

    def is_consumer(self, task: asyncio.Task[Any] | None) -> bool:
        """Return whether the task is a consumer of this queue, and so within a handler."""
        return self._loop is not None and any(consumer.task is task for consumer in self.consumers.busy())

    async def close(self) -> None:
        """End the consumers. No event may be left."""
        await self.consumers.close()
        self.supervisor.close()
        self._loop = self._tier = None
        self._on_activity = nothing

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
            and (now := clock.now()) < self._slice_ends
            and self.busy < self.size
            and _get_running_loop() is self._loop
            and not consumer.parking.done()
            and exception() is None
        ):
            self.accepted += 1
            self.busy += 1
            event = CollectorEvent(event_ids.next(), payload, DEFAULT_PRIORITY, now, now, self)
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
        line = self._remote_backlog if self._tier is not None and self.plan.is_remote(payload) else None
        event = CollectorEvent(event_ids.next(), payload, DEFAULT_PRIORITY, clock.now(), 0.0, self, line)
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
        if line is not None:
            self._keep(event, variables)
            if not line and self._submit_at_once(event):
                return event
            line.push(event)
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

    def room(self) -> float:
        """Return how many events would be accepted without waiting; infinite without a bound."""
        if self._refusal is not None:
            raise another(self._refusal)
        return inf if self._capacity is None or self._overflow != WAIT else self._capacity.free

    async def wait_for_room(self) -> None:
        """Wait for a place in a bounded queue, or for a turn of the loop after a slice of work."""
        if self._refusal is not None:
            raise another(self._refusal)
        if self._capacity is not None:
            if self._overflow == WAIT:
                if self.reminder is not None and not self._capacity.is_free:
                    self.reminder.remind()
                await self._capacity.wait()
            else:
                self._capacity.take()
        else:
            await self._turnstile.wait()

    # Dispatch

    def next_event(self) -> CollectorEvent | None:
        """Return the next event for a consumer that is free, as started now; None when it should rest."""
        backlog = self._backlog if self._tier is None else self._next_backlog()
        if not backlog or (self.busy >= self.size and not self._grow()):
            return None
        now = clock.now()
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

    def _pump(self) -> None:
        """Bring events that wait and consumers that are free together. Its run also marks a turn of the loop."""
        self._pump_due = False
        used_up, self.crowded = self.crowded, self._capacity is not None or self.recorder is not None
        self._slice_ends = clock.now() + SLICE
        if self._turnstile.admit(used_up=used_up):
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

    # Events that are on record

    def put_on_record(
        self, payload: Any, course: Course | None
    ) -> "tuple[CollectorEvent, asyncio.Future[None] | None]":
        """Make an event that is not accepted yet, and have it recorded; its place in the queue is claimed already."""
        if self._refusal is not None or not isinstance(payload, Payload) or self.recorder is None:
            self._release_room()
            raise _not_a_payload(payload) if self._refusal is None else another(self._refusal)
        event = CollectorEvent(event_ids.next(), payload, owner=self, course=course)
        self._keep(event, copy_context())
        try:
            return event, self.recorder.accept(event)
        except BaseException:
            self._release_room()
            raise

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

    def rest(self, idle: bool) -> None:
        """Note whether whoever watches the queue rests."""
        self.idle = idle
        if idle:
            self._slice_ends = 0.0  # keeps the next event out of the fast lane

    def _notice_activity(self) -> None:
        self.idle = False
        self._on_activity()


def _not_a_payload(payload: object) -> ConfigError:
    return ConfigError(
        f"send() takes a Payload, not {type(payload).__name__}: wrap the value, Payload(value)"
    )
