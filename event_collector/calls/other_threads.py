"""Calls from other threads than that of the queue's event loop."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Any, Final, TypeVar

from event_collector.values.errors import ConfigError
from event_collector.values.refusals import QueueShutDown

_T = TypeVar("_T")

ALERT: Final = 1.0
"""Seconds that a thread waits before it looks for signals again: one that comes just before a wait does not end it."""


def is_loop_here(loop: asyncio.AbstractEventLoop | None = None) -> bool:
    """Return whether this thread is the one in which this event loop runs; if None, in which any does."""
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        return False
    return loop is None or running is loop


def submit_from_thread(
    loop: asyncio.AbstractEventLoop | None, make: Callable[[], Coroutine[Any, Any, _T]], *, instead: str
) -> "Future[_T]":
    """Run a coroutine in the event loop of a queue. Cancelling the future cancels the coroutine.

    Args:
        loop: the event loop; None if the queue was never started.
        make: makes the coroutine, if there is a loop to run it.
        instead: what to write in the thread of the event loop.

    Raises:
        ConfigError: this is the thread of the event loop, which cannot wait for itself; or the queue was never started.
        QueueShutDown: the event loop is closed.
    """
    if loop is None:
        raise ConfigError("the queue has no event loop yet: start it before other threads use it")
    if is_loop_here(loop):
        raise ConfigError(f"this is the thread of the queue's event loop, which cannot wait for itself: use {instead}")
    coroutine = make()
    try:
        return asyncio.run_coroutine_threadsafe(coroutine, loop)
    except RuntimeError:
        coroutine.close()
        raise QueueShutDown("the event loop of the queue is closed") from None


def wait_in_thread(future: "Future[_T]") -> _T:
    """Wait for a future of `submit_from_thread()`. An interruption of the wait, as by Ctrl-C, cancels the coroutine.

    Raises QueueShutDown if the event loop ends before.
    """
    try:
        while not future.done():
            with suppress(TimeoutError):
                return future.result(ALERT)
        return future.result()  # which may be a TimeoutError of the handler
    except CancelledError:
        raise QueueShutDown("the event loop of the queue ended before the answer was there") from None
    finally:
        future.cancel()
