"""A clock that a test moves by hand, for queues and for the event loop they run in.

Timers fire in order: the time jumps to the next timer of the loop, its consequences happen, then to the one after it.
"""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final
from unittest import mock

from event_collector.values.checks import check_seconds
from event_collector.values.clock import TimeSource, clock
from event_collector.values.errors import ConfigError

QUIET: Final = 2
"""Idle turns of the loop after which it counts as quiet: one to poll sockets, one for what was found there."""
MOST_TURNS: Final = 10_000
"""Turns after which the time advances in spite of a task that never waits."""
GLANCE: Final = 0.001
"""Real seconds between two checks whether a thread has finished."""


class ManualClock(TimeSource):
    """Time for the queues and the event loop of a test, which stands still until `advance()` moves it.

    While the context is entered, retries, deadlines, timeouts, `asyncio.sleep()`, `asyncio.timeout()` and all other
    timers of asyncio's event loops in this thread use it. It begins at the time of `time.monotonic()`. Enter it before
    the queue is created, and leave it after the queue has ended. Threads and processes keep real time, and while a
    queue ends the clock goes by itself.

    Args:
        patience: real seconds that `advance()` waits for handlers in threads and in-process workers before it moves the
            time without them, so that a handler can exceed its timeout.

    Raises:
        ConfigError: another ManualClock is entered, or the event loop keeps its own time, as uvloop's does.
    """

    least_pause = 1.0  # at the real interval, an hour would have 72,000 readings of a queue's monitor
    _entered: "ManualClock | None" = None

    def __init__(self, *, patience: float = 1.0) -> None:
        check_seconds("ManualClock(patience=...) takes", patience, is_optional=False)
        self._now = 0.0
        self._ends = 0  # queues that are ending; meanwhile time goes by itself
        self._ahead = 0.0  # seconds that the clock is then ahead of time.monotonic()
        self._patience = patience
        self._under_way: set[Any] = set()
        """Jobs and calls whose end a thread will report to the loop. Written in the thread of the loop only."""
        self._stuck: set[Any] = set()  # those that are not waited for any more
        self._patches = ExitStack()

    @property
    def now(self) -> float:
        """The time, in seconds."""
        return self.monotonic()

    def monotonic(self) -> float:
        """Return the time, in seconds."""
        return time.monotonic() + self._ahead if self._ends else self._now

    def __enter__(self) -> "ManualClock":
        if ManualClock._entered is not None:
            raise ConfigError("a ManualClock is entered already: time can have one only")
        with suppress(RuntimeError):  # no loop runs yet
            _check(asyncio.get_running_loop())
        ManualClock._entered = self
        self._now = time.monotonic()
        self._under_way.clear()  # a loop may have ended before its calls
        thread, real = threading.get_ident(), asyncio.BaseEventLoop.time

        def loop_time(loop: asyncio.BaseEventLoop) -> float:
            return self.monotonic() if threading.get_ident() == thread else real(loop)

        self._patches.enter_context(mock.patch.object(asyncio.BaseEventLoop, "time", loop_time))
        self._patches.enter_context(clock.using(self))
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._patches.close()
        ManualClock._entered = None

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Let time go by itself while a queue ends: the test waits for it and could not move the clock."""
        if not self._ends:
            self._ahead = self._now - time.monotonic()
        self._ends += 1
        try:
            yield
        finally:
            self._now = self.monotonic()
            self._ends -= 1

    def watch(self, call: Any) -> None:
        """Have `advance()` wait for a call in a thread, or for a job."""
        self._under_way.add(call)
        if not isinstance(call, Future):
            return
        loop = asyncio.get_running_loop()

        def ended(done: Any) -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._under_way.discard, done)

        # Added later than the callbacks of the waiters, so that it is called after them.
        loop.call_soon(call.add_done_callback, ended)

    def forget(self, job: Any) -> None:
        """Stop waiting for a job."""
        self._under_way.discard(job)

    async def advance(self, seconds: float = 0.0) -> None:
        """Move the time forward; everything that is due meanwhile happens, with its consequences.

        Waits at most `patience` real seconds for handlers in threads or in-process workers; does not wait for worker
        processes or the network.

        Args:
            seconds: 0 or more; with 0 everything happens that needs no time.

        Raises:
            ConfigError: the clock is not entered, the loop keeps its own time, or `seconds` is negative.
        """
        loop = _check(asyncio.get_running_loop())
        if ManualClock._entered is not self:
            raise ConfigError("enter the clock before it is moved: `with ManualClock() as clock:`")
        if not seconds >= 0:
            raise ConfigError(f"time goes forward: advance() takes seconds from 0 on, not {seconds!r}")
        end = self._now + seconds
        await self._settle(loop)
        while (due := _next_due(loop)) <= end:
            self._now = max(self._now, due)
            await self._settle(loop)
        self._now = max(self._now, end)  # a queue may have ended meanwhile, and have taken longer
        await self._settle(loop)

    async def _settle(self, loop: Any) -> None:
        """Let everything happen that is due now."""
        await _quiet(loop)
        given_up = time.monotonic() + self._patience
        while self._under_way - self._stuck:
            if time.monotonic() > given_up:
                self._stuck = set(self._under_way)
            time.sleep(GLANCE)  # noqa: ASYNC251 - asyncio's time stands still
            await _quiet(loop)


async def _quiet(loop: Any) -> None:
    quiet = 0
    for _ in range(MOST_TURNS):
        await asyncio.sleep(0)
        quiet = 0 if loop._ready else quiet + 1
        if quiet == QUIET:
            return


def _next_due(loop: Any) -> float:
    return min((timer.when() for timer in loop._scheduled if not timer.cancelled()), default=float("inf"))


def _check(loop: asyncio.AbstractEventLoop) -> Any:
    """Return the loop if its clock can be replaced, as that of asyncio's own loops can, which are written in Python."""
    if not isinstance(loop, asyncio.BaseEventLoop):
        raise ConfigError(
            f"a ManualClock needs an event loop of asyncio; {type(loop).__module__} keeps its own time: run this test "
            "with asyncio's"
        )
    return loop
