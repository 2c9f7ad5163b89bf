"""The lifeline: a pipe that nothing is written to. Its end tells the pool's processes that the program is gone.

Only the program holds the writing end, so the kernel closes it however the program ends. It also kills the readers then
(Linux), in native code and stopped ones too. Elsewhere they have to read the end themselves.
"""

import contextlib
import os
import signal
import weakref
from io import FileIO


class Lifeline:
    """The program's side. Raises OSError if descriptors have run out."""

    def __init__(self) -> None:
        reader, writer = os.pipe()
        self._reader, self._writer = FileIO(reader), FileIO(writer, "w")
        _alive.add(self)

    def __repr__(self) -> str:
        return f"<Lifeline {'closed' if self._writer.closed else 'open'}>"

    def fileno(self) -> int:
        """Return the descriptor that the processes of the pool receive."""
        return self._reader.fileno()

    def close(self) -> None:
        """End the processes that still follow the program. Idempotent."""
        self._writer.close()
        self._reader.close()


_alive: weakref.WeakSet[Lifeline] = weakref.WeakSet()


def _close_all() -> None:
    for lifeline in list(_alive):
        lifeline.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_all)  # a fork of the program that lives on must not stand in for it


def follow(fd: int) -> FileIO:
    """Have the kernel kill the process group of this process, its leader, when the program is gone.

    Return the file whose end says the same, for platforms that cannot do that: Linux without /proc, macOS.
    """
    lifeline = received = FileIO(fd)
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl

        # The signal and its receiver belong to an open file. Inherited descriptors share one: open it once more.
        lifeline = FileIO(f"/proc/self/fd/{fd}")
        received.close()
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpid())
        fcntl.fcntl(lifeline, fcntl.F_SETFL, os.O_ASYNC)
    return lifeline
