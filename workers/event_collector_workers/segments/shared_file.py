"""Data that all workers of a pool read, in one file without a name: none of them has a copy of its own."""

import mmap
import os
from collections.abc import Iterator, Sequence
from typing import Final

from event_collector_workers.job import Buffer
from event_collector_workers.segments.nameless_file import create_nameless_file, map_file

_ALIGNMENT: Final = 64  # bytes; arrays over other addresses are slow
_AT_ONCE: Final = 2 * 1024 * 1024  # bytes written before control returns to the event loop

Layout = list[list[tuple[int, int]]]
"""Of each task: place and size of its buffers in the file."""


class SharedFile:
    """The program's side. `data`: the buffers of each task."""

    def __init__(self, data: Sequence[Sequence[Buffer]]) -> None:
        self.layout: Layout = []
        self._parts: list[tuple[int, memoryview]] = []
        size = 0
        for buffers in data:
            places = []
            for buffer in buffers:
                part = memoryview(buffer).cast("B")
                places.append((size, part.nbytes))
                self._parts.append((size, part))
                size += -(-part.nbytes // _ALIGNMENT) * _ALIGNMENT
            self.layout.append(places)
        self._fd, self._size = -1, size
        if not size:
            self.layout = []

    def __repr__(self) -> str:
        return f"<SharedFile of {self._size} bytes>"

    @property
    def descriptors(self) -> list[int]:
        """The descriptor that workers need, if there is any data."""
        return [] if self._fd < 0 else [self._fd]

    def write(self) -> Iterator[None]:
        """Write the data, some of it in each step. Raises OSError if descriptors or memory run out."""
        if self._parts:
            self._fd = create_nameless_file()
            os.ftruncate(self._fd, self._size)
        for place, part in self._parts:
            done = 0
            while done < part.nbytes:
                done += os.pwrite(self._fd, part[done : done + _AT_ONCE], place + done)
                yield
        self._parts.clear()

    def close(self) -> None:
        """Close the file; workers keep theirs. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def read_shared(fd: int, layout: Layout) -> list[list[memoryview]]:
    """Return views of the data of each task, in a worker. Raises OSError, for example beyond RLIMIT_AS."""
    try:
        size = os.fstat(fd).st_size
        try:
            memory = memoryview(map_file(fd, size, mmap.ACCESS_READ))
        except OSError as error:
            text = f"this worker cannot map the {size} bytes of shared data: {error.strerror}"
            raise OSError(error.errno, text) from error
    finally:
        os.close(fd)
    return [[memory[place : place + nbytes] for place, nbytes in places] for places in layout]
