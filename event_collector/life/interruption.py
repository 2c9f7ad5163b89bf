"""Ctrl-C and SIGTERM: the first asks for an orderly end, the second ends the process at once."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any, Protocol

from event_collector.values.errors import ConfigError
from event_collector.values.refusals import QueueShutDown


class Stoppable(Protocol):
    """A queue, as far as its end goes."""

    async def shut_down_queue(self) -> None:
        """End."""


SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Takes signals of this process, from `install()` to `close()`. Made within a running event loop.

    Handlers written in Python, not those of the event loop: the second signal must work while a handler blocks
    the loop.

    Args:
        signals: which signals.

    Attributes:
        before_exit: called at the second signal, just before the process ends.

    """

    def __init__(self, signals: Sequence[int] = SIGNALS) -> None:
        self.before_exit: Callable[[], None] = _nothing
        self._signals = signals
        self._before: dict[int, Any] = {}
        self._loop = asyncio.get_running_loop()
        self._asked = asyncio.Event()
        self._number: int | None = None

    def install(self) -> None:
        """Take the signals, except one that the parent of this process has it ignore, as nohup does.

        Raises:
            ConfigError: this is not the main thread, where Python has signals handled.

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
        """Give the signals back to whoever had them."""
        while self._before:
            signal.signal(*self._before.popitem())

    @property
    def received(self) -> signal.Signals | None:
        """The first signal; None when there was none."""
        return None if self._number is None else signal.Signals(self._number)

    async def wait(self) -> None:
        """Wait for the first signal."""
        await self._asked.wait()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._number is not None:
            try:
                self.before_exit()
            finally:
                # Workers end when their parent does; nothing else may hold this up.
                os._exit(exit_status(number))
        self._number = number
        self._loop.call_soon_threadsafe(self._asked.set)


@asynccontextmanager
async def drain_on_signal(
    queue: Stoppable, signals: Sequence[int] = (signal.SIGTERM, signal.SIGINT)
) -> AsyncIterator[Interruption]:
    """End the queue in an orderly way when the process is asked to end.

    Used as `async with queue, drain_on_signal(queue):`, in the main thread. The first signal begins the shutdown of
    the queue: nothing is accepted any more, and what was accepted is finished, within the queue's
    `consumer_shutdown_timeout`. The body learns of it in one of two ways: `send()` raises QueueShutDown, which ends
    the body and goes no further; or it waits for `wait()` of what this yields, whose `received` tells the signal. The
    second signal ends the process at once, with the exit status of that signal.

    Leaving the body ends the queue too, with the signals still taken; only then do they go back to whoever had them.
    A signal that the parent process has had ignored stays ignored.

    Args:
        queue: a queue that runs.
        signals: which signals.

    Raises:
        ConfigError: this is not the main thread.

    """
    interruption = Interruption(signals)
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


async def _drain(queue: Stoppable, interruption: Interruption) -> None:
    await interruption.wait()
    await queue.shut_down_queue()


def _is_refusal(exc: Exception) -> bool:
    """Return whether nothing but the queue's refusal ended the body, perhaps in several of its tasks."""
    if isinstance(exc, ExceptionGroup):
        return exc.split(QueueShutDown)[1] is None
    return isinstance(exc, QueueShutDown)


def _nothing() -> None:
    """There is nothing to do before the end."""


def exit_status(number: int) -> int:
    """Return the exit status of a process that a signal ended, as shells count it."""
    return 128 + number
