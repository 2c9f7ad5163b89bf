"""The consumers of one queue: those that are parked, how new ones come and go, and first steps within `send()`."""

import asyncio
from contextvars import Context as ContextVars
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from event_collector.events.event import CollectorEvent
from event_collector.handlers.collector import Collector
from event_collector.tiers.coroutines.consumer import Consumer, switch_task

if TYPE_CHECKING:
    from event_collector.dispatch.dispatcher import Dispatcher

__all__ = ["ConsumerPool", "collector_in"]

FIRST_SPAWN = 64
"""How many tasks a burst may create in one turn of the loop before any of their handlers has been seen to wait.
Fewer delays a burst of waiting handlers by turns, more wastes tasks on handlers that never wait."""


class ConsumerPool:
    """The consumers of one dispatcher: those parked, and how new ones come and go."""

    __slots__ = (
        "_dispatcher",
        "_everyone",
        "_holders",
        "_loop",
        "_resumed",
        "_starting",
        "express",
        "parked",
    )

    def __init__(self, dispatcher: "Dispatcher", loop: asyncio.AbstractEventLoop) -> None:
        self._dispatcher = dispatcher
        self._loop = loop
        self._everyone: set[Consumer] = set()
        self._holders: dict[CollectorEvent, Consumer] = {}
        self._starting = 0
        self._resumed = loop.create_future()
        self._resumed.set_result(None)  # what the wake-up of a task that goes on is told
        self.express: Consumer | None = None
        """The consumer that runs first steps within `send()`. While it has an event it is in the middle of one."""
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
        if self.express is consumer:
            self.express = None
        if not self._loop.is_closed():  # else this is the garbage collection of what the loop left behind
            self._dispatcher.schedule_pump()

    def _claim(self) -> Consumer | None:
        """Return a parked consumer to give an event to; it is parked no more."""
        while self.parked:
            consumer, _ = self.parked.popitem()
            if not consumer.parking.done():  # else its task was cancelled there, and is about to end
                return consumer
        return None

    def step(self, consumer: Consumer, event: CollectorEvent, variables: ContextVars) -> None:
        """Run the first step of the event's handler now, inside the caller's task; the consumer is `express`."""
        loop = self._loop
        consumer.event, consumer.variables = event, variables
        caller = switch_task(loop, consumer.task)
        try:
            waits_for = variables.run(consumer.resume, event)
        except BaseException as exc:  # KeyboardInterrupt and SystemExit; the event has ended
            loop.call_soon(_raise, exc)  # ends the loop, as from any task, and spares the sender
            consumer.task.cancel()
            self.express = None
            return
        finally:
            switch_task(loop, caller)
        if waits_for is not consumer.parking:
            self.express = None
            consumer.carry_on(waits_for, loop, self._resumed)

    def next_up(self) -> Consumer | None:
        """Return the consumer for the next `step()`; None when there is none, or one is in its step."""
        if self.express is None:
            self.express = self._claim()
        elif self.express.event is not None:
            return None
        elif self.express.parking.done():
            self.express = self._claim()
        return self.express

    def busy(self) -> list[Consumer]:
        """Return the consumers that have an event."""
        return [consumer for consumer in self._everyone if consumer.event is not None]

    def holder(self, event: CollectorEvent) -> Consumer:
        """Return the consumer that has this event; LookupError if none has."""
        consumer = self._holders.get(event)
        if consumer is None or consumer.event is not event:
            # Not kept up for each event, few of which are ever asked for; but many may be at once.
            self._holders = {one.event: one for one in self._everyone if one.event is not None}
            consumer = self._holders.get(event)
            self._loop.call_soon(self._holders.clear)
        if consumer is None:
            raise LookupError(f"{event!r} is in no handler")
        return consumer

    def abandon(self, consumer: Consumer) -> CollectorEvent:
        """Forget a consumer whose handler does not end, and return its event."""
        event, consumer.event = consumer.event, None
        self._everyone.discard(consumer)
        if event is None:
            raise RuntimeError("a consumer without an event cannot be abandoned")
        return event

    def trim(self, size: int) -> None:
        """End parked consumers until at most `size` are left, or none is parked."""
        if self.express is not None and self.express.event is None:
            self.parked[self.express] = None
            self.express = None
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


def collector_in(frame: FrameType | None, dispatcher: "Dispatcher") -> str | None:
    """Return the key of the dispatcher's collector whose handler a stack is in; None if it is in none."""
    while frame is not None:
        owner: Any = frame.f_locals.get("self")
        if frame.f_code is Collector._call.__code__ and dispatcher.plan.knows(owner):
            return str(owner.key)
        if frame.f_code is Consumer._handle_events.__code__ and owner._dispatcher is dispatcher:
            return None if dispatcher.direct is None else dispatcher.direct.key
        frame = frame.f_back
    return None


def _raise(exc: BaseException) -> NoReturn:
    raise exc
