"""The watchdog: a thread that notices when a handler keeps the event loop from turning, and says which and where."""

import sys
import threading
import traceback
from collections.abc import Callable
from time import monotonic
from types import FrameType
from typing import Any

SUSPECT = 0.2
"""Seconds without a turn of the loop after which the stack of its thread is taken."""

PATIENCE = 0.8
"""Seconds after which it is reported while it lasts; what ends before is reported at its end, with its length."""


class Watchdog:
    """Watches the event loop of the thread that makes it, while a queue there has something to do.

    The loop writes `_beat`; the thread reads it, and writes `_suspect` with what it has seen. Each handler is
    reported once.

    Args:
        key_of: returns the key of the collector whose handler a stack is in; None if it is in none.
        log: where reports go.

    """

    def __init__(self, key_of: Callable[[FrameType | None], str | None], log: Any) -> None:
        self._key_of = key_of
        self._log = log
        self._beat = monotonic()
        self._suspect: tuple[str, float, str] | None = None  # collector, beat before the block, stack
        self._reported: set[str] = set()
        self._active = threading.Event()
        self._stopped = threading.Event()
        self._loop_thread = threading.get_ident()
        self._thread: threading.Thread | None = None

    def watch(self) -> None:
        """Begin to watch; the next beat is expected soon."""
        self._beat = monotonic()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="event loop watchdog", daemon=True)
            self._thread.start()
        self._active.set()

    def rest(self) -> None:
        """Stop watching until there is something to do again."""
        self._active.clear()
        self.beat()

    def beat(self) -> None:
        """The loop turns."""
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
            late = monotonic() - beat
            if late >= SUSPECT and self._active.is_set():
                self._look(beat)
            self._stopped.wait(SUSPECT / 4)

    def _look(self, beat: float) -> None:
        suspect = self._suspect
        if suspect is None or suspect[1] != beat:
            frame = sys._current_frames().get(self._loop_thread)
            key = self._key_of(frame)
            if key is not None and key not in self._reported:
                self._suspect = key, beat, "".join(traceback.format_stack(frame))
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
            remedy="await what waits; give a plain function mode='thread', or mode='process' if it needs the CPU",
            stack=stack,
        )
