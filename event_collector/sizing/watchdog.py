"""The watchdog: a thread that detects handlers that block the event loop, and logs their stack."""

import sys
import threading
from collections.abc import Callable
from time import monotonic
from types import FrameType
from typing import Any, Final

from event_collector.handlers.stack_frames import stack_text

SUSPECT: Final = 0.2
"""Seconds without a turn of the loop after which the stack of its thread is taken."""

PATIENCE: Final = 0.8
"""Seconds after which a block is reported while it lasts. A shorter one is reported at its end, with its length."""


class Watchdog:
    """Watches the event loop of the thread that creates it, while its queue is active.

    The loop writes `_beat`; the thread reads it, and writes `_suspect`. Each handler is reported once. `key_of` returns
    the key of the collector whose handler a frame is in, or None.
    """

    def __init__(self, key_of: Callable[[FrameType | None], str | None], log: Any) -> None:
        self._key_of, self._log = key_of, log
        self._beat = monotonic()
        self._suspect: tuple[str, float, str] | None = None  # collector, beat before the block, stack
        self._reported: set[str] = set()
        self._active = threading.Event()
        self._stopped = threading.Event()
        self._loop_thread = threading.get_ident()
        self._thread: threading.Thread | None = None

    @property
    def blockers(self) -> list[str]:
        """Keys of the collectors that were reported."""
        return sorted(self._reported.copy())  # its thread adds

    def watch(self) -> None:
        """Start watching."""
        self._beat = monotonic()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="event loop watchdog", daemon=True)
            self._thread.start()
        self._active.set()

    def rest(self) -> None:
        """Stop watching until `watch()` is called again."""
        self._active.clear()
        self.beat()

    def beat(self) -> None:
        """Note that the loop turns."""
        suspect, self._suspect = self._suspect, None
        now = monotonic()
        self._beat, began = now, self._beat
        if suspect is not None and suspect[1] == began:
            self._report(suspect, now)

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._active.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while self._active.wait() and not self._stopped.is_set():
            beat = self._beat
            if monotonic() - beat >= SUSPECT and self._active.is_set():
                self._look(beat)
            self._stopped.wait(SUSPECT / 4)

    def _look(self, beat: float) -> None:
        suspect = self._suspect
        if suspect is None or suspect[1] != beat:
            frame = sys._current_frames().get(self._loop_thread)
            key = self._key_of(frame)
            if key is not None and key not in self._reported:
                self._suspect = key, beat, stack_text(frame)
        elif monotonic() - beat >= PATIENCE:
            self._report(suspect, monotonic())

    def _report(self, suspect: tuple[str, float, str], now: float) -> None:
        key, beat, stack = suspect
        if key in self._reported:
            return
        self._reported.add(key)
        self._log.warning(
            "handler blocked the event loop",
            collector=key,
            seconds=round(now - beat, 3),
            remedy="use `await` for waits; give a plain function mode='thread', or mode='process' if it needs the CPU",
            stack=stack,
        )
