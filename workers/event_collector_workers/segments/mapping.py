"""Memory that knows whether anything looks into it."""

import mmap
from sys import getrefcount
from typing import Final

from event_collector_workers.segments.nameless_file import map_file


class Mapping:
    """The first `size` bytes of a file, in this process.

    Whatever looks into the memory has a reference to the mapping: a memoryview, an array over it or over a slice of it,
    an Arrow buffer. So the number of references tells whether anything does, and nothing has to be told when the last
    one goes, whether that is in a cycle, in another thread or in a finalizer. The memory stays as long as the mapping.

    Raises OSError if descriptors, memory or address space have run out.
    """

    __slots__ = ("_unseen", "memory")

    def __init__(self, fd: int, size: int, access: int = mmap.ACCESS_WRITE) -> None:
        self.memory: Final = map_file(fd, size, access)
        self._unseen = getrefcount(self.memory)

    def __repr__(self) -> str:
        return f"<Mapping of {len(self.memory)} bytes{', seen' if self.is_seen else ''}>"

    @property
    def is_seen(self) -> bool:
        """Whether anything looks into the memory."""
        return getrefcount(self.memory) > self._unseen

    def view(self, nbytes: int) -> memoryview:
        """Return a view of the first bytes. It is read-only if the mapping is."""
        return memoryview(self.memory)[:nbytes]
