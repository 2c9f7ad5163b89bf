"""The events that wait for a consumer, in the order in which they leave: FIFO, LIFO or PRIORITY."""

from collections import deque
from heapq import heappop, heappush
from typing import Protocol

from event_collector.publisher import CollectorEvent, QueueType

__all__ = ["Backlog", "FifoBacklog", "LifoBacklog", "PriorityBacklog", "make_backlog"]


class Backlog(Protocol):
    """What the dispatcher needs of a queue of events: every operation in constant or logarithmic time."""

    def push(self, event: CollectorEvent, /) -> None:
        """Add an event."""

    def pop(self) -> CollectorEvent:
        """Remove and return the next event; IndexError when there is none."""

    def peek(self) -> CollectorEvent:
        """Return the next event without removing it; IndexError when there is none."""

    def __len__(self) -> int:
        """Return how many events wait."""


class FifoBacklog(deque[CollectorEvent]):
    """First in, first out."""

    __slots__ = ()
    push = deque.append
    pop = deque.popleft

    def peek(self) -> CollectorEvent:
        """Return the oldest event."""
        return self[0]


class LifoBacklog(deque[CollectorEvent]):
    """Last in, first out."""

    __slots__ = ()
    push = deque.append

    def peek(self) -> CollectorEvent:
        """Return the youngest event."""
        return self[-1]


class PriorityBacklog:
    """The lowest priority first, first in first out within one priority.

    One bucket for each priority in use and a heap of the priorities, not of the events: with few different
    priorities the cost of an event does not grow with the number that wait. A bucket of one event is that
    event itself, so that many different priorities do not cost a deque each.
    """

    __slots__ = ("_buckets", "_priorities", "_size")

    def __init__(self) -> None:
        self._buckets: dict[float, CollectorEvent | deque[CollectorEvent]] = {}
        self._priorities: list[float] = []
        self._size = 0

    def push(self, event: CollectorEvent) -> None:
        """Add an event behind all that wait with the same priority."""
        bucket = self._buckets.get(event.priority)
        if bucket is None:
            self._buckets[event.priority] = event
            heappush(self._priorities, event.priority)
        elif isinstance(bucket, deque):
            bucket.append(event)
        else:
            self._buckets[event.priority] = deque((bucket, event))
        self._size += 1

    def pop(self) -> CollectorEvent:
        """Remove and return the oldest event of the lowest priority."""
        priority = self._priorities[0]
        bucket = self._buckets[priority]
        event = bucket.popleft() if isinstance(bucket, deque) else bucket
        if bucket is event or not bucket:
            del self._buckets[priority]
            heappop(self._priorities)
        self._size -= 1
        return event

    def peek(self) -> CollectorEvent:
        """Return the oldest event of the lowest priority."""
        bucket = self._buckets[self._priorities[0]]
        return bucket[0] if isinstance(bucket, deque) else bucket

    def __len__(self) -> int:
        return self._size


_BACKLOGS: dict[QueueType, type[Backlog]] = {
    QueueType.FIFO: FifoBacklog,
    QueueType.LIFO: LifoBacklog,
    QueueType.PRIORITY: PriorityBacklog,
}


def make_backlog(queue_type: QueueType) -> Backlog:
    """Return an empty backlog of the given order."""
    return _BACKLOGS[queue_type]()
