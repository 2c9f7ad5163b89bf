"""A page of shared memory with the events in handlers, so that the next program can count a crash for them.

The page also has the highest id in use. A handler may have had an event of `send_nowait()` before anything of it was in
the file, and no other event may get its id.

The page is a file that is mapped into memory, so the kernel keeps what was stored just before SIGKILL, or before a
handler ended the process. Storing an id costs no system call. A loss of power may lose the page; no event caused it.
"""

import mmap
import os
from array import array
from contextlib import suppress
from typing import Final

from event_collector.values.errors import JournalError

SUFFIX: Final = "-running"
SLOTS: Final = 4096
"""Events in handlers that the page holds. Crashes are not counted for further ones."""
SIZE: Final = SLOTS * 8 + 8
"""Bytes of the page. The last item is the highest id."""


class RunningPage:
    """The page of one journal, whose lock its owner holds. Raises JournalError if its file cannot be created."""

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path) + SUFFIX  # the program may go to another folder
        try:
            self._map = _open_map(self._path)
        except OSError as exc:
            raise JournalError(f"the journal {path} cannot be opened: {exc.strerror or exc}: {exc.filename}") from exc
        self._view = memoryview(self._map).cast("Q")
        *left, self.highest_id = array("Q", bytes(self._map)[:SIZE])
        """The highest id of this program; until `clear()`, of the program that died. 0 for none."""
        self.interrupted = frozenset(event_id for event_id in left if event_id)
        """Events that were in handlers when the last program died."""
        self._free = list(range(SLOTS))
        self._slots: dict[int, int] = {}

    def clear(self) -> None:
        """Erase what the last program left."""
        self._map[:] = bytes(SIZE)
        self.highest_id = 0

    def record_id(self, event_id: int) -> None:
        """Store the id of a new event, which is the highest so far."""
        self.highest_id = self._view[SLOTS] = event_id

    def begin(self, event_id: int) -> None:
        """Store that a handler has the event."""
        if self._free and event_id not in self._slots:
            slot = self._slots[event_id] = self._free.pop()
            self._view[slot] = event_id

    def end(self, event_id: int) -> None:
        """Store that no handler has the event. A no-op for an event that has not begun."""
        slot = self._slots.pop(event_id, None)
        if slot is not None:
            self._view[slot] = 0
            self._free.append(slot)

    def close(self, *, keep: bool = False) -> None:
        """Close the page and remove its file, unless `keep` is true because the journal could not be written."""
        self._view.release()
        self._map.close()
        if not keep:
            with suppress(OSError):  # removed by another program, or the folder is read-only now
                os.unlink(self._path)


def _open_map(path: str) -> mmap.mmap:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        missing = SIZE - os.fstat(fd).st_size
        if missing > 0:
            # Written zeros, not a hole: storing into a hole on a full disk would kill the program.
            os.lseek(fd, 0, os.SEEK_END)
            if os.write(fd, bytes(missing)) < missing:
                raise OSError(f"no room for {path}")
        return mmap.mmap(fd, SIZE)
    finally:
        os.close(fd)
