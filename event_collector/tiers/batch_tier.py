"""The events of a batch handler: gathered until a call is due, then in a call, or alone after a call that has failed.

        run() --> gathered --> due: max_size, max_wait, or no other can come --> a call of all --> run() returns
                     |                                                             |
                  cancelled: leaves                             fails --> a call of each, one after the other

An event that is cancelled gives up its result, and the call goes on for the others. A call that nobody waits for any
more is cancelled. All of it happens in the thread of the event loop.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import Context as ContextVars
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

from event_collector.events.nesting import Mark, handler_mark, mark_handler
from event_collector.handlers.collector import Collector
from event_collector.handlers.running_event import RunningEvent, register_finder
from event_collector.handlers.stack_frames import hide_modules, strip_frames
from event_collector.remote.remote_exceptions import presentable
from event_collector.tiers import batch_calls
from event_collector.tiers.batch_calls import Answers, BatchCalls
from event_collector.tiers.failed_calls import copy_of, travels_alone
from event_collector.values.clock import clock
from event_collector.values.errors import ConfigError, DeadlineExceeded, ExecutorLost
from event_collector.values.payload import Payload
from event_collector.values.refusals import QueueShutDown
from event_collector_workers.pool_errors import PoolBroken

NAME: Final = "event batch"
"""The name of the task of each call."""

_OF_ALL: Final = (ConfigError, QueueShutDown, PoolBroken, ExecutorLost)
"""Errors that no event of a batch is the cause of: they would occur again, or repeat what a call has done."""

_call_tasks: "WeakKeyDictionary[asyncio.Task[Any], RunningEvent]" = WeakKeyDictionary()


@dataclass(slots=True, eq=False)
class _Member:
    """An event, gathered or in a call."""

    item: Any
    answer: "asyncio.Future[Any]"
    mark: Mark | None
    call: "_Call | None" = None
    seconds: float = 0.0
    """Its share of the time in the handler."""

    def enter(self, call: "_Call") -> None:
        """Note the call that it is in."""
        self.call = call

    def note_time(self, seconds: float) -> None:
        """Add its share of a call's time."""
        self.seconds += seconds

    def succeed(self, answer: Any) -> None:
        """Take its answer, unless it was cancelled."""
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, error: BaseException) -> None:
        """Take an error, unless it was cancelled."""
        if not self.answer.done():
            self.answer.set_exception(error)


@dataclass(slots=True, eq=False)
class _Call:
    """A call of the handler that runs."""

    members: list[_Member]
    later: "deque[_Member]"
    """Events that get a call of their own after it."""
    begun: float
    task: "asyncio.Task[Answers] | None" = None

    def start(self, task: "asyncio.Task[Answers]") -> None:
        """Note the task that it runs in."""
        self.task = task

    def cancel_if_unwanted(self) -> None:
        """Cancel the call if all its events were cancelled."""
        if self.task is not None and all(member.answer.done() for member in self.members):
            self.task.cancel()


class BatchTier:
    """Runs one collector with a batch handler.

    Args:
        collector: the collector.
        calls: calls its handler.
        is_last: returns whether no other event can come before one has ended.
    """

    def __init__(self, collector: Collector, calls: BatchCalls, is_last: Callable[[], bool]) -> None:
        if collector.batch is None:
            raise ConfigError(f"collector {collector.key!r} has no batch handler")
        self._collector, self._batch, self._calls, self._is_last = collector, collector.batch, calls, is_last
        self._gathered: dict[_Member, None] = {}
        self._running: dict[asyncio.Task[Answers], _Call] = {}  # asyncio itself holds no task
        self._timer: asyncio.TimerHandle | None = None
        self._is_looking = False

    async def run(self, _collector: Collector, payload: Payload[Any]) -> Any:
        """Process an event in the next batch and return the outcome of the handler for it.

        Cancellation takes it out of its batch. Once the handler was called, it drops the result.
        """
        usage, member = self._collector.usage, self._member_of(payload)
        usage.began()
        try:
            self._add(member, alone=travels_alone(payload))
            return self._calls.outcome(await member.answer)
        except asyncio.CancelledError:
            if member.answer.cancelled():
                self._withdraw(member)
            else:
                member.answer.exception()  # avoids a log line of asyncio: cancelled when the answer was there
            raise
        finally:
            usage.left()
            if member.call is not None:
                usage.took(member.seconds)
            # Breaks a cycle: the answer, its exception, the traceback, this frame.
            del member

    def expire(self, event_id: int) -> None:
        """End an event that is gathered when its deadline passes."""
        for member in [one for one in self._gathered if one.mark is not None and one.mark[1] == event_id]:
            self._forget(member)
            member.fail(DeadlineExceeded("the event was not begun before the deadline"))

    def look(self) -> None:
        """At the end of this turn of the loop, begin a call if no other event can come."""
        if not self._is_looking:
            self._is_looking = True
            asyncio.get_running_loop().call_soon(self._look)

    def has(self, task: "asyncio.Task[Any] | None") -> bool:
        """Return whether a call runs in this task."""
        return task in self._running

    async def close(self, grace: float) -> None:
        """Cancel the calls that are left, and wait for them for at most `grace` seconds."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(list(self._running), timeout=grace)

    def __repr__(self) -> str:
        return f"<BatchTier of {self._collector.key}: {len(self._gathered)} gathered, {len(self._running)} calls>"

    # Gathering

    def _member_of(self, payload: Payload[Any]) -> _Member:
        return _Member(self._calls.item(payload), asyncio.get_running_loop().create_future(), handler_mark())

    def _add(self, member: _Member, *, alone: bool) -> None:
        if alone:
            self._begin([member])
            return
        self._gathered[member] = None
        if len(self._gathered) >= self._batch.max_size:
            self._send()
            return
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._batch.max_wait, self._send)
        self.look()

    def _look(self) -> None:
        self._is_looking = False
        if self._gathered and self._is_last():
            self._send()

    def _send(self) -> None:
        members = list(self._gathered)
        self._gathered.clear()
        self._stop_timer()
        self._begin(members)

    def _withdraw(self, member: _Member) -> None:
        if member.call is not None:
            member.call.cancel_if_unwanted()
        else:
            self._forget(member)

    def _forget(self, member: _Member) -> None:
        self._gathered.pop(member, None)
        if not self._gathered:
            self._stop_timer()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Calls

    def _begin(self, members: list[_Member], later: Iterable[_Member] = ()) -> None:
        loop = asyncio.get_running_loop()
        call = _Call(members, deque(later), clock.now())
        for member in members:
            member.enter(call)
        called = self._calls.call([member.item for member in members])
        task = asyncio.Task(called, loop=loop, name=NAME, context=_variables_of(members))
        _call_tasks[task] = RunningEvent(None, self._collector.key, None)
        call.start(task)
        self._running[task] = call
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[Answers]") -> None:
        call = self._running.pop(task)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None:
            self._failed(call, error)
        else:
            answers, seconds = task.result()
            self._share(call, seconds)
            for member, answer in zip(call.members, answers, strict=True):
                member.succeed(answer)
        while call.later:
            member = call.later.popleft()
            if not member.answer.done():
                self._begin([member], call.later)
                break

    def _failed(self, call: _Call, error: BaseException) -> None:
        """Try each event of a failed call alone, or end them with its error."""
        strip_frames(error)
        self._share(call, clock.now() - call.begun)
        if len(call.members) > 1 and not isinstance(error, _OF_ALL):
            call.later.extend(call.members)
            return
        for member in call.members:
            member.fail(presentable(error if len(call.members) == 1 else copy_of(error)))

    def _share(self, call: _Call, seconds: float) -> None:
        for member in call.members:
            member.note_time(seconds / len(call.members))


def _variables_of(members: list[_Member]) -> ContextVars:
    """Return context variables for a call: those of no sender, with the mark of the handlers that it stands for."""
    variables = ContextVars()
    marks = [member.mark for member in members if member.mark is not None]
    if marks:
        ids = tuple(one for _, handled in marks for one in ([handled] if isinstance(handled, int) else handled))
        variables.run(mark_handler, (marks[0][0], ids))
    return variables


def _find_running_event() -> RunningEvent | None:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop runs in this thread
        return None
    return None if task is None else _call_tasks.get(task)


register_finder(_find_running_event)
hide_modules(__name__, batch_calls.__name__)
