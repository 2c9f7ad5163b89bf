"""A schedule: items with due times, in one heap with one timer of the event loop."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

from event_collector.values.clock import clock

T = TypeVar("T")

_SPARSE = 64
"""Discarded entries that may stay in the heap, beside one per live entry, before it is rebuilt."""


@dataclass(slots=True, order=True)
class _Entry(Generic[T]):
    due: float
    number: int
    item: T | None = field(compare=False)

    def empty(self) -> None:
        self.item = None


class Schedule(Generic[T]):
    """Removes each item when it is due, and calls `on_due` with it in the thread of the event loop.

    The earliest item comes first; items that are due at the same time keep their order. `now` returns seconds.
    """

    def __init__(self, on_due: Callable[[T], None], now: Callable[[], float] = clock.read) -> None:
        self._on_due, self._now = on_due, now
        self._heap: list[_Entry[T]] = []
        self._entries: dict[T, _Entry[T]] = {}
        self._count = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the timer. Before this, and after `close()`, items only wait."""
        self._loop = loop
        self._arm()

    def close(self) -> None:
        """Stop the timer."""
        self._loop = None
        self._disarm()

    def add(self, item: T, due: float) -> None:
        """Add an item that is not in the schedule. `due` is a time of `now()`."""
        self._count += 1
        entry = _Entry(due, self._count, item)
        self._entries[item] = entry
        heappush(self._heap, entry)
        if entry is self._heap[0]:
            self._arm()

    def discard(self, item: T) -> bool:
        """Remove an item; return whether it was in the schedule."""
        entry = self._entries.pop(item, None)
        if entry is None:
            return False
        entry.empty()  # the empty entry stays in the heap until it is due or the heap is rebuilt
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
        """Call `on_due` for all due items. Items that it adds wait for the next turn of the loop at least."""
        now, last = self._now(), self._count
        while self._heap and self._heap[0].due <= now and self._heap[0].number <= last:
            item = heappop(self._heap).item
            if item is not None:
                del self._entries[item]
                self._on_due(item)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[T]:
        """Iterate over the items, the earliest first."""
        return iter([entry.item for entry in sorted(self._entries.values()) if entry.item is not None])

    def __repr__(self) -> str:
        next_in = f", next in {self._heap[0].due - self._now():.3f} s" if self._heap else ""
        return f"<Schedule {len(self)} items{next_in}, {'closed' if self._loop is None else 'open'}>"

    def _arm(self) -> None:
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
