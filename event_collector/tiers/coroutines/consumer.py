"""Consumers: the tasks that see events through, one event at a time.

A consumer that has nothing to do is *parked*: its task waits for a future that never comes. Handing it an event is
then a plain call, at once and without a turn of the event loop: the first step of the handler runs inside `send()`,
yet in the name of the consumer's task, so that current_task(), timeouts, task groups and cancellation belong to the
handler. Only if the handler waits for something is the task itself woken, to see it through.

        parked --step()--> handler's first step --ends--> parked
                                   |
                                 waits --hand over--> the task goes on --ends--> next event, or parked
"""

import asyncio
from asyncio import tasks
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context as ContextVars
from inspect import CO_ITERABLE_COROUTINE
from types import CodeType, CoroutineType, FrameType, GeneratorType, coroutine
from typing import TYPE_CHECKING, Any, Final, cast

from event_collector.events.event import CollectorEvent
from event_collector.handlers.frames import hide_modules, strip_frames
from event_collector.handlers.mismatch import explain_mismatch
from event_collector.handlers.running_event import RunningEvent, register_finder
from event_collector.values.clock import clock
from event_collector.values.payload import Delivery
from event_collector.values.refusals import QueueShutDown
from event_collector.values.results import Error, Ok, ResultList, as_result, failure, new_list

if TYPE_CHECKING:
    from event_collector.dispatch.dispatcher import Dispatcher

__all__ = ["Consumer", "switch_task"]

_BROADCAST = Delivery.BROADCAST
_NOTHING: Final[Any] = object()


def _leave_and_enter(
    loop: asyncio.AbstractEventLoop, task: "asyncio.Task[Any] | None"
) -> "asyncio.Task[Any] | None":
    """Make `task` the current one, or none, and return the one before."""
    before = asyncio.current_task(loop)
    if before is not None:
        tasks._leave_task(loop, before)
    if task is not None:
        tasks._enter_task(loop, task)
    return before


switch_task: Callable[[asyncio.AbstractEventLoop, "asyncio.Task[Any] | None"], "asyncio.Task[Any] | None"] = (
    getattr(tasks, "_swap_current_task", _leave_and_enter)
)  # new in Python 3.12, at a third of the price
"""Make a task the current one of a loop, or none, and return the one before."""


class Consumer(Coroutine[Any, None, None]):
    """One task that processes events, one at a time, and is parked in between.

    It is the coroutine of its own task, and passes on what that task asks of it to `_work`, the coroutine that calls
    the handlers: so that an event can also be begun without the task, by `begin()`.
    """

    __slots__ = (
        "_began",
        "_dispatcher",
        "_fatal",
        "_handed",
        "_work",
        "error",
        "event",
        "parking",
        "resume",
        "retired",
        "task",
        "variables",
        "wakeup",
    )

    def __init__(self, dispatcher: "Dispatcher", loop: asyncio.AbstractEventLoop) -> None:
        self._dispatcher = dispatcher
        self.parking = loop.create_future()
        """What its task waits for while it is parked; never done, unless that task is cancelled."""
        self.wakeup: Callable[[Any], None] | None = None
        """Continues the task; known from the first time it parks."""
        self.event: CollectorEvent | None = None
        self.error: Exception | None = None
        """What its event ends with if it is cancelled; set by whoever cancels it."""
        self.retired = False
        self._began = False
        self._fatal: BaseException | None = None
        self._handed: Any = _NOTHING  # what a handler waits for that was begun without the task
        self.variables = ContextVars()
        self._work = cast("GeneratorType[Any, Any, None]", self._handle_events())
        self.resume = self._work.send
        self.resume(None)
        # Not loop.create_task(): a task factory of the application (eager, tracing) must not start it here.
        self.task = asyncio.Task(self, loop=loop, name="event consumer", context=ContextVars())
        self.task.add_done_callback(self._see_end)

    @coroutine
    def _handle_events(self) -> Generator[Any, Any, None]:
        """Call the handlers.

        Each begins with one `resume(event)`; what is yielded then is `parking` when the event has ended, else what
        its handler waits for.
        """
        dispatcher, parking = self._dispatcher, self.parking
        direct, route = dispatcher.direct, dispatcher.route
        event: Any
        course: Any
        outcome: Any
        steps: Any
        results: ResultList | None
        while True:
            event = yield parking
            try:
                if direct is not None and event.payload.delivery is _BROADCAST:
                    outcome = direct.processor(event.payload, direct.ctx)
                    steps = outcome if type(outcome) is CoroutineType else _steps(outcome)
                    outcome = yield from steps
                    if type(outcome) is not Ok or outcome.key is not None:
                        if type(outcome) is Error:
                            direct.usage.errors += 1  # Usage.failed()
                        outcome = as_result(outcome, direct.key)
                    outcome.key = direct.key
                    results = new_list(ResultList)
                    results.append(outcome)
                else:
                    course = event.course
                    if course is not None and course.only and direct is None:
                        outcome = dispatcher.supervisor.attempt(event.payload, course)
                    else:
                        outcome = route(event.payload)
                    steps = outcome if type(outcome) is CoroutineType else _steps(outcome)
                    outcome = yield from steps
                    results = _as_results(outcome)
                    if dispatcher.waits is None:
                        dispatcher.count_errors(results)
            except BaseException as exc:
                results = self._failed(event, exc)
            if self.event is None:
                return  # abandoned: its event has ended without it
            self.event = None
            dispatcher.settle(event, results, clock.now())
            # Tracebacks may keep this frame: what it holds of the event would live on, or form a cycle.
            event = course = outcome = steps = results = None
            if self._fatal is not None:
                raise self._fatal

    def begin(self, event: CollectorEvent) -> Any:
        """Run the first step of a queued event's handler; return `parking` if it has ended, else what it waits for."""
        self.event = event
        self.variables = variables = ContextVars() if event.variables is None else event.variables
        return variables.run(self.resume, event)

    def carry_on(
        self, waits_for: Any, loop: asyncio.AbstractEventLoop, resumed: "asyncio.Future[None]"
    ) -> None:
        """Have the task see an event through that was begun without it, and whose handler waits for something."""
        if self.parking.done():
            # The handler has cancelled its task, which is about to hear of it. A task that runs would cancel
            # what it is going to wait for.
            if hasattr(waits_for, "cancel"):
                waits_for.cancel()
            return
        self._handed = waits_for
        self.parking.remove_done_callback(self.wakeup)  # type: ignore[arg-type]  # known: it parked
        caller = asyncio.current_task(loop)
        if caller is None:
            self.wakeup(resumed)  # type: ignore[misc]
            return
        switch_task(loop, None)  # the task makes itself the current one
        try:
            self.wakeup(resumed)  # type: ignore[misc]
        finally:
            switch_task(loop, caller)

    # What the task calls

    def send(self, value: None) -> Any:
        """Go on, and return what the task shall wait for next."""
        if self._handed is not _NOTHING:
            waits_for, self._handed = self._handed, _NOTHING
            return waits_for
        if not self._began:
            self._began = True
            self._dispatcher.consumers.started()
        if self._work.gi_yieldfrom is None:  # in no handler: it has just begun
            return self._next(self.parking)
        return self._next(self.variables.run(self.resume, value))

    def throw(self, *exc: Any) -> Any:
        """Go on with an exception, and return what the task shall wait for next."""
        if self._work.gi_yieldfrom is None:  # in no handler: parked
            raise exc[-1]
        return self._next(self.variables.run(self._work.throw, *exc))

    def close(self) -> None:
        """End the handler with GeneratorExit."""
        self._work.close()

    def _next(self, waits_for: Any) -> Any:
        """Begin events until the handler of one waits for something, or until there is none."""
        while waits_for is self.parking:
            if self.retired or self._is_marked():
                raise StopIteration
            event = self._dispatcher.next_event()
            if event is None:
                return self._park()
            waits_for = self.begin(event)
        return waits_for

    def _is_marked(self) -> bool:
        """Return whether a handler has left its cancellation in the task, where the next event must not meet it."""
        # uncancel() of Python 3.11 and 3.12 takes back the count, not a cancellation still to come.
        task = self.task
        return bool(task.cancelling()) or task._must_cancel or self.error is not None  # type: ignore[attr-defined]

    def _park(self) -> Any:
        """Return what the task waits for until `begin()` finds work for it, and its handler waits in turn.

        It is a future that never gets a result, so that cancelling the task does what it always does. What resumes
        the task is its own wake-up, which it hands to what it waits for: to `_FirstParking` the first time, where
        it can be had; the later ones, to a plain future, are the same and cost less.
        """
        self._dispatcher.consumers.parked[self] = None
        if self.wakeup is None:
            return _FirstParking(self, self.parking)
        self.parking._asyncio_future_blocking = True
        return self.parking

    def _see_end(self, _task: "asyncio.Task[None]") -> None:
        self._work.close()
        if not self._began:  # cancelled before its first step
            self._dispatcher.consumers.started()
        self._dispatcher.consumers.ended(self)

    # What asyncio's tools for a look at tasks read

    @property
    def cr_code(self) -> CodeType:
        """The code of what runs the handlers."""
        return self._work.gi_code

    @property
    def cr_frame(self) -> FrameType | None:
        """Its frame; None when the task has ended."""
        return self._work.gi_frame

    @property
    def cr_running(self) -> bool:
        """Whether it runs at this moment."""
        return self._work.gi_running

    @property
    def cr_await(self) -> Any:
        """What the handler runs in; None while there is none."""
        return self._work.gi_yieldfrom

    def __await__(self) -> Generator[Any, Any, None]:
        return self._work

    def _failed(self, event: CollectorEvent, exc: BaseException) -> ResultList:
        """Return the results of an event whose handler, or router, let an exception out."""
        if not isinstance(exc, (Exception, asyncio.CancelledError)):
            self._fatal = exc  # KeyboardInterrupt and the like go on to end the loop, as from any task
            self.error = self.error or RuntimeError("the task of this consumer ends")
        if isinstance(exc, asyncio.CancelledError):
            if self.error is None and self._dispatcher.recorder is not None and self.task.cancelling():
                # Not by this queue: the event loop ends below it. What is on record is for the next start then.
                self.error = QueueShutDown(
                    "the task of the handler was cancelled: the event runs again at the next start"
                )
            if self.error is not None:
                return ResultList((Error(self.error),))
        strip_frames(exc)
        direct, route = self._dispatcher.direct, self._dispatcher.route
        func, key = (direct.process, direct.key) if direct is not None else (route, None)
        if direct is not None:
            explain_mismatch(exc, direct, event.payload)
            direct.usage.failed()
        return ResultList((failure(exc, func, (event.payload,), {}, key),))

    def running_event(self) -> RunningEvent | None:
        """Return what is known of the event that it has."""
        event = self.event
        if event is None:
            return None
        return RunningEvent(event.id, self._dispatcher.plan.sole_key(event.payload), event.payload.attempt)

    def cancel_event(self, error: Exception) -> None:
        """Cancel the handler; its event ends with `error`, unless the handler answers first."""
        self.error = error
        self.task.cancel()


def _find_running_event() -> RunningEvent | None:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop runs in this thread
        return None
    consumer = None if task is None else task.get_coro()
    return consumer.running_event() if isinstance(consumer, Consumer) else None


register_finder(_find_running_event)
hide_modules(__name__)


class _FirstParking:
    """What a task waits for when it parks for the first time: passes for a future, and learns its wake-up."""

    __slots__ = ("_asyncio_future_blocking", "_consumer", "_parking")

    def __init__(self, consumer: Consumer, parking: "asyncio.Future[None]") -> None:
        self._consumer = consumer
        self._parking = parking
        self._asyncio_future_blocking = True

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._parking.get_loop()

    def add_done_callback(self, callback: Callable[[Any], None], *, context: ContextVars) -> None:
        self._consumer.wakeup = callback
        self._parking.add_done_callback(callback, context=context)

    def cancel(self, msg: Any = None) -> bool:
        return self._parking.cancel(msg)


def _steps(awaitable: Any) -> Generator[Any, Any, Any]:
    """Return what `await` would go through, for what is no coroutine of an `async def`.

    Raises:
        TypeError: it cannot be awaited.

    """
    if isinstance(awaitable, GeneratorType) and awaitable.gi_code.co_flags & CO_ITERABLE_COROUTINE:
        return awaitable
    if not hasattr(type(awaitable), "__await__"):
        raise TypeError(f"object {type(awaitable).__name__} can't be used in 'await' expression")
    steps: Generator[Any, Any, Any] = awaitable.__await__()
    return steps


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
