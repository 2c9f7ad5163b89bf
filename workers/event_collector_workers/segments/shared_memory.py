"""The memory that a pool shares with all its workers: how much there is, and how much there may be."""

from __future__ import annotations

import asyncio
import os
import weakref
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

from event_collector_workers.machine import memory_limit
from event_collector_workers.segments.private_copies import private_copy
from event_collector_workers.segments.segment import Segment
from event_collector_workers.segments.shared_copies import SharedCopies
from event_collector_workers.statistics import SharedMemoryStatistics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from event_collector_workers.job import Buffer

_MOST: Final = 128  # segments; before Python 3.13 each has a descriptor in the program
_SHARE: Final = 8  # of the descriptors that the program may have, one of so many is for segments
_MEMORY_SHARE: Final = 8
IDLE: Final = 5.0


class SegmentHolder(Protocol):
    """What has the segments of one worker."""

    def shrink(self, before: float) -> None:
        """Give up segments that are free since before this time, in monotonic seconds."""

    def recall(self, before: float) -> None:
        """Ask the worker for the segments back that it has not used since before this time."""

    def in_use(self) -> int:
        """Return the bytes of its segments that have a value in them, or may get one."""

    def collect(self) -> None:
        """Note which segments are free again."""

    def unmap(self, segment: Segment) -> None:
        """Have the worker unmap a copy that is given up, if it has that."""

    def prepare_fork(self) -> None:
        """Note that a copy of this process sees what can be seen now."""

    def forget(self) -> None:
        """Let go of everything, in a copy of the process."""


class SharedMemory:
    """Bounds the segments of a pool. Only this class writes its fields, in the loop's thread.

    Args:
        limit: Bytes of all segments together, at most; 0 for none.
        idle: Seconds for which a segment that nobody uses is kept. Making another one costs more than ten values of its
            size.
    """

    def __init__(self, limit: int, idle: float = IDLE) -> None:
        self.limit: Final = limit
        self._idle = idle
        self.size = 0
        """Bytes of all segments."""
        self.count = 0
        self._most = min(_MOST, _descriptors() // _SHARE)
        self._holders: list[SegmentHolder] = []
        self._kept: list[Segment] = []  # of workers that are gone; the program still sees their values
        self._copies = SharedCopies(self._has_room_for_copy, self._on_dropped, self._collect)
        self.copy_in: Final = self._copies.find
        """Return the copy that has exactly this value in it; None if there is none."""
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        _all.add(self)

    def __repr__(self) -> str:
        return f"<SharedMemory {self.count} segments, {self.size} of {self.limit} bytes>"

    def add(self, holder: SegmentHolder) -> None:
        """Add the holder of a worker that starts."""
        self._holders.append(holder)

    def remove(self, holder: SegmentHolder) -> None:
        """Remove the holder of a worker that is gone."""
        with suppress(ValueError):
            self._holders.remove(holder)

    def copy(self, parts: Sequence[Buffer]) -> memoryview:
        """Return the bytes of the parts in read-only memory of their own, which a worker can map if possible."""
        if self._is_closed or not self.limit:
            return private_copy(parts)
        view = self._copies.copy(parts)
        if self._copies:
            self._plan_shrinking()
        return view

    def make(self, size: int, *, is_for_results: bool) -> Segment | None:
        """Make a segment; return None if there may be no more, or memory or descriptors have run out."""
        if not self._has_room(size):
            self._shrink(monotonic())
            if not self._has_room(size):
                return None
        try:
            segment = Segment(size, is_for_results=is_for_results)
        except OSError:
            return None
        self.size += size
        self.count += 1
        self._plan_shrinking()
        return segment

    def discard(self, segment: Segment) -> None:
        """Give a segment up. Its memory is freed when nothing looks into it any more."""
        segment.close_file()
        if segment.mapping.is_seen:
            self._kept.append(segment)
        else:
            self._count_off(segment)

    def statistics(self) -> SharedMemoryStatistics:
        """Return a snapshot."""
        self._drop_unseen()
        in_use = sum(holder.in_use() for holder in self._holders) + sum(segment.size for segment in self._kept)
        copies = self._copies
        return SharedMemoryStatistics(
            self.limit, self.size + copies.size, in_use + copies.in_use(), self.count + len(copies)
        )

    def close(self) -> None:
        """Cancel the timer, and let go of the copies. Idempotent."""
        self._is_closed = True
        self._copies.forget()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def prepare_fork(self) -> None:
        """Note that a copy of this process sees what can be seen now."""
        self._copies.spoil_seen()
        for holder in list(self._holders):
            holder.prepare_fork()

    def forget(self) -> None:
        """Let go of everything, in a copy of the process: it would keep the memory."""
        self._copies.forget()
        for holder in self._holders:
            holder.forget()
        self._holders, self._kept = [], []

    def _has_room(self, size: int) -> bool:
        return self.size + self._copies.size + size <= self.limit and self.count + len(self._copies) < self._most

    def _has_room_for_copy(self, size: int) -> bool:
        """Half of all is for values that were copied when they were sent, so that those of a long queue leave room."""
        copies = self._copies
        return copies.size + size <= self.limit // 2 and len(copies) < self._most // 2 and self._has_room(size)

    def _collect(self) -> None:
        for holder in self._holders:
            holder.collect()

    def _on_dropped(self, copy: Segment) -> None:
        for holder in self._holders:
            holder.unmap(copy)

    def _count_off(self, segment: Segment) -> None:
        self.size -= segment.size
        self.count -= 1

    def _drop_unseen(self) -> None:
        kept, self._kept = self._kept, []
        for segment in kept:
            self.discard(segment)

    def _shrink(self, before: float) -> None:
        self._drop_unseen()
        for holder in self._holders:
            holder.shrink(before)
        self._copies.shrink(before)

    def _plan_shrinking(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._idle / 2, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        before = monotonic() - self._idle
        self._shrink(before)
        for holder in self._holders:
            holder.recall(before)
        if self.count or self._copies:
            self._plan_shrinking()


def shared_memory_limit(asked: int | None) -> int:
    """Return the bytes that a pool may share: what was asked for, else a share of the memory that may be used."""
    return (memory_limit() or 0) // _MEMORY_SHARE if asked is None else asked


_all: weakref.WeakSet[SharedMemory] = weakref.WeakSet()


def _prepare_fork() -> None:
    for memory in list(_all):
        memory.prepare_fork()


def _forget() -> None:
    for memory in list(_all):
        memory.forget()


if hasattr(os, "register_at_fork"):
    # Twice: other threads run between the first time and the fork.
    os.register_at_fork(before=_prepare_fork, after_in_parent=_prepare_fork, after_in_child=_forget)


def _descriptors() -> int:
    try:
        import resource
    except ImportError:  # Windows
        return 0
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft
