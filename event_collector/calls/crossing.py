"""A stream that a thread reads: values go from the thread to the event loop, and results come back.

thread:      values --> results() ------.            .-----> for result in ...
v            |
event loop:                         Intake --> a stream of the queue
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing, suppress
from queue import Empty, SimpleQueue
from typing import Any, Final

from event_collector.calls.other_threads import ALERT, is_loop_here
from event_collector.calls.stream import Signal
from event_collector.values.refusals import QueueShutDown

_END: Final = object()
"""Comes after the last value, and after the last result."""

_WANTED: Final = object()
"""Comes among the results: the stream takes a value."""

HANDED: Final = 16
"""Results that wait for the thread at most, where a value may have several."""


class Intake:
    """The values that the thread has handed over: an async iterator for the event loop.

    The thread appends, and clears `_is_idle` when it wakes the loop; the loop takes, and sets it. A thread that misses
    the mark wakes the loop in vain; a loop that has set it looks once more before it waits.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, ask: Callable[[], None]) -> None:
        self._loop, self._ask = loop, ask
        self._values: deque[Any] = deque()
        self._is_idle = False
        self._news = Signal()

    def put(self, value: Any) -> None:
        """Hand a value to the event loop; the thread calls this."""
        self._values.append(value)
        if self._is_idle:
            self._is_idle = False
            _wake(self._loop, self._news)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        while not self._values:
            self._is_idle = True
            if not self._values:
                self._ask()
                await self._news.wait()
        value = self._values.popleft()
        if value is _END:
            raise StopAsyncIteration
        return value


class Crossing:
    """One stream of a queue, read by a thread. Iterate `results()` in one thread at a time.

    Args:
        loop: the event loop of the queue.
        stream: takes an async iterable of values, and returns the stream.
        values: taken in the thread that reads, while it waits for a result.
        ahead: the number of values that are taken and whose results are not yielded yet, at most. None: a value may
            have any number of results, so the stream has to ask for each.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        stream: Callable[[Any], AsyncGenerator[Any, None]],
        values: Iterable[Any],
        ahead: int | None,
    ) -> None:
        self._loop, self._values = loop, values
        self._ahead, self._most = (0, HANDED) if ahead is None else (ahead, ahead)
        self._arrived: SimpleQueue[Any] = SimpleQueue()
        self._intake = Intake(loop, _nothing if ahead is not None else lambda: self._arrived.put(_WANTED))
        self._stream = stream(self._intake)
        self._room = Signal()  # for _read()
        self._is_full = False  # as the marks of Intake: the loop sets it, the thread clears it
        self._error: BaseException | None = None  # of the stream; the loop sets it before the last result
        self._ended = threading.Event()
        self._task: asyncio.Task[None] | None = None  # of the loop, which alone reads it

    def results(self) -> Iterator[Any]:
        """Yield the results. The end of the generator, however it comes, ends the stream."""
        try:
            self._hand_over()
            source, is_taken, on_way, is_wanted = iter(self._values), False, 0, False
            while True:
                if is_wanted or (not is_taken and on_way < self._ahead and self._arrived.empty()):
                    value = next(source, _END)
                    self._intake.put(value)
                    is_taken, is_wanted = value is _END, False
                    on_way += 1
                    continue
                result = self._next_arrived()
                if result is _END:
                    break
                if result is _WANTED:
                    is_wanted = True
                    continue
                on_way -= 1
                self._make_room()
                yield result
        finally:
            self.close()
        if self._error is not None:
            raise self._error

    def _hand_over(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._begin)
        except RuntimeError:
            raise _no_queue() from None

    def _next_arrived(self) -> Any:
        while True:
            with suppress(Empty):
                return self._arrived.get(timeout=ALERT)

    def _make_room(self) -> None:
        if self._is_full and self._arrived.qsize() <= self._most // 2:
            self._is_full = False
            _wake(self._loop, self._room)

    def close(self) -> None:
        """Withdraw what has not begun, and wait until that is done; any thread may call this."""
        try:
            self._loop.call_soon_threadsafe(self._stop)
        except RuntimeError:  # the loop is closed, and with it the stream
            self.abandon()
        if not is_loop_here(self._loop):  # where the garbage collector may call this
            self._ended.wait()

    def has_ended(self) -> bool:
        """Return whether nothing is left of the stream. An interruption of `close()` may leave something."""
        return self._ended.is_set()

    def abandon(self) -> None:
        """End the stream for the thread, if the event loop can no longer do that: it is closed."""
        if not self._ended.is_set():
            self._end(_no_queue())

    # In the event loop

    def _begin(self) -> None:
        if not self._ended.is_set():
            self._task = asyncio.create_task(self._read(), name="crossing")
            self._task.add_done_callback(lambda task: self._end(_no_queue() if task.cancelled() else task.exception()))

    async def _read(self) -> None:
        async with aclosing(self._stream):
            async for result in self._stream:
                self._arrived.put(result)
                while self._arrived.qsize() >= self._most:
                    self._is_full = True
                    if self._arrived.qsize() >= self._most:
                        await self._room.wait()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        elif not self._ended.is_set():
            self._end(_no_queue())

    def _end(self, error: BaseException | None) -> None:
        self._error = error
        self._arrived.put(_END)
        self._ended.set()


def _wake(loop: asyncio.AbstractEventLoop, signal: Signal) -> None:
    with suppress(RuntimeError):  # the loop is closed: the end of the stream is among the results
        loop.call_soon_threadsafe(signal.set)


def _nothing() -> None:
    """The thread needs no question: it knows how many values there may be."""


def _no_queue() -> QueueShutDown:
    return QueueShutDown("the stream has ended with its queue")
