"""Ctrl-C and SIGTERM: the first starts an orderly shutdown, the second ends the process at once."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any, Final, Protocol

from event_collector.values.errors import ConfigError
from event_collector.values.refusals import QueueShutDown
from event_collector.watching.metrics import Accounting
from event_collector.watching.tables import plural


class Stoppable(Protocol):
    """A queue that can be shut down."""

    def accounting(self) -> Accounting:
        """Return the numbers of events."""

    async def shut_down_queue(self) -> None:
        """Shut down."""


SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Handles signals of this process, from `install()` to `close()`. Created in a running event loop.

    It uses `signal.signal()`, not the event loop, since the second signal must work while a handler blocks the loop.
    """

    def __init__(self, signals: Sequence[int] = SIGNALS) -> None:
        self._on_first: Callable[[], None] | None = None
        self._before_exit: Callable[[], None] | None = None
        self._signals = signals
        self._before: dict[int, Any] = {}
        self._loop = asyncio.get_running_loop()
        self._asked = asyncio.Event()
        self._number: int | None = None

    def install(self) -> None:
        """Install the handlers, except for a signal that the parent process has set to be ignored, as nohup does.

        Raises ConfigError outside of the main thread, since Python sets signal handlers there only.
        """
        for number in self._signals:
            handler = signal.getsignal(number)
            if handler == signal.SIG_IGN:
                continue
            try:
                signal.signal(number, self._on_signal)
            except ValueError as exc:
                raise ConfigError(f"signals can be taken in the main thread only: {exc}") from exc
            self._before[number] = signal.SIG_DFL if handler is None else handler

    def close(self) -> None:
        """Restore the previous handlers."""
        while self._before:
            signal.signal(*self._before.popitem())

    @property
    def received(self) -> signal.Signals | None:
        """The first signal; None before it."""
        return None if self._number is None else signal.Signals(self._number)

    def call_at(self, *, first: Callable[[], None], second: Callable[[], None] | None = None) -> None:
        """Have `first()` called in the handler of the first signal, and `second()` just before the second one ends all.

        Exceptions of `first()` are dropped.
        """
        self._on_first, self._before_exit = first, second

    def outlook(self, unfinished: int) -> str:
        """Return a text for the user: what the first signal has begun, and what the second one does."""
        doing = f"finishing {plural(unfinished, 'event')}" if unfinished else "ending"
        return f"{doing}; {'press Ctrl-C again' if self.received == signal.SIGINT else 'signal again'} to stop now"

    async def wait(self) -> None:
        """Wait for the first signal."""
        await self._asked.wait()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._number is not None:
            try:
                if self._before_exit is not None:
                    self._before_exit()
            finally:
                # Not sys.exit(), which would wait. Workers end with their parent.
                os._exit(exit_status(number))
        self._number = number
        self._loop.call_soon_threadsafe(self._asked.set)
        if self._on_first is not None:
            with contextlib.suppress(Exception):  # it would be raised in whatever the program is doing
                self._on_first()


@asynccontextmanager
async def drain_on_signal(queue: Stoppable, signals: Sequence[int] = SIGNALS) -> AsyncIterator[Interruption]:
    """Shut the queue down in an orderly way when the process receives a signal.

    Use it as `async with queue, drain_on_signal(queue) as interruption:` in the main thread. The first signal starts
    the shutdown: no event is accepted, and accepted events are finished within `consumer_shutdown_timeout`. A line on
    standard error says so at once, with the number of events. In the body, `send()` then raises QueueShutDown, which
    ends the body and is suppressed. A body that does not send can await `interruption.wait()`; `interruption.received`
    is the signal. The second signal ends the process at once, with the exit status of that signal.

    Leaving the body shuts the queue down, too, and then restores the previous signal handlers. A signal that the parent
    process has set to be ignored stays ignored.

    Args:
        queue: a running queue.
        signals: the signals to handle.

    Raises:
        ConfigError: this is not the main thread.
    """
    interruption = Interruption(signals)
    interruption.call_at(first=lambda: _announce(queue, interruption))
    draining = asyncio.create_task(_drain(queue, interruption), name="drain on signal")
    try:
        interruption.install()
        try:
            yield interruption
        except Exception as exc:
            if interruption.received is None or not _is_refusal(exc):
                raise
        finally:
            await queue.shut_down_queue()
    finally:
        interruption.close()
        if interruption.received is None:
            draining.cancel()
        await asyncio.wait([draining])
        if not draining.cancelled():
            draining.result()


def _announce(queue: Stoppable, interruption: Interruption) -> None:
    account = queue.accounting()
    text = interruption.outlook(account.in_handlers + account.queued + account.scheduled)
    # Not print(): the signal may have interrupted another one.
    os.write(sys.stderr.fileno(), f"event_collector: {text}\n".encode())


async def _drain(queue: Stoppable, interruption: Interruption) -> None:
    await interruption.wait()
    await queue.shut_down_queue()


def _is_refusal(exc: Exception) -> bool:
    """Return whether the body ended with the queue's refusal only, perhaps in several of its tasks."""
    if isinstance(exc, ExceptionGroup):
        return exc.split(QueueShutDown)[1] is None
    return isinstance(exc, QueueShutDown)


def exit_status(number: int) -> int:
    """Return the exit status of a process that a signal ended, by the convention of shells."""
    return 128 + number
