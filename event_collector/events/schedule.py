"""A schedule: things that are due at some time, in one heap with one timer of the event loop."""

import asyncio
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

from event_collector.values.clock import clock

T = TypeVar("T")

_SPARSE = 64
"""Entries that were discarded and may stay in the heap before it is made anew."""


class _Entry(Generic[T]):
    __slots__ = ("due", "item", "number")

    def __init__(self, due: float, number: int, item: T) -> None:
        self.due = due
        self.number = number
        self.item: T | None = item

    def __lt__(self, other: "_Entry[T]") -> bool:
        return (self.due, self.number) < (other.due, other.number)


class Schedule(Generic[T]):
    """Calls `on_due` with each item when its time has come, the earliest first; those due together in their order.

    Args:
        on_due: called in the thread of the event loop; the item is no longer in the schedule then.
        now: tells the time, in seconds.

    """

    def __init__(self, on_due: Callable[[T], None], now: Callable[[], float] = clock.read) -> None:
        self._on_due = on_due
        self._now = now
        self._heap: list[_Entry[T]] = []
        self._entries: dict[T, _Entry[T]] = {}
        self._count = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to call; before that, and after `close()`, items only wait."""
        self._loop = loop
        self._arm()

    def close(self) -> None:
        """Call no more."""
        self._loop = None
        self._disarm()

    def add(self, item: T, due: float) -> None:
        """Add an item that is not there yet, due at that time of the clock."""
        self._count += 1
        entry = _Entry(due, self._count, item)
        self._entries[item] = entry
        heappush(self._heap, entry)
        if entry is self._heap[0]:
            self._arm()

    def discard(self, item: T) -> bool:
        """Remove an item; return whether it was there."""
        entry = self._entries.pop(item, None)
        if entry is None:
            return False
        entry.item = None  # the heap keeps an empty place until its time has come, or until they are many
        if len(self._heap) > 2 * len(self._entries) + _SPARSE:
            self._heap = list(self._entries.values())
            heapify(self._heap)
        return True

    def clear(self) -> list[T]:
        """Remove all items and return them, the earliest first."""
        items = list(self)
        self._entries.clear()
        self._heap.clear()
        self._disarm()
        return items

    def run_due(self) -> None:
        """Call for all that is due; what is added meanwhile waits for the next turn of the loop at least."""
        now, last = self._now(), self._count
        while self._heap and self._heap[0].due <= now and self._heap[0].number <= last:
            item = heappop(self._heap).item
            if item is not None:
                del self._entries[item]
                self._on_due(item)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, item: T) -> bool:
        return item in self._entries

    def __iter__(self) -> Iterator[T]:
        """Iterate over the items, the earliest first."""
        return iter([entry.item for entry in sorted(self._entries.values()) if entry.item is not None])

    def _arm(self) -> None:
        """Have one timer, for the earliest entry."""
        if self._loop is None or not self._heap:
            return
        due = self._heap[0].due
        if self._timer is not None:
            if self._timer_due <= due:
                return
            self._timer.cancel()
        self._timer_due = due
        self._timer = self._loop.call_later(max(0.0, due - self._now()), self._fire)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        try:
            self.run_due()
        finally:
            self._arm()
