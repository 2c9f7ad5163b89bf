"""The stacks of a worker, in memory that outlives it: faulthandler writes them there, the program reads them.

They are the last part of the file of the worker's page. Program and worker share one open file, and with it the
position: the program sets it before it asks for a stack, and it tells how much faulthandler has written.
"""

import os
import signal
import threading
from io import FileIO
from typing import Final

from event_collector_workers.transport.sheet import SHEET_SIZE

STACK_AT: Final = 4096 + 128 * 1024 + SHEET_SIZE
"""Bytes of the file before the stacks: words, ring and sheet."""
STACK_SIZE: Final = 64 * 1024
"""Bytes of the stacks. Where the file can be sealed, faulthandler cannot write more."""

CALM_SIGNAL: Final[int | None] = getattr(signal, "SIGWINCH", None)
STACK_SIGNAL: Final[int | None] = getattr(signal, "SIGURG", None)
"""Ask a worker for the stacks of its threads, when it runs Python code, and at once. Handlers hardly use these signals,
and a process that has no handler for them ignores them, so that they harm nothing before a worker is ready, nor in the
programs that handlers start."""


class StackFile:
    """The program's side. Any thread may use it: `_lock` guards the position, and the file against its end.

    It takes over the descriptor `fd`.
    """

    def __init__(self, fd: int) -> None:
        self._file = FileIO(fd, "r+")
        self._lock = threading.Lock()
        self._file.seek(STACK_AT)

    def __repr__(self) -> str:
        return f"<StackFile {'closed' if self._file.closed else f'{len(self.read())} bytes'}>"

    def ask(self, pid: int, *, at_once: bool = False) -> bool:
        """Ask the worker for its stacks, in place of those that are there; return False if that is not possible.

        Unless it has to write `at_once`, it does so when it runs Python code.
        """
        number = STACK_SIGNAL if at_once else CALM_SIGNAL
        with self._lock:
            if number is None or self._file.closed:
                return False
            self._file.seek(STACK_AT)
            try:
                os.kill(pid, number)
            except OSError:
                return False
            return True

    def read(self) -> bytes:
        """Return what faulthandler has written so far."""
        with self._lock:
            if self._file.closed:
                return b""
            size = min(self._file.tell() - STACK_AT, STACK_SIZE)
            return os.pread(self._file.fileno(), size, STACK_AT) if size > 0 else b""

    def forget(self) -> None:
        """Have the next stacks replace those that are there."""
        with self._lock:
            if not self._file.closed:
                self._file.seek(STACK_AT)

    def close(self) -> None:
        """Close the file. Idempotent."""
        with self._lock:
            self._file.close()
