"""The lock of a journal: one program at a time, and none after the death of its holder.

The kernel holds the lock for the process, so SIGKILL frees it, too. The lock file stays beside the journal: if it were
removed, two processes could lock two files of the same name. It contains the pid of the holder.
"""

import os
import sys
import threading
from typing import Final

from event_collector.values.errors import JournalError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

SUFFIX: Final = "-lock"

_held: set[str] = set()
"""Lock files that this process holds. The kernel would grant a process the same lock twice, and release both when one
is closed. Written by the threads of journals under `_guard`."""
_guard: Final = threading.Lock()


class JournalLock:
    """The exclusive right to write to one journal. Raises JournalError if it cannot be acquired at once."""

    def __init__(self, path: str) -> None:
        self.path = os.path.realpath(path) + SUFFIX
        with _guard:
            self._fd = self._acquire(path)
            _held.add(self.path)
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        os.write(self._fd, b"%d\n" % os.getpid())

    def _acquire(self, path: str) -> int:
        if self.path in _held:
            raise JournalError(f"the journal {path} is in use by another queue of this process, pid {os.getpid()}")
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
        except OSError as exc:
            raise JournalError(
                f"the journal {path} cannot be locked: {exc.strerror}: {self.path}. It needs a folder that exists "
                f"and that this user may write to"
            ) from exc
        try:
            _lock(fd)
        except OSError as exc:
            holder = _holder(fd)
            os.close(fd)
            raise JournalError(
                f"the journal {path} is in use by {holder}: end that program first, or give this one a journal of "
                f"its own"
            ) from exc
        return fd

    def release(self) -> None:
        """Release the lock."""
        with _guard:
            # Close first: closing later would also release the lock of a queue of this process that acquired it.
            os.close(self._fd)
            _held.discard(self.path)


def _lock(fd: int) -> None:
    if sys.platform == "win32":
        os.lseek(fd, 1 << 30, os.SEEK_SET)  # beyond the pid, which others could not read otherwise
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
    else:
        # A lock of the process, not of the open file: forked workers must not keep it.
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(fd: int) -> str:
    os.lseek(fd, 0, os.SEEK_SET)
    pid = os.read(fd, 32).strip().decode("ascii", "replace")
    return f"another process, pid {pid}" if pid.isdigit() else "another process"
