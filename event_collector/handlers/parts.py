"""Handlers that yield: the parts of their events, on the way from the generator to whoever takes them.

    generator --> produce() --> PartSink.add() ... PartSink.room, until there is none --> wait_for_room()

A context variable has the sink of the event that is handled. The tasks in which a router runs several handlers have a
copy of it.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextvars import ContextVar
from typing import Any, Final, Protocol

from event_collector.handlers.stack_frames import hide_modules
from event_collector.handlers.time_limit import LimitError, within
from event_collector.values.clock import clock
from event_collector.values.errors import ConfigError
from event_collector.values.results import Ok
from event_collector_workers.job import PARTS_AHEAD, TimeLimit

REFILL: Final = PARTS_AHEAD // 2
"""The handler goes on when there is room for so many parts: one part at a time would cost a switch for each."""


class PartSink(Protocol):
    """What takes the parts of one event, as the handler's side sees it."""

    @property
    def room(self) -> int:
        """How many parts may be added now; 0: the handler has to wait."""

    @property
    def is_left(self) -> bool:
        """Whether the parts are of no use any more: the reader has left, or the event has ended."""

    def open(self, key: str, /) -> None:
        """Note which collector gives the parts. Raise ConfigError if it is not the first."""

    def add(self, part: Any, /) -> None:
        """Take a part."""

    def on_change(self, call: Callable[[], None] | None, /) -> None:
        """Have `call` called when there is room again, or the reader has left; None: no longer."""


_sink: Final[ContextVar[PartSink]] = ContextVar("event_collector_parts")

direct_parts_to: Final = _sink.set
"""Sets the sink of the event that is handled in this context. Contexts outlive events, so a sink must not have one."""


def open_sink(key: str) -> PartSink:
    """Return the sink for the parts of a collector, in the context of its event.

    Raises:
        ConfigError: no event of a queue is handled here, or another collector gives its parts.
    """
    sink = _sink.get(None)
    if sink is None:
        raise ConfigError(
            f"collector {key!r} yields parts, which only an event takes: send one to a running queue, and read "
            f"event.parts()"
        )
    sink.open(key)
    return sink


async def wait_for_room(sink: PartSink) -> None:
    """Wait until parts may be added, or are of no use any more."""
    changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def note() -> None:
        if not changed.done():
            changed.set_result(None)

    sink.on_change(note)
    try:
        if not sink.room and not sink.is_left:
            await changed
    finally:
        sink.on_change(None)


def as_part(outcome: Any) -> Any:
    """Return what the reader gets for what a handler has yielded: the value of an Ok, else the object itself."""
    return outcome.value if isinstance(outcome, Ok) else outcome


class TimeLeft:
    """The time that a handler has left of its time limit, in seconds. The time in which it waits for room is not its.

    Args:
        seconds: the time limit; None for no limit.
        error: makes the error of a handler that has used it up.
    """

    def __init__(self, seconds: float | None, error: LimitError) -> None:
        self._left, self._error = seconds, error

    async def step(self, outcome: Any) -> Any:
        """Await a step of the handler.

        Raises:
            HandlerTimeout: no time is left, before the step or within it. It is cancelled then.
        """
        if self._left is None:
            return await outcome
        begin = clock.now()
        try:
            return await within(outcome, TimeLimit(self._left), None, self._error)
        finally:
            self._left = max(0.0, self._left - (clock.now() - begin))


async def produce(generator: AsyncGenerator[Any, None], sink: PartSink, time_left: TimeLeft) -> None:
    """Add the parts of an asynchronous generator to a sink, as it has room, until the generator ends.

    The generator is closed if the reader leaves, or the calling task is cancelled.
    """
    since = 0  # parts since the event loop had a turn
    try:
        while True:
            try:
                part = await time_left.step(anext(generator))
            except StopAsyncIteration:
                return
            sink.add(as_part(part))
            since += 1
            if sink.is_left:
                return
            if not sink.room:
                await wait_for_room(sink)
                since = 0
            elif since >= PARTS_AHEAD:
                await asyncio.sleep(0)
                since = 0
            if sink.is_left:
                return
    finally:
        await generator.aclose()


class RunsParts(Protocol):
    """A tier that runs handlers that yield."""

    async def run_parts(self, collector: Any, payload: Any, /) -> Any:
        """Run the handler, hand its parts to the sink of the event, and return its outcome, or raise its exception."""


class PartsTier:
    """A tier as the tier of collectors whose handlers yield."""

    def __init__(self, tier: RunsParts) -> None:
        self.run = tier.run_parts


hide_modules(__name__)
