"""Consumers: the tasks that see events through, one event at a time, and the pool that keeps them.

A consumer that has nothing to do is *parked*. Handing it an event is then one call of its task's own wake-up, at
once and without a turn of the event loop: the first step of the handler runs inside `send()`, yet in the
consumer's task, so that current_task(), timeouts, task groups and cancellation belong to the handler.
"""

import asyncio
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context as ContextVars
from contextvars import copy_context
from time import monotonic
from types import FrameType, coroutine
from typing import TYPE_CHECKING, Any

from event_collector.collector import Collector
from event_collector.data import Delivery, Error, Ok, ResultList, as_result, failure, single
from event_collector.publisher import CollectorEvent

if TYPE_CHECKING:
    from event_collector.dispatcher import Dispatcher

__all__ = ["Consumer", "ConsumerPool", "collector_in"]

_BROADCAST = Delivery.BROADCAST
_new_list = ResultList.__new__

FIRST_SPAWN = 64
"""How many tasks a burst may create in one turn of the loop before any of their handlers has been seen to wait.
Fewer delays a burst of waiting handlers by turns, more wastes tasks on handlers that never wait."""


class Consumer:
    """One task that processes events, one at a time, and is parked in between."""

    __slots__ = (
        "_began",
        "_dispatcher",
        "_fatal",
        "error",
        "event",
        "parking",
        "retired",
        "task",
        "variables",
        "wakeup",
    )  # fmt: skip

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
        self.variables = ContextVars()
        # Not loop.create_task(): a task factory of the application (eager, tracing) must not start it here.
        self.task = asyncio.Task(self._run(), loop=loop, name="event consumer", context=self.variables)
        self.task.add_done_callback(self._see_end)

    async def _run(self) -> None:
        dispatcher, direct = self._dispatcher, self._dispatcher.direct
        outcome: Any
        results: ResultList | None
        self._began = True
        dispatcher.consumers.started()
        try:
            while not self.retired:
                event = self.event
                if event is None:
                    event = self.event = dispatcher.next_event()
                    if event is None:
                        dispatcher.consumers.parked[self] = None
                        await self._park()
                        continue
                    event.started = monotonic()
                try:
                    if (
                        direct is not None
                        and event.variables is None
                        and event.payload.delivery is _BROADCAST
                    ):
                        outcome = await direct.processor(event.payload, direct.ctx)
                        if type(outcome) is not Ok or outcome.key is not None:
                            outcome = as_result(outcome, direct.key)
                        outcome.key = direct.key
                        results = _new_list(ResultList)
                        results.append(outcome)
                    else:
                        results = await self._handle(event)
                except BaseException as exc:
                    results = self._failed(event, exc)
                if self.event is None:
                    return  # abandoned: its event has ended without it
                self.event = None
                dispatcher.settle(event, results, monotonic())
                # Tracebacks may keep this frame: what it holds of the event would live on, or form a cycle.
                event = outcome = results = None
                # A handler may leave traces in the task: its cancellation, context variables. The next event
                # must not meet them, so such a task ends and another takes its place.
                # uncancel() of Python 3.11 and 3.12 takes back the count, not a cancellation still to come.
                if (
                    self.task.cancelling()
                    or self.task._must_cancel  # type: ignore[attr-defined]
                    or len(copy_context())
                    or self.error is not None
                ):
                    if self._fatal is not None:
                        raise self._fatal
                    return
        finally:
            dispatcher.consumers.ended(self)

    def _see_end(self, _task: "asyncio.Task[None]") -> None:
        """Do what _run() could not: a task that is cancelled before its first step runs no line of it."""
        if not self._began:
            self._dispatcher.consumers.started()
            self._dispatcher.consumers.ended(self)

    async def _handle(self, event: CollectorEvent) -> ResultList:
        """Process an event in the sender's context variables, or through the router."""
        payload, variables = event.payload, event.variables
        del event  # for the sake of tracebacks, as above
        direct, route = self._dispatcher.direct, self._dispatcher.route
        if direct is None or payload.delivery is not _BROADCAST:
            if variables is None:
                return _as_results(await route(payload))
            return _as_results(await _InContext(variables, route(payload)))
        if variables is None:
            outcome = await direct.processor(payload, direct.ctx)
        else:
            outcome = await _InContext(variables, variables.run(direct.processor, payload, direct.ctx))
        return single(as_result(outcome, direct.key))

    def _failed(self, event: CollectorEvent, exc: BaseException) -> ResultList:
        """Return the results of an event whose handler, or router, let an exception out."""
        if not isinstance(exc, (Exception, asyncio.CancelledError)):
            self._fatal = exc  # KeyboardInterrupt and the like go on to end the loop, as from any task
            self.error = self.error or RuntimeError("the task of this consumer ends")
        if self.error is not None and isinstance(exc, asyncio.CancelledError):
            return ResultList((Error(self.error),))
        # Without the frames of this module: they say nothing to the reader, and would close reference cycles.
        trace = exc.__traceback__
        while trace is not None and trace.tb_frame.f_globals is globals():
            trace = trace.tb_next
        exc.__traceback__ = trace
        direct, route = self._dispatcher.direct, self._dispatcher.route
        func, key = (direct.process, direct.key) if direct is not None else (route, None)
        return ResultList((failure(exc, func, (event.payload,), {}, key),))

    def cancel_event(self, error: Exception) -> None:
        """Cancel the handler; its event ends with `error`, unless the handler answers first."""
        self.error = error
        self.task.cancel()

    @coroutine
    def _park(self) -> Generator[Any, None, None]:
        """Wait for ConsumerPool.step().

        The task waits for a future that never gets a result, so that cancelling the task does what it always does.
        What resumes it is its own wake-up, which it hands to what it waits for: to `_FirstParking` the first
        time, where it can be had; the later ones, to a plain future, are the same and cost less.
        """
        if self.wakeup is None:
            yield _FirstParking(self, self.parking)
        else:
            self.parking._asyncio_future_blocking = True
            yield self.parking


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


class _InContext:
    """Awaits something with every step of it in the given context variables."""

    __slots__ = ("_awaitable", "_variables")

    def __init__(self, variables: ContextVars, awaitable: Awaitable[Any]) -> None:
        self._variables = variables
        self._awaitable = awaitable

    def __await__(self) -> Generator[Any, Any, Any]:
        run, coroutine = self._variables.run, _coroutine(self._awaitable)
        try:
            waits_for = run(coroutine.send, None)
            while True:
                try:
                    sent = yield waits_for
                except GeneratorExit:
                    run(coroutine.close)
                    raise
                except BaseException as exc:
                    waits_for = run(coroutine.throw, exc)
                else:
                    waits_for = run(coroutine.send, sent)
        except StopIteration as stop:
            return stop.value


def _coroutine(awaitable: Awaitable[Any]) -> Coroutine[Any, Any, Any]:
    if isinstance(awaitable, Coroutine):
        return awaitable

    async def wait() -> Any:
        return await awaitable

    return wait()


class ConsumerPool:
    """The consumers of one dispatcher: those parked, and how new ones come and go."""

    __slots__ = ("_dispatcher", "_everyone", "_loop", "_resumed", "_starting", "parked", "stepping")

    def __init__(self, dispatcher: "Dispatcher", loop: asyncio.AbstractEventLoop) -> None:
        self._dispatcher = dispatcher
        self._loop = loop
        self._everyone: set[Consumer] = set()
        self._starting = 0
        self._resumed = loop.create_future()
        self._resumed.set_result(None)  # what the wake-up of a task that goes on is told
        self.stepping = False
        """Whether a consumer runs within `step()`: none can be given an event from within it."""
        self.parked: dict[Consumer, None] = {}
        """The consumers without an event; the last one parked, whose memory is warm, is resumed first."""

    def __len__(self) -> int:
        return len(self._everyone)

    def spawn(self, wanted: int) -> None:
        """Create tasks for up to `wanted` more events that wait; each takes the next one when it starts."""
        for _ in range(min(wanted - self._starting, max(FIRST_SPAWN, len(self._everyone)))):
            self._everyone.add(Consumer(self._dispatcher, self._loop))
            self._starting += 1

    def started(self) -> None:
        """Take note of a task's first step. After the last of a batch the dispatcher looks for more to do."""
        self._starting -= 1
        if self._starting == 0:
            self._dispatcher.schedule_pump()

    def ended(self, consumer: Consumer) -> None:
        """Forget a consumer whose task ends; events that wait get another."""
        self._everyone.discard(consumer)
        self.parked.pop(consumer, None)
        if not self._loop.is_closed():  # else this is the garbage collection of what the loop left behind
            self._dispatcher.schedule_pump()

    def claim(self) -> Consumer | None:
        """Return a parked consumer to give an event to; it is parked no more."""
        while self.parked:
            consumer, _ = self.parked.popitem()
            if not consumer.parking.done():  # else its task was cancelled there, and is about to end
                return consumer
        return None

    def step(self, consumer: Consumer, event: CollectorEvent, now: float) -> None:
        """Give the event to a claimed consumer and run its handler's first step now, inside the caller's task."""
        consumer.event = event
        event.started = now
        caller = asyncio.current_task(self._loop)
        self.stepping = True
        if caller is not None:
            _leave_task(self._loop, caller)
        try:
            consumer.parking.remove_done_callback(consumer.wakeup)  # type: ignore[arg-type]  # known: it parked
            consumer.variables.run(consumer.wakeup, self._resumed)  # type: ignore[arg-type]
        except (KeyboardInterrupt, SystemExit) as exc:
            self._loop.call_soon(_raise, exc)  # ends the loop, as from any task, and spares the sender
        finally:
            if caller is not None:
                _enter_task(self._loop, caller)
            self.stepping = False

    def busy(self) -> list[Consumer]:
        """Return the consumers that have an event."""
        return [consumer for consumer in self._everyone if consumer.event is not None]

    def abandon(self, consumer: Consumer) -> CollectorEvent:
        """Forget a consumer whose handler does not end, and return its event."""
        event, consumer.event = consumer.event, None
        self._everyone.discard(consumer)
        if event is None:
            raise RuntimeError("a consumer without an event cannot be abandoned")
        return event

    def trim(self, size: int) -> None:
        """End parked consumers until at most `size` are left, or none is parked."""
        while self.parked and len(self._everyone) > size:
            consumer, _ = self.parked.popitem()
            self._everyone.discard(consumer)
            consumer.retired = True
            consumer.task.cancel()

    async def close(self) -> None:
        """End all consumers; those that have an event first finish it."""
        while self._everyone:
            for consumer in self._everyone:
                consumer.retired = True
            tasks = [consumer.task for consumer in self._everyone]
            self.trim(0)
            await asyncio.wait(tasks)


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


def collector_in(frame: FrameType | None, dispatcher: "Dispatcher") -> str | None:
    """Return the key of the dispatcher's collector whose handler a stack is in; None if it is in none."""
    while frame is not None:
        owner: Any = frame.f_locals.get("self")
        if frame.f_code is Collector._call.__code__ and dispatcher.plan.knows(owner):
            return str(owner.key)
        if frame.f_code is Consumer._run.__code__ and owner._dispatcher is dispatcher:
            return None if dispatcher.direct is None else dispatcher.direct.key
        frame = frame.f_back
    return None


def _raise(exc: BaseException) -> None:
    raise exc
