"""Ctrl-C and SIGTERM: the first asks for an orderly end, the second ends the process at once."""

import asyncio
import os
import signal
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Interruption", "exit_status"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Takes the two signals of this process, from `install()` on.

    Handlers written in Python, not those of the event loop: the second signal must work while a handler blocks
    the loop.

    Attributes:
        before_exit: called at the second signal, just before the process ends.

    """

    def __init__(self) -> None:
        self.before_exit: Callable[[], None] = _nothing
        self._loop = asyncio.get_running_loop()
        self._asked = asyncio.Event()
        self._number: int | None = None

    def install(self) -> None:
        """Take the signals, except one that the parent of this process has it ignore, as nohup does."""
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._on_signal)

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


def _nothing() -> None:
    """There is nothing to do before the end."""


def exit_status(number: int) -> int:
    """Return the exit status of a process that a signal ended, as shells count it."""
    return 128 + number
