"""Calls from other threads than that of the queue's event loop."""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeAlias, TypeVar

from event_collector.values.errors import ConfigError
from event_collector.values.refusals import QueueShutDown

_T = TypeVar("_T")

Make: TypeAlias = Callable[[], Coroutine[Any, Any, _T]]
"""Makes a coroutine; called in the event loop that runs it."""

ALERT: Final = 1.0
"""Seconds that a thread waits before it looks for signals again: one that comes just before a wait does not end it."""


def is_loop_here(loop: asyncio.AbstractEventLoop | None = None) -> bool:
    """Return whether this thread is the one in which this event loop runs; if None, in which any does."""
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        return False
    return loop is None or running is loop


class CallFuture(Future[_T]):
    """What a thread waits for. Ctrl-C ends the wait at whatever moment it comes.

    The wait of `Future` itself takes a lock by lines of Python. An interruption between them leaves that lock taken,
    and the event loop would stand still when it gives the result.
    """

    def __init__(self) -> None:
        super().__init__()
        self._ended: SimpleQueue[Any] = SimpleQueue()  # has an item from the end on; taking it is one step
        end = self._ended.put
        self.add_done_callback(lambda _: end(None))

    def result(self, timeout: float | None = None) -> _T:
        """Wait as `Future.result()` does."""
        self._wait(timeout)
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait as `Future.exception()` does."""
        self._wait(timeout)
        return super().exception(0)

    def _wait(self, timeout: float | None) -> None:
        end = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            left = end - time.monotonic()
            try:
                self._ended.get(timeout=min(max(left, 0.0), ALERT))
            except Empty:
                # The item is missing for good if an interruption came before it was given back.
                if left <= 0 or self.done():
                    return
            else:
                self._ended.put(None)  # for the next that waits
                return


class ThreadCalls:
    """Coroutines that other threads run in the event loop of a queue. Only the event loop uses `_tasks`.

    Args:
        find_loop: returns the event loop; None if the queue was never started.
        instead: what to write in the thread of the event loop.
    """

    def __init__(self, find_loop: Callable[[], asyncio.AbstractEventLoop | None], *, instead: str) -> None:
        self._find_loop, self._instead = find_loop, instead
        self._tasks: set[asyncio.Task[Any]] = set()

    def submit(self, make: Make[_T]) -> CallFuture[_T]:
        """Run a coroutine in the event loop. Cancelling the future cancels the coroutine.

        Raises:
            ConfigError: this is the thread of the event loop, which cannot wait for itself; or the queue was never
                started.
            QueueShutDown: the event loop is closed.
        """
        future: CallFuture[_T] = CallFuture()
        self._hand_over(make, future)
        return future

    def run(self, make: Make[_T]) -> _T:
        """Do what `submit()` does, and wait. An exception that interrupts the wait cancels the coroutine.

        Raises QueueShutDown also if the event loop ends before.
        """
        future: CallFuture[_T] = CallFuture()
        try:
            self._hand_over(make, future)
            return future.result()
        except CancelledError:
            raise QueueShutDown("the event loop of the queue ended before the answer was there") from None
        finally:
            future.cancel()

    def _hand_over(self, make: Make[_T], future: CallFuture[_T]) -> None:
        loop = self._find_loop()
        if loop is None:
            raise ConfigError("the queue has no event loop yet: start it before other threads use it")
        if is_loop_here(loop):
            raise ConfigError(
                f"this is the thread of the queue's event loop, which cannot wait for itself: use {self._instead}"
            )
        try:
            loop.call_soon_threadsafe(self._begin, loop, make, future)
        except RuntimeError:
            raise QueueShutDown("the event loop of the queue is closed") from None

    async def finish(self, bound: float | None) -> None:
        """Wait for all that was submitted; cancel what is left after a number of seconds. None: wait without end."""
        if tasks := self._tasks:
            for task in (await asyncio.wait(tasks, timeout=bound))[1]:
                task.cancel()

    def _begin(self, loop: asyncio.AbstractEventLoop, make: Make[_T], future: CallFuture[_T]) -> None:
        """Begin in the event loop."""
        if future.cancelled():
            return
        task = loop.create_task(make())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda task: _end(task, future))
        future.add_done_callback(lambda _: _cancel(loop, task))


def _end(task: "asyncio.Task[_T]", future: CallFuture[_T]) -> None:
    """Give the result to the future, unless a thread has cancelled it."""
    error = None if task.cancelled() else task.exception()
    if task.cancelled():
        future.cancel()
    if not future.set_running_or_notify_cancel():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(task.result())


def _cancel(loop: asyncio.AbstractEventLoop, task: "asyncio.Task[Any]") -> None:
    """Cancel the task of a future that has ended, in any thread. Nothing happens if the task has ended too."""
    if not task.done():
        with suppress(RuntimeError):  # the loop is closed, and the task ended with it
            loop.call_soon_threadsafe(task.cancel)
