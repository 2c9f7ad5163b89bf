"""Coroutine handlers: each event runs in a task of its own.

    begin() --> first step of the handler, within the caller --ends--> ended()
                              |
                            waits --> the task goes on by itself --ends--> ended(), and the next events begin

The first step runs at once on Python 3.12 and later, a turn of the loop later on Python 3.11. `begin()` and `_handle()`
are on the way of every event: lines that repeat a method of an owner name it.
"""

import asyncio
import sys
from collections.abc import Callable
from contextvars import Context as ContextVars
from contextvars import copy_context
from itertools import islice
from types import CoroutineType, FrameType
from typing import TYPE_CHECKING, Any, Final

from event_collector.events.nesting import NestedWaits, mark_handler
from event_collector.handlers.collector import Collector
from event_collector.handlers.mismatch import explain_mismatch
from event_collector.handlers.parts import direct_parts_to
from event_collector.handlers.running_event import RunningEvent, register_finder
from event_collector.handlers.stack_frames import hide_modules, strip_frames
from event_collector.tiers.coroutines.event_owner import EventOwner
from event_collector.tiers.coroutines.running_handler import RunningHandler
from event_collector.values.guarded import reraise
from event_collector.values.payload import Delivery, Payload
from event_collector.values.refusals import QueueShutDown
from event_collector.values.results import Error, Ok, Result, ResultList, as_result, failure, new_list, single

if TYPE_CHECKING:
    from event_collector.events.event import CollectorEvent
    from event_collector.handlers.delivery import DeliveryPlan
    from event_collector.handlers.progress_reports import RunningProgress

_BROADCAST = Delivery.BROADCAST
_Task: Final[Any] = asyncio.Task

IS_EAGER: Final = sys.version_info >= (3, 12)
"""Whether a task takes its first step when it is made. On Python 3.11 it does a turn of the loop later."""

NAME: Final = "event handler"
"""The name of each handler's task."""

MOST_UNSTARTED: Final = 64
"""Handlers that may wait for their first step, on Python 3.11: so many steps come together in one turn of the loop."""

_GIVEN_UP: Final = "the task of the handler was cancelled: the event runs again at the next start"


class CoroutineTier:
    """Runs the handlers of events in tasks of the event loop.

    Args:
        events: gets the results.
        loop: the loop that the queue runs in.
        plan: which collectors a payload reaches.
        waits: what the handlers wait for.
        is_recorded: whether a record of the events outlives the program.

    Attributes:
        stepping: the event whose handler takes its first step at this moment. No other one may begin within it.
    """

    __slots__ = (
        "_direct",
        "_ended",
        "_events",
        "_is_draining",
        "_is_recorded",
        "_plan",
        "_route",
        "_running",
        "_unstarted",
        "_waits",
        "loop",
        "stepping",
    )

    def __init__(
        self,
        events: EventOwner,
        loop: asyncio.AbstractEventLoop,
        plan: "DeliveryPlan",
        waits: NestedWaits,
        *,
        is_recorded: bool,
    ) -> None:
        self._events, self.loop = events, loop
        self._ended = events.ending.ended
        self._plan, self._is_recorded, self._is_draining = plan, is_recorded, False
        self._direct: Collector | None = plan.direct
        self._route: Callable[..., Any] = plan.router.handle_event
        self._running: dict[asyncio.Task[None], RunningHandler] = {}  # asyncio itself holds no task
        self.stepping: CollectorEvent | None = None
        self._waits = waits
        self._unstarted = 0  # tasks that have not taken their first step; on Python 3.11 only

    def follow(self, plan: "DeliveryPlan") -> None:
        """Deliver by another plan from now on."""
        self._plan = plan

    def begin(self, event: "CollectorEvent", variables: ContextVars | None) -> None:
        """Begin the handler of an event that has a permit.

        It runs in the given context variables, or in a copy of the caller's: asyncio makes one at less cost. Tasks are
        made directly: a task factory of the application must not decide when they start.
        """
        event.place = self  # CollectorEvent.move_to()
        self.stepping = event
        try:
            if variables is None:
                task = _Task(self._handle(event), loop=self.loop, name=NAME, eager_start=True)
            else:
                task = _Task(self._handle(event), loop=self.loop, name=NAME, context=variables, eager_start=True)
        finally:
            self.stepping = None
        if event.place is self:  # the handler waits for something
            self._running[task] = RunningHandler(task, event)

    def _begin_later(self, event: "CollectorEvent", variables: ContextVars | None) -> None:
        """Begin the handler in the next turn of the loop, in the order of the events."""
        context = copy_context() if variables is None else variables
        task = asyncio.Task(self._handle_later(event), loop=self.loop, name=NAME, context=context)
        self._running[task] = RunningHandler(task, event)
        task.add_done_callback(self._see_end)
        self._unstarted += 1
        if self._unstarted >= MOST_UNSTARTED:
            self._events.turns.end_slice()

    if not IS_EAGER:
        begin = _begin_later

    def _see_end(self, task: "asyncio.Task[None]") -> None:
        """End the event of a task that was cancelled before its first step."""
        running = self._running.get(task)
        if running is not None:
            self._unstarted -= 1
            self._end(running.event, ResultList((Error(running.error or asyncio.CancelledError()),)))

    def cancel_event(self, event: "CollectorEvent", *, running: bool) -> bool:
        """Cancel an event in its first step: its handler hears of it where it waits, unless it answers before."""
        if running:
            event.note_cancelled()
        return running

    def note_waiter(self) -> None:
        """Do nothing: the event has begun."""

    async def _handle(self, event: "CollectorEvent") -> None:
        mark_handler((self._waits, event.id))
        direct, is_failed = self._direct, False
        outcome: Any
        try:
            if direct is not None and (event.payload._delivery is _BROADCAST or self._is_addressed(event.payload)):
                outcome = await direct.processor(event.payload, direct.ctx)
                if type(outcome) is not Ok or outcome.key is not None:
                    is_failed = type(outcome) is Error
                    if is_failed:
                        direct.usage.failed()
                        outcome = self._returned(event, outcome)
                    outcome = as_result(outcome, direct.key)
                outcome.key = direct.key  # as_result()
                results = new_list(ResultList)
                results.append(outcome)
            else:
                results = _as_results(await self._deliver(event))
                is_failed = self._events.ending.note_errors(event, results)
        except BaseException as exc:
            results, is_failed = self._failed(event, exc), True
            if issubclass(type(exc), GeneratorExit):  # the loop has ended without this task
                self._end(event, results)
                raise
        is_first_step = self.stepping is event
        if is_first_step:
            self._ended(event, results)
        else:
            self._end(event, results)
        if is_failed:
            # A traceback in the results holds the handler's frame, which holds this one, which holds its caller's. The
            # results must not be here, nor this frame end within the first step: the sender's frames have the event,
            # and would form cycles with it.
            outcome = None
            del event, results
            if is_first_step:
                await asyncio.sleep(0)

    def _is_addressed(self, payload: Payload[Any]) -> bool:
        """Return whether the payload of a call or a stream goes to the only collector by its key."""
        return payload._delivery is Delivery.KEY and payload._headers.keys == (self._direct.key,)  # type: ignore[union-attr]

    async def _handle_later(self, event: "CollectorEvent") -> None:
        self._unstarted -= 1
        handling = self._handle(event)
        del event  # see the end of _handle()
        await handling

    def _end(self, event: "CollectorEvent", results: ResultList) -> None:
        """End an event, within its first step or when the loop has resumed its task."""
        if self.stepping is event:
            self._ended(event, results)
            return
        running = event.place
        if isinstance(running, RunningHandler):  # else it was abandoned: the event has ended without its handler
            self._ended(event, results)
            self._running.pop(running.task, None)
            self._events.go_on()

    def _deliver(self, event: "CollectorEvent") -> Any:
        """Return what processes the event by way of the router."""
        if self._plan.has_generators:
            stream = event.open_parts()
            if self._is_draining:
                stream.note_waiter()
            direct_parts_to(stream)
        course = event.course
        if course is not None and course.only and self._direct is None:
            return self._events.retries.attempt(event, course)
        payload = event.payload
        if event.sent is not None:
            payload = payload._carrying(event.sent)
            if self._events.ending.is_plain:  # there is no other attempt
                event.keep_sent(None)
        return self._route(payload)

    def _returned(self, event: "CollectorEvent", error: Error[Any]) -> "Result[Any]":
        """Return the result of an event whose handler returned an Error."""
        result = as_result(error, None if self._direct is None else self._direct.key)
        self._events.ending.note_failed(event, single(result))
        return result

    def _failed(self, event: "CollectorEvent", exc: BaseException) -> ResultList:
        """Return the results of an event whose handler, or router, let an exception out. Never raises."""
        results = self._results_of(event, exc)
        self._events.ending.note_failed(event, results)
        return results

    def _results_of(self, event: "CollectorEvent", exc: BaseException) -> ResultList:
        error, kind = self._reason(event), type(exc)  # not isinstance(): __class__ may be a property that raises
        if not issubclass(kind, (Exception, asyncio.CancelledError)):
            self.loop.call_soon(reraise, exc)  # KeyboardInterrupt and the like end the loop, as from any task
        elif error is not None and issubclass(kind, asyncio.CancelledError):
            return ResultList((Error(error),))
        try:
            return self._explained(event, exc)
        except BaseException:  # attributes of the exception raise
            return ResultList((Error(exc, key=None if self._direct is None else self._direct.key),))

    def _explained(self, event: "CollectorEvent", exc: BaseException) -> ResultList:
        strip_frames(exc)
        direct = self._direct
        if direct is None:
            return ResultList((failure(exc, self._route, (event.payload,), {}),))
        direct.usage.failed()
        explain_mismatch(exc, direct, event.payload)
        return ResultList((failure(exc, direct.process, (event.payload,), {}, direct.key),))

    def _reason(self, event: "CollectorEvent") -> Exception | None:
        """Return the error that ends an event whose task was cancelled by others than its handler."""
        running = event.place
        if not isinstance(running, RunningHandler):
            return None
        if running.error is None and self._is_recorded and running.task.cancelling():
            # Not by this queue: the event loop ends below it. What is on record is for the next start then.
            return QueueShutDown(_GIVEN_UP)
        return running.error

    # The end

    def drain(self) -> None:
        """From now on, have handlers that yield end even if nothing reads their parts."""
        self._is_draining = True
        if self._plan.has_generators:
            for running in self._running.values():
                running.event.open_parts().note_waiter()

    def cancel_all(self, make_error: Callable[[], Exception]) -> None:
        """Cancel all handlers; their events end with an error unless they answer first."""
        for running in list(self._running.values()):
            running.cancel_with(make_error())

    def abandon_all(self) -> "list[CollectorEvent]":
        """Forget the handlers that do not end, and return their events; what they answer is dropped."""
        events = [running.event for running in self._running.values()]
        self._running.clear()
        return events

    def event_of(self, task: "asyncio.Task[Any] | None") -> "CollectorEvent | None":
        """Return the event whose handler runs in the task; None if it is no task of this tier."""
        if task is None or _tier_of(task) is not self:
            return None
        running = self._running.get(task)
        return self.stepping if running is None else running.event

    def running_event(self, event: "CollectorEvent") -> RunningEvent:
        """Return what log lines tell of an event that is in a handler here."""
        return RunningEvent(event.id, self._plan.sole_key(event.payload), event.payload.attempt)

    def key_in(self, frame: FrameType | None) -> str | None:
        """Return the key of the collector whose handler a stack is in; None if it is in none of this queue."""
        while frame is not None:
            owner: Any = frame.f_locals.get("self")
            if frame.f_code is Collector.call_handler.__code__ and self._plan.knows(owner):
                return str(owner.key)
            if frame.f_code is CoroutineTier._handle.__code__ and owner is self:
                return None if self._direct is None else self._direct.key
            frame = frame.f_back
        return None

    def progress(self) -> "list[RunningProgress]":
        """Return what the handlers have reported that wait for something, or run in threads."""
        return self._waits.board.of_running(self.running_ids)

    def events(self) -> "list[CollectorEvent]":
        """Return the events whose handlers wait for something."""
        return [running.event for running in self._running.values()]

    def oldest(self, most: int) -> "list[CollectorEvent]":
        """Return events whose handlers wait for something: those that began first, at most so many of them."""
        return [running.event for running in islice(self._running.values(), most)]

    def end_with(self, ended: "Callable[[CollectorEvent, ResultList], None] | None") -> None:
        """Have another function end events, which calls `Ending.ended()`; None: that itself."""
        self._ended = self._events.ending.ended if ended is None else ended

    def running_ids(self) -> set[int]:
        """Return the ids of the events whose handlers wait for something."""
        return {running.event.id for running in self._running.values()}

    def __len__(self) -> int:
        return len(self._running)

    def __repr__(self) -> str:
        return f"<CoroutineTier {len(self)} handlers wait>"


def _as_results(answer: Any) -> ResultList:
    """Return what a router answered.

    Raises:
        TypeError: it is no list of results.
    """
    if isinstance(answer, ResultList):
        return answer
    if isinstance(answer, list):
        return ResultList(answer)
    raise TypeError(f"a router's handle_event() returns a ResultList, not {type(answer).__name__}")


def _tier_of(task: "asyncio.Task[Any]") -> CoroutineTier | None:
    """Return the tier that made a task, which the task's first frame knows."""
    coroutine = task.get_coro()
    if not isinstance(coroutine, CoroutineType) or coroutine.cr_code not in _FIRST_FRAMES or coroutine.cr_frame is None:
        return None
    tier: CoroutineTier = coroutine.cr_frame.f_locals["self"]
    return tier


_FIRST_FRAMES: Final = (CoroutineTier._handle.__code__, CoroutineTier._handle_later.__code__)


def _find_running_event() -> RunningEvent | None:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        return None
    tier = None if task is None else _tier_of(task)
    event = None if tier is None else tier.event_of(task)
    return None if tier is None or event is None else tier.running_event(event)


register_finder(_find_running_event)
hide_modules(__name__)
