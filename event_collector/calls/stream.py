"""Streams: many values through one collector, with a bounded number on their way.

values --> Stream._take() --> events, at most `ahead` --> Stream.results()
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol

from event_collector.values.errors import ConfigError

if TYPE_CHECKING:
    from event_collector.events.event import CollectorEvent
    from event_collector.values.results import Result

AHEAD: Final = 1000
"""Values that are on their way at most, unless `ahead=` says otherwise."""


class Stream:
    """Sends values as there is room for them, and yields their results.

    Args:
        send: accepts a value as an event, when the queue has room for it.
        values: any iterable or async iterable.
        ahead: the number of values that are taken and whose results are not yielded yet, at most.
        ordered: whether the results have the order of the values. Else they come as they are there.
    """

    def __init__(
        self, send: "Callable[[Any], Awaitable[CollectorEvent]]", values: Any, *, ahead: int, ordered: bool
    ) -> None:
        check_values(values)
        check_ahead(ahead)
        self._send, self._values, self._ahead = send, values, ahead
        self._news = Signal()  # for the consumer of the results
        self._room = Signal()  # for _take()
        self._window: Window = OrderedWindow(self._news) if ordered else UnorderedWindow(self._news)
        self._is_taken = False  # all values
        self._error: Exception | None = None  # of the values, or of the queue

    async def results(self) -> "AsyncGenerator[Result[Any], None]":
        """Yield a result for each value. The end of the generator, however it comes, withdraws what has not begun."""
        taking = asyncio.create_task(self._take(), name="stream")
        try:
            while self._error is None:
                event = self._window.pop()
                if event is not None:
                    self._room.set()
                    yield event.get_result().only()  # type: ignore[union-attr]  # it is done
                elif self._is_taken and not len(self._window):
                    break
                else:
                    await self._news.wait()
        finally:
            taking.cancel()
            self._window.withdraw()
            await asyncio.wait([taking])
        if self._error is not None:
            raise self._error

    async def _take(self) -> None:
        """Take and send the values, one when there is room for it."""
        try:
            if isinstance(self._values, AsyncIterable):
                async for value in self._values:
                    await self._put(value)
            else:
                for value in self._values:
                    await self._put(value)
        except Exception as exc:
            self._error = exc
        finally:
            self._is_taken = True
            self._news.set()

    async def _put(self, value: Any) -> None:
        """Send a value, and wait until the next one may be taken."""
        self._window.add(await self._send(value))
        while len(self._window) >= self._ahead:
            await self._room.wait()


def check_values(values: Any) -> None:
    """Raise ConfigError if it is not iterable."""
    if not isinstance(values, (Iterable, AsyncIterable)):
        raise ConfigError(f"a stream takes an iterable or async iterable of values, not {type(values).__name__}")


def check_ahead(ahead: Any) -> None:
    """Raise ConfigError if it is no number of values."""
    if isinstance(ahead, bool) or not isinstance(ahead, int) or ahead < 1:
        raise ConfigError(f"ahead takes a whole number of values, at least 1, not {ahead!r}")


def check_chunk(chunk: Any) -> None:
    """Raise ConfigError if it is no size of a chunk."""
    is_size = isinstance(chunk, int) and not isinstance(chunk, bool) and chunk >= 1
    if chunk is not None and chunk != "auto" and not is_size:
        raise ConfigError(f'chunk takes "auto", a whole number of values, at least 1, or None, not {chunk!r}')


class Signal:
    """Wakes the one task that waits for it. A signal that nobody waits for is not kept."""

    __slots__ = ("_waiter",)

    def __init__(self) -> None:
        self._waiter: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        """Wait for the next `set()`."""
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def set(self) -> None:
        """Wake the task that waits."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Window(Protocol):
    """The events of a stream that are not handed out yet."""

    def add(self, event: "CollectorEvent", /) -> None:
        """Add the event of the next value."""

    def pop(self) -> "CollectorEvent | None":
        """Remove and return the next event that is done; None if it is to be waited for."""

    def withdraw(self) -> None:
        """Cancel the events that have not begun."""

    def __len__(self) -> int:
        """Return how many events are here, done or not."""


class OrderedWindow:
    """Hands events out in the order of the values. `news` is set when `pop()` may return an event again."""

    def __init__(self, news: Signal) -> None:
        self._news = news
        self._events: deque[CollectorEvent] = deque()
        self._watched: CollectorEvent | None = None

    def add(self, event: "CollectorEvent") -> None:
        """Add the event of the next value."""
        self._events.append(event)
        if len(self._events) == 1:
            self._news.set()

    def pop(self) -> "CollectorEvent | None":
        """Remove and return the next event that is done; None if it is to be waited for."""
        if not self._events:
            return None
        event = self._events[0]
        if event.is_done():
            return self._events.popleft()
        if event is not self._watched:
            self._watched = event
            event.on_done(self._finished)
        return None

    def _finished(self, _event: "CollectorEvent") -> None:
        self._news.set()

    def withdraw(self) -> None:
        """Cancel the events that have not begun."""
        for event in self._events:
            event.note_look()  # the caller has left: what failed is of no interest
            event.cancel(running=False)

    def __len__(self) -> int:
        return len(self._events)


class UnorderedWindow:
    """Hands events out as they are done. `news` is set when `pop()` may return an event again."""

    def __init__(self, news: Signal) -> None:
        self._news = news
        self._pending: set[CollectorEvent] = set()
        self._done: deque[CollectorEvent] = deque()

    def add(self, event: "CollectorEvent") -> None:
        """Add the event of the next value."""
        if event.is_done():
            self._done.append(event)
            self._news.set()
        else:
            self._pending.add(event)
            event.on_done(self._finished)

    def pop(self) -> "CollectorEvent | None":
        """Remove and return the next event that is done; None if it is to be waited for."""
        return self._done.popleft() if self._done else None

    def _finished(self, event: "CollectorEvent") -> None:
        self._pending.discard(event)
        self._done.append(event)
        self._news.set()

    def withdraw(self) -> None:
        """Cancel the events that have not begun."""
        for event in (*self._pending, *self._done):  # what is done may have parts that nothing will read
            event.cancel(running=False)

    def __len__(self) -> int:
        return len(self._pending) + len(self._done)
