"""A clock that a test moves by hand: for queues, and for the event loop they run in.

What is due happens in its order: time goes to the next timer of the loop, everything that follows from it is done, then
on to the next one, up to the time that was asked for.
"""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType
from typing import Any, Final
from unittest import mock

from event_collector.values.clock import TimeSource, clock
from event_collector.values.errors import ConfigError

QUIET: Final = 2
"""Turns of the loop with nothing to do, after which nothing more will happen by itself: one to look at sockets, one for
what was found there."""
MOST_TURNS: Final = 10_000
"""Turns after which time goes on in spite of a task that never waits."""
CALM: Final = 1.0
"""Seconds between two looks of a queue's monitor: as often as in real time, an hour would have 72,000 of them."""
GLANCE: Final = 0.001
"""Seconds, real ones, between two looks whether a thread is through."""


class ManualClock(TimeSource):
    """Time for the queues and the event loop of a test, which stands still until `advance()` moves it.

    While the context is entered, waits for retries, deadlines and timeouts, `asyncio.sleep()`, `asyncio.timeout()` and
    all other timers of asyncio's event loops in this thread go by it. It begins at the time of `time.monotonic()`.
    Enter it before the queue is made, and leave it after the queue has ended. Threads and processes keep real time, and
    while a queue ends the clock goes by itself.

    Args:
        patience: real seconds that `advance()` waits for handlers in threads and in-process workers before it lets time
            go on without them, so that a handler may be found to take too long.

    Raises:
        ConfigError: entered while another one is, or in an event loop that keeps its own time, such as uvloop's.

    """

    least_pause = CALM

    _entered: "ManualClock | None" = None

    def __init__(self, *, patience: float = 1.0) -> None:
        self._now = 0.0
        self._ends = 0
        """How many queues are ending, during which time goes by itself."""
        self._ahead = 0.0
        """Seconds that the clock is ahead of time.monotonic() then."""
        self._patience = patience
        self._under_way: set[Any] = set()
        """Jobs and calls that a thread will tell the event loop of. Written in the thread of the loop only."""
        self._stuck: set[Any] = set()
        """What is not waited for any more."""
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
        _check(_running_loop())
        ManualClock._entered = self
        self._now = time.monotonic()
        self._under_way.clear()  # of loops that have ended without the end of what ran there
        thread, real = threading.get_ident(), asyncio.BaseEventLoop.time

        def loop_time(loop: asyncio.BaseEventLoop) -> float:
            return self.monotonic() if threading.get_ident() == thread else real(loop)

        self._patches.enter_context(mock.patch.object(asyncio.BaseEventLoop, "time", loop_time))
        self._patches.enter_context(clock.using(self))
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._patches.close()
        ManualClock._entered = None

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Have time go by itself: nobody could move it while a queue is waited for to end."""
        if not self._ends:
            self._ahead = self._now - time.monotonic()
        self._ends += 1
        try:
            yield
        finally:
            self._now = self.monotonic()
            self._ends -= 1

    def watch(self, call: Any) -> None:
        """Wait for a call in a thread, or for a job, before time goes on."""
        self._under_way.add(call)
        if not isinstance(call, Future):
            return
        loop = asyncio.get_running_loop()

        def ended(done: Any) -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._under_way.discard, done)

        # Later than those who wait for it: callbacks are called in the order in which they were added.
        loop.call_soon(call.add_done_callback, ended)

    def forget(self, job: Any) -> None:
        """Wait for a job no longer."""
        self._under_way.discard(job)

    async def advance(self, seconds: float = 0.0) -> None:
        """Let time pass, and all happen that is due until then, and what follows from that.

        Waits for handlers that are in threads or in-process workers, `patience` real seconds at most; not for worker
        processes, nor for what comes by a network.

        Args:
            seconds: how long, 0 or more; 0 only has all happen that needs no time.

        Raises:
            ConfigError: the clock is not entered, the loop keeps its own time, or `seconds` is below 0.

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
        """Let everything happen that needs no time."""
        await _quiet(loop)
        given_up = time.monotonic() + self._patience
        while self._under_way - self._stuck:
            if time.monotonic() > given_up:
                self._stuck = set(self._under_way)
            time.sleep(GLANCE)  # noqa: ASYNC251 - asyncio's time stands still
            await _quiet(loop)


async def _quiet(loop: Any) -> None:
    """Wait until the loop has nothing to do for some turns."""
    quiet = 0
    for _ in range(MOST_TURNS):
        await asyncio.sleep(0)
        quiet = 0 if loop._ready else quiet + 1
        if quiet == QUIET:
            return


def _next_due(loop: Any) -> float:
    """Return when the next timer of the loop is due; infinity if there is none."""
    return min((timer.when() for timer in loop._scheduled if not timer.cancelled()), default=float("inf"))


def _check(loop: asyncio.AbstractEventLoop | None) -> Any:
    """Return the loop, if its time can be another: asyncio's own are written in Python."""
    if loop is not None and not isinstance(loop, asyncio.BaseEventLoop):
        raise ConfigError(
            f"a ManualClock needs an event loop of asyncio; {type(loop).__module__} keeps its own time: run this test "
            "with asyncio's"
        )
    return loop


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
