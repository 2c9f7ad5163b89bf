"""One segment, as the program sees it."""

import os
from typing import ClassVar, Final

from event_collector_workers.segments.mapping import Mapping
from event_collector_workers.segments.nameless_file import allocate, create_nameless_file
from event_collector_workers.segments.segment_sizes import PAGE


class Segment:
    """Memory that the program shares with its workers.

    Args:
        size: In bytes.
        is_for_results: The worker writes it, and the program reads. Otherwise it is the other way round.

    Raises:
        OSError: Descriptors, memory or address space have run out.
    """

    is_for_one: ClassVar[bool] = True
    """Whether no other worker gets it, so that its file is closed when all its pages are there."""

    __slots__ = ("_fd", "allocated", "is_for_results", "mapping", "size")

    def __init__(self, size: int, *, is_for_results: bool) -> None:
        self.size: Final = size
        self.is_for_results: Final = is_for_results
        self.allocated = 0
        """Bytes that are there, from the first one on. Those of a segment for results are the worker's task."""
        self._fd = create_nameless_file()
        try:
            os.ftruncate(self._fd, size)
            self.mapping: Final = Mapping(self._fd, size)
        except BaseException:
            self.close_file()
            raise

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.size} bytes{' for results' if self.is_for_results else ''}>"

    def fileno(self) -> int:
        """Return the descriptor. Raises ValueError if the file is closed."""
        if self._fd < 0:
            raise ValueError("the file of this segment is closed")
        return self._fd

    def allocate(self, most: int) -> int:
        """Allocate about so many bytes more, at most; return how many. Raises OSError if memory runs out."""
        count = min(-(-most // PAGE) * PAGE, self.size - self.allocated)
        if count > 0:
            allocate(self.fileno(), self.mapping.memory, self.allocated, count)
            self.allocated += count
        if self.allocated == self.size and self.is_for_one:
            self.close_file()
        return count

    def close_file(self) -> None:
        """Close the file; the mapping stays. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
