"""Which events are in handlers, on a page of memory that outlives the program: for whom a crash is counted.

And the highest id that was given: an event of `send_nowait()` may have been in its handler, and be finished, before any
of it is in the file; nobody else is to get its id.

A page of a file that is mapped into memory is the kernel's: what was stored there the moment before SIGKILL, or before
a handler ended the process, is found by the next program. To store an id costs no system call and no wait, so that even
an event that ends the program at once is found out. A loss of power, which is nobody's fault, may take the page.
"""

import mmap
import os
from array import array
from typing import Final

__all__ = ["RunningPage"]

SUFFIX: Final = "-running"
SLOTS: Final = 4096
"""Events in handlers at once that are kept track of; of the others a crash is not counted."""
SIZE: Final = SLOTS * 8 + 8
"""The last place has the highest id."""
_FLAGS: Final = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


class RunningPage:
    """The page of one journal, whose lock its owner has.

    Args:
        path: of the journal.

    Raises:
        OSError: the file cannot be made.

    """

    def __init__(self, path: str) -> None:
        self._path = path + SUFFIX
        fd = os.open(self._path, _FLAGS, 0o600)
        try:
            missing = SIZE - os.fstat(fd).st_size
            if missing > 0:
                # Zeros that are written, not a hole: to store into one on a full disk would end the program.
                os.lseek(fd, 0, os.SEEK_END)
                if os.write(fd, bytes(missing)) < missing:
                    raise OSError(f"no room for {self._path}")
            self._map = mmap.mmap(fd, SIZE)
        finally:
            os.close(fd)
        self._view = memoryview(self._map).cast("Q")
        *left, self.highest = array("Q", bytes(self._map)[:SIZE])
        """The highest id that the last program gave, if it died."""
        self.left = frozenset(number for number in left if number)
        """The events that were in handlers when the last program died."""
        self._free = list(range(SLOTS))
        self._slots: dict[int, int] = {}

    def forget(self) -> None:
        """What was left is on record."""
        self._map[:] = bytes(SIZE)
        self.highest = 0

    def give(self, number: int) -> None:
        """The event has this id; it is the highest so far."""
        self.highest = self._view[SLOTS] = number

    def begin(self, number: int) -> None:
        """A handler has the event."""
        if self._free and number not in self._slots:
            slot = self._slots[number] = self._free.pop()
            self._view[slot] = number

    def end(self, number: int) -> None:
        """No handler has the event any more, if one had."""
        slot = self._slots.pop(number, None)
        if slot is not None:
            self._view[slot] = 0
            self._free.append(slot)

    def close(self, *, keep: bool = False) -> None:
        """The program ends in good order: nothing is left of the page, unless the file could not be written."""
        self._view.release()
        self._map.close()
        if keep:
            return
        try:
            os.unlink(self._path)
        except OSError:
            return  # somebody was faster, or the folder is read-only now
