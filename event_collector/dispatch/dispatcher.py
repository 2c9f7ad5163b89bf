"""The dispatcher: every event from its acceptance to its results. Read it from top to bottom.

        accept() --> backlog --> next_event() --> CoroutineTier.begin() --> ended() --> results
            |           |                              ^                       |
            |           '--> Supply --> worker process | --> ended_many() -----|
            '---- fast lane: nothing is in the way ----'                       '--> Retries --> due() --> backlog

An event is in exactly one place at a time: a backlog, the schedule of retries, a task, or a job. At every instant
accepted = finished + in handlers + queued + scheduled + dead. All of it happens in the thread of the event loop.

`accept()`, `next_event()` and `ended()` are on the way of every event: lines that repeat a method of an owner name it.
"""

import asyncio
from collections.abc import Callable, Collection, Sized
from contextvars import Context as ContextVars
from contextvars import copy_context
from functools import partial
from sys import exception
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final

from event_collector.dispatch.admission import Admission
from event_collector.dispatch.chunks import Chunks
from event_collector.dispatch.ending import Ending
from event_collector.dispatch.lending import Lending
from event_collector.dispatch.permits import ConsumerLimits, Permits
from event_collector.dispatch.queue_figures import Figures
from event_collector.dispatch.retries import Retries
from event_collector.dispatch.sent_values import SentValues
from event_collector.dispatch.supply import Supply
from event_collector.dispatch.totals import Totals
from event_collector.dispatch.turns import Turns
from event_collector.events.backlog import Backlogs
from event_collector.events.course import Course
from event_collector.events.event import DEFAULT_PRIORITY, CollectorEvent, QueueType
from event_collector.events.event_ids import event_ids
from event_collector.events.gate import Gate
from event_collector.remote.sent_value import CONSTANT
from event_collector.tiers.coroutines.coroutine_tier import CoroutineTier
from event_collector.values.clock import clock
from event_collector.values.guarded import guarded
from event_collector.values.payload import Delivery, Payload
from event_collector.values.refusals import QueueShutDown, fresh_copy, wrong_thread
from event_collector.values.results import Error, Result, ResultList
from event_collector_workers.environment import DEFAULT_GROUP

if TYPE_CHECKING:
    from event_collector.dispatch.worker_line import JobTiers, WorkerLine
    from event_collector.events.dead_letters import DeadLetters
    from event_collector.events.recorder import Recorder
    from event_collector.events.start_reminder import StartReminder
    from event_collector.handlers.delivery import DeliveryPlan
    from event_collector.watching.metrics import Meter

_BROADCAST: Final = Delivery.BROADCAST
SLOW_LANE: Final = ("closed",)  # stands ahead of each event while none may take the fast lane


def _nothing(*_: object) -> None:
    """Nobody watches a queue that does not run, and most keep no record."""


class Dispatcher:
    """Owns the events of one queue.

    Args:
        queue_type, default_priority, max_queue_size, overflow: as for CollectorQueue; worker_groups: the names.
        letters: where events go that have failed for good.
        limits: of the number of consumers.
        meter: keeps the times of finished events.
        retries_options: clock and chance of the retries, for tests.

    Attributes:
        gate: senders come in here.
        backlogs: events that wait for a handler.
        permits: one for each event in a handler.
        admission: turns away events that are late, or that a full queue drops.
        turns: the time of one turn of the loop.
        totals: counts and times.
        ending: ends attempts and events.
        figures: what monitor, metrics and snapshots read.
        retries: events that wait for another attempt.
        handlers: coroutine handlers; None while the queue does not run.
        lending: lends the places of handlers that wait.
        sent_values: encodes values that can change before other processes have them.
        supply: gives events to worker processes; None where no collector needs any.
        chunks: values of streams that travel to workers many in one job.
        is_idle: whether the monitor rests, to be woken by the next event.
    """

    __slots__ = (
        "_ahead", "_default_priority", "_in_order", "_is_prompt", "_is_recorded", "_line", "_loop", "_on_activity",
        "_thread", "admission", "backlogs", "chunks", "ending", "figures", "gate", "handlers", "is_idle", "lending",
        "permits", "plan", "retries", "sent_values", "supply", "totals", "turns",
    )  # fmt: skip

    plan: "DeliveryPlan"

    def __init__(
        self, *, queue_type: QueueType, default_priority: float, max_queue_size: int, overflow: str,
        letters: "DeadLetters", limits: ConsumerLimits, meter: "Meter",
        worker_groups: Collection[str] = (DEFAULT_GROUP,), **retries_options: Any,
    ) -> None:  # fmt: skip
        self.permits = Permits(limits)
        self._in_order = queue_type is QueueType.FIFO
        self.gate = Gate(max_queue_size, overflow)
        self.turns = Turns(self._turn, self.gate.crowd if self._in_order else _nothing)
        self.totals = Totals(meter)
        self.ending = ending = Ending(self.totals, self.permits, self.gate)
        self.backlogs = Backlogs(queue_type, ending.cancel_waiting, worker_groups)
        self.retries = Retries(letters, self._requeue, ending, **retries_options)
        ending.connect(self.backlogs, self.retries)
        self.lending = Lending(self.permits, self.turns, self.gate, self.backlogs)
        self.admission = Admission(self.gate, self.backlogs, self.retries, self.totals, ending)
        self.chunks = Chunks(self.totals, self.permits, self.gate, ending, self.backlogs, self._requeue, self._wake)
        self.figures = Figures(self.totals, self.permits, self.backlogs, self.retries, self.chunks)
        self.sent_values = SentValues()
        self.handlers: CoroutineTier | None = None
        self.supply: Supply | None = None
        self.is_idle, self._is_recorded = True, False
        self._default_priority = default_priority if queue_type is QueueType.PRIORITY else None
        self._is_prompt = False  # whether an event may begin before it is in a backlog
        self._ahead: Sized = SLOW_LANE  # what stands before an event; empty, it takes the fast lane
        self._line: WorkerLine | None = None  # of broadcasts, if these go to workers
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0  # the one that the loop runs in
        self._on_activity: Callable[[], None] = _nothing

    def remind(self, reminder: "StartReminder | None") -> None:
        """Set who reminds those who wait before the queue has started; None once it has."""
        for part in (self.gate, self.backlogs, self.totals):
            part.remind(reminder)

    def attach_recorder(self, recorder: "Recorder") -> None:
        """Have every event put on record, from before `open()` on; see `Recording`."""
        self.retries.attach_recorder(recorder)
        self.backlogs.tell_of_taken(partial(guarded, "the record of an attempt", recorder.started))
        self.ending.tell_of_finished(recorder.finished)
        self.gate.always_crowd()
        self._is_recorded = True

    # Start and stop

    def open(
        self, loop: asyncio.AbstractEventLoop, plan: "DeliveryPlan", workers: "JobTiers", wake: Callable[[], None]
    ) -> None:
        """Begin to process events, those already accepted first; `wake` is called after each rest."""
        self._loop, self._thread = loop, get_ident()
        self.plan, self._on_activity = plan, wake
        self.sent_values.copy_to(workers)
        self.sent_values.follow(plan, is_open=True)
        self.gate.open()
        self.remind(None)
        self.permits.reset()
        self.turns.open(loop)
        self.retries.open(loop, plan.collectors, plan.router)
        self.handlers = CoroutineTier(self, loop, plan, self.gate.waits, is_recorded=self._is_recorded)
        self.chunks.allow(self._in_order and not self._is_recorded)
        if workers:
            self.supply = Supply(workers, plan, self.backlogs, self.permits, self.gate, self.chunks, self.sent_values)
            self._line = self.supply.line
        self.ending.follow(plan)
        self._set_lanes(is_holding=False)
        if self.backlogs:
            self._wake()
            self.turns.schedule()

    def refuse(self, error: QueueShutDown) -> None:
        """Accept no more events; senders who wait for room fail."""
        self._ahead = SLOW_LANE
        self.gate.refuse(error)
        if self.handlers is not None:
            self.handlers.drain()
            self.retries.drain()

    def give_up(self, error: QueueShutDown) -> None:
        """End every event that waits with `error`, and cancel the handlers of the others."""
        self.retries.give_up(error)
        self.ending.end_all_waiting(error)
        self.chunks.give_up(error)
        if self.handlers is not None:
            self.handlers.cancel_all(lambda: fresh_copy(error))

    def abandon(self, error: QueueShutDown) -> None:
        """End the events of handlers that ignore their cancellation; what these answer is dropped."""
        for event in self.handlers.abandon_all() if self.handlers is not None else ():
            self.ending.ended(event, ResultList((Error(fresh_copy(error)),)))

    def close(self) -> None:
        """Stop. No event may be left."""
        for part in (self.turns, self.retries, self.chunks):
            part.close()
        self._loop = self.handlers = self.supply = self._line = None
        self._on_activity = _nothing

    # Acceptance

    def accept(self, payload: Any) -> CollectorEvent:
        """Take a payload in and return its event, or raise. Its handler may run up to its first wait meanwhile."""
        # The fast lane repeats _take_in() for an event that nothing stands in the way of.
        permits = self.permits
        if (
            not self._ahead
            and isinstance(payload, Payload)
            and (now := clock.now()) < self.turns.ends
            and permits.busy < permits.size
            and exception() is None
            and get_ident() == self._thread
            and (handlers := self.handlers).stepping is None  # type: ignore[union-attr]  # closed, the lane is slow
        ):
            permits.busy += 1  # Permits.take()
            self.totals.accepted += 1  # Totals.accept()
            event = CollectorEvent(event_ids.next(), payload, DEFAULT_PRIORITY, now, now)
            handlers.begin(event, None)  # type: ignore[union-attr]
            return event
        if get_ident() != self._thread:
            self.check_thread()
        if self.gate.refusal is not None or not isinstance(payload, Payload):
            payload = self.gate.checked(payload)
        line = self._line if payload._delivery is _BROADCAST or self.supply is None else self.supply.line_of(payload)
        if line is not None:
            return self._take_in_remote(payload, copy_context(), None, line)
        return self._take_in(payload, copy_context(), None)

    def accept_with(self, course: Course | None, payload: Any) -> CollectorEvent:
        """Do what `accept()` does, for an event that has a course."""
        payload = self.gate.checked(payload)
        if self.supply is not None and (line := self.supply.line_of(payload)) is not None:
            return self._take_in_remote(payload, copy_context(), course, line)
        return self._take_in(payload, copy_context(), course)

    def check_thread(self) -> None:
        """Raise ConfigError in another thread than that of the event loop of a running queue."""
        if get_ident() != self._thread and self._loop is not None:
            raise wrong_thread()

    def _take_in(self, payload: Payload[Any], variables: ContextVars, course: Course | None) -> CollectorEvent:
        """Accept an event for the event loop. Run the first step of its handler now if possible, else queue it."""
        event = CollectorEvent(event_ids.next(), payload, DEFAULT_PRIORITY, clock.now())
        self.totals.accept()
        if self.is_idle:
            self._wake()
        if self.sent_values.is_needed:
            self.sent_values.keep(event)
        if (course is not None or self.gate.drops) and self._is_turned_away(event, variables, course):
            return event
        if self._may_begin(event):
            self.gate.release()
            event.begin(event.created)
            self.handlers.begin(event, variables)  # type: ignore[union-attr]  # _may_begin() has looked
            return event
        self.keep(event, variables)
        self.backlogs.here.push(event)
        self.turns.has_time(event.created)  # else senders must wait for the next turn
        self.turns.schedule()
        return event

    def _take_in_remote(
        self, payload: Payload[Any], variables: ContextVars, course: Course | None, line: "WorkerLine"
    ) -> CollectorEvent:
        """Accept an event for worker processes. Give it to an idle one now if possible, else queue it."""
        backlog = line.backlog
        event = CollectorEvent(event_ids.next(), payload, DEFAULT_PRIORITY, clock.now(), 0.0, backlog)
        self.totals.accepted += 1  # Totals.accept()
        if self.is_idle:
            self._wake()
        if (course is not None or self.gate.drops) and self._is_turned_away(event, variables, course):
            return event
        if variables or self._default_priority is not None:
            self.keep(event, variables)
        order = backlog.order
        if not order and line.hand_over(event):
            return event
        if type(payload._value) not in CONSTANT:  # SentValues.keep()
            self.sent_values.encode(event)
        order.push(event)  # Backlog.push(); the event was made there
        turns = self.turns
        if event.created >= turns.ends or not turns.is_due:
            turns.has_time(event.created)  # else senders must wait for the next turn
            turns.schedule()
        return event

    def _is_turned_away(self, event: CollectorEvent, variables: ContextVars, course: Course | None) -> bool:
        event.take_course(course)
        self.keep(event, variables)
        return self.admission.turns_away(event)

    def keep(self, event: CollectorEvent, variables: ContextVars) -> None:
        """Note what an event that is queued needs: its place in the order, and the sender's context variables."""
        if len(variables):
            event.variables = variables  # CollectorEvent.keep_variables()
        if self._default_priority is not None:
            priority = event.payload.priority
            event.set_priority(self._default_priority if priority is None else priority)

    def _may_begin(self, event: CollectorEvent) -> bool:
        """Return whether the event's first step may run within `send()`, with a permit that is taken then."""
        if not self._is_prompt or self.backlogs.here.order or self.handlers is None or self.handlers.stepping:
            return False
        # The handler must not see an exception that the sender handles.
        return exception() is None and self.turns.has_time(event.created) and self.permits.take()

    def admit(self, event: CollectorEvent, *, is_new: bool = True) -> None:
        """Accept an event that is on record and has its place in a bounded queue, and queue it; see `Recording`."""
        self.totals.accept()
        self._wake()
        if not self.admission.turns_away(event, may_drop=is_new):
            self._queue(event, None if self.supply is None else self.plan.line_of(event.payload))

    def next_event(self) -> CollectorEvent | None:
        """Take the next event that the event loop delivers, as started now; None when none may begin."""
        backlog = self.backlogs.here if self.supply is None else self.supply.next_backlog()
        if not backlog.order:
            return None
        now = clock.now()
        if not self.turns.has_time(now) or not self.permits.take():
            return None
        self.gate.release()
        event = backlog.take()
        event.started = now  # CollectorEvent.begin()
        return event

    def go_on(self) -> None:
        """Begin the events that wait, as far as permits and time allow."""
        handlers = self.handlers
        if handlers is None or handlers.stepping:
            return
        while (event := self.next_event()) is not None:
            variables = event.variables
            handlers.begin(event, ContextVars() if variables is None else variables)

    def hand_out(self) -> None:
        """Workers have room: give them what waits."""
        if self.supply is not None and self.supply.hand_out():
            self.turns.schedule()  # for events that the event loop delivers, too

    def ended_many(self, ended: "list[tuple[CollectorEvent, Result[Any], float]]") -> None:
        """Take the results of events of workers, after so many seconds in the handler each."""
        was_full = self.permits.busy >= self.permits.size
        self.ending.ended_many(ended)
        if was_full and self.backlogs:
            self.turns.schedule()

    def _queue(self, event: CollectorEvent, line: str | None) -> None:
        self.backlogs.at(line).push(event)
        self.turns.schedule()

    def _turn(self) -> None:
        """Begin a turn of the loop."""
        if self.gate.turn():
            self.turns.schedule()
        self.go_on()
        self.lending.lend(self.handlers, self.supply)

    def _requeue(self, event: CollectorEvent, line: str | None) -> None:
        """Queue an event whose next attempt is due, or a value of a stream, behind those that wait already."""
        self._wake()
        self.sent_values.keep(event)  # if it was a value of a stream; another attempt has it already
        self._queue(event, None if self.supply is None else line)

    def redirect(self, plan: "DeliveryPlan", is_held: Callable[[CollectorEvent], bool] | None = None) -> None:
        """Deliver by another plan. Events that wait go to the backlog that is theirs now; hold those of `is_held`."""
        self.plan = plan
        self.sent_values.follow(plan, is_open=True)
        for part in (self.supply, self.handlers, self.ending):
            if part is not None:
                part.follow(plan)
        self._line = None if self.supply is None else self.supply.line
        self.backlogs.redirect(self.sent_values.redirect, is_held)
        self._set_lanes(is_holding=is_held is not None)
        self._wake()
        self.turns.schedule()

    def _set_lanes(self, *, is_holding: bool) -> None:
        """Choose how far new events get at once; while some are held, each goes through a backlog."""
        self._is_prompt = self._in_order and not is_holding
        is_slow = self.supply or self.sent_values.is_needed or self.gate.is_bounded or self._is_recorded
        is_fast = self._is_prompt and not is_slow and self.gate.refusal is None
        self._ahead = self.backlogs.here.order if is_fast else SLOW_LANE

    def resize(self, size: int) -> None:
        """Set the number of consumers; events that are in handlers beyond it finish first."""
        self.permits.resize(size)
        self.turns.schedule()

    def rest(self, idle: bool) -> None:
        """Note whether the monitor rests."""
        self.is_idle = idle
        if idle:
            self.turns.rest()

    def _wake(self) -> None:
        if self.is_idle:
            self.is_idle = False
            self._on_activity()

    def __repr__(self) -> str:
        return f"<Dispatcher {self.figures.accounting()} {self.permits!r} {self.gate!r}>"
