"""Copies of large buffers that can change, in memory that is used again.

The kernel clears each page that a process gets, which takes longer than the copy, and the event loop waits for both. So
the memory of copies that nothing refers to any more is kept for a while. New memory is in huge pages where the platform
has them, which takes a fifth of the time.
"""

import asyncio
import math
import mmap
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from event_collector.values.clock import clock
from event_collector_workers.job import Buffer
from event_collector_workers.machine import memory_limit
from event_collector_workers.segments.mapping import MappedMemory
from event_collector_workers.segments.segment_sizes import size_for, suits

KEPT_FROM: Final = 512 * 1024
"""Minimum size in bytes of a copy whose memory is kept. That of smaller ones the heap keeps."""
MOST_KEPT: Final = 256 << 20
"""Bytes of memory that a thread keeps, at most, and no more than a share of what the program may use. Copies at the
same time may need more."""
IDLE: Final = 5.0
"""Seconds for which memory is kept that nothing refers to."""

_SHARE: Final = 16
_HUGE_PAGE: Final = 2 << 20
_HUGE_FROM: Final = 2 * _HUGE_PAGE


class Copies(threading.local):
    """Makes the copies of one thread."""

    def __init__(self) -> None:
        self._kept: list[_Memory] = []
        self._most = 0  # bytes to keep; measured when there is something
        self._loop: Callable[[], object] = object  # the event loop that releases what is kept, if it still exists

    def of(self, parts: Sequence[Buffer]) -> memoryview:
        """Return the bytes of the parts, one after the other, in read-only memory of their own."""
        size = sum(map(len, parts))
        pages = self._pages_for(size) if size >= KEPT_FROM else None
        if pages is None:
            return memoryview(b"".join(parts))  # not as bytes, which would arrive as such, with one more copy
        view = memoryview(pages)
        start = 0
        for part in parts:
            view[start : start + len(part)] = part
            start += len(part)
        return view[:size].toreadonly()

    @property
    def kept(self) -> int:
        """Bytes of memory that are kept, in use or not."""
        return sum(len(memory.memory) for memory in self._kept)

    def release(self, before: float = math.inf) -> None:
        """Give back memory that nothing refers to, and nothing has used since this time, by the clock of the queues."""
        self._kept = [memory for memory in self._kept if memory.used > before or memory.is_seen]

    def _pages_for(self, size: int) -> mmap.mmap | None:
        """Return memory that nothing else refers to; None if there is none."""
        for memory in self._kept:
            if suits(len(memory.memory), size) and not memory.is_seen:
                memory.note_use()
                self._will_release()  # the event loop may be another one by now
                return memory.memory
        try:
            made = _Memory(size)
        except (OSError, AttributeError):  # a limit of the address space; a platform without such memory
            return None
        self._most = self._most or min(MOST_KEPT, (memory_limit() or 0) // _SHARE)
        if self.kept + len(made.memory) <= self._most and self._will_release():
            self._kept.append(made)
        return made.memory

    def _will_release(self) -> bool:
        """See to it that the event loop releases what is kept; return False if there is none."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        if self._loop() is not loop:
            self._loop = weakref.ref(loop)
            loop.call_later(IDLE / 2, self._on_timer)
        return True

    def _on_timer(self) -> None:
        self.release(clock.now() - IDLE)
        self._loop = object
        if self._kept:
            self._will_release()

    def __repr__(self) -> str:
        return f"<Copies {self.kept} bytes kept>"


class _Memory(MappedMemory):
    """Memory for a copy, and when it was used last, by the clock of the queues.

    Raises OSError, or AttributeError where the platform has no private memory.
    """

    __slots__ = ("used",)

    def __init__(self, size: int) -> None:
        super().__init__(partial(_new_pages, size))
        self.used = clock.now()

    def note_use(self) -> None:
        """Note that it is used again."""
        self.used = clock.now()


def _new_pages(size: int) -> mmap.mmap:
    size = size_for(size)
    if size >= _HUGE_FROM:
        size = -(-size // _HUGE_PAGE) * _HUGE_PAGE  # Linux aligns a mapping of whole ones
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if size >= _HUGE_FROM:
        with suppress(OSError):  # a kernel without them
            pages.madvise(mmap.MADV_HUGEPAGE)
    return pages


copies: Final = Copies()
