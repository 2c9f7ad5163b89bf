"""Orders in which queued events leave: FIFO, LIFO or PRIORITY."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush
from typing import Protocol

from event_collector.events.event import CollectorEvent, QueueType


class Order(Protocol):
    """A container of events. Every operation but `refill` and `by_age` takes constant or logarithmic time."""

    def push(self, event: CollectorEvent, /) -> None:
        """Add an event."""

    def pop(self) -> CollectorEvent:
        """Remove and return the next event; IndexError when there is none."""

    def peek(self) -> CollectorEvent:
        """Return the next event without removing it; IndexError when there is none."""

    def refill(self, events: Iterable[CollectorEvent], /) -> None:
        """Hold these events only."""

    def by_age(self) -> Iterator[CollectorEvent]:
        """Iterate over the least urgent events first, the oldest first among those."""

    def __iter__(self) -> Iterator[CollectorEvent]:
        """Iterate over all events; pushed again in this order, they leave as they would have."""

    def __len__(self) -> int: ...


class FifoOrder(deque[CollectorEvent]):
    """First in, first out."""

    __slots__ = ()
    push = deque.append
    pop = deque.popleft

    def peek(self) -> CollectorEvent:
        """Return the oldest event."""
        return self[0]

    def refill(self, events: Iterable[CollectorEvent]) -> None:
        """Hold these events only."""
        self.clear()
        self.extend(events)

    def by_age(self) -> Iterator[CollectorEvent]:
        """Iterate from the oldest event on."""
        return iter(self)


class LifoOrder(deque[CollectorEvent]):
    """Last in, first out."""

    __slots__ = ()
    push = deque.append
    refill = FifoOrder.refill
    by_age = FifoOrder.by_age

    def peek(self) -> CollectorEvent:
        """Return the youngest event."""
        return self[-1]


class PriorityOrder:
    """The lowest priority first; first in, first out within one priority.

    There is one bucket for each priority in use, and a heap of the priorities rather than of the events: with few
    different priorities the cost of an event does not grow with the number that wait. A bucket of one event is that
    event itself, so many different priorities do not cost a deque each.
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

    def refill(self, events: Iterable[CollectorEvent]) -> None:
        """Hold these events only."""
        self._buckets.clear()
        self._priorities.clear()
        self._size = 0
        for event in events:
            self.push(event)

    def by_age(self) -> Iterator[CollectorEvent]:
        """Iterate from the highest priority number on, the oldest first within one."""
        for priority in sorted(self._priorities, reverse=True):
            yield from self._bucket(priority)

    def __iter__(self) -> Iterator[CollectorEvent]:
        """Iterate in the order of leaving."""
        for priority in sorted(self._priorities):
            yield from self._bucket(priority)

    def __len__(self) -> int:
        return self._size

    def _bucket(self, priority: float) -> Iterable[CollectorEvent]:
        bucket = self._buckets[priority]
        return bucket if isinstance(bucket, deque) else (bucket,)


class SievedOrder:
    """Another order, which some events do not get into: each that `is_held` picks goes to `hold` when it is pushed."""

    __slots__ = ("_hold", "_is_held", "inner", "peek", "pop")

    def __init__(
        self, inner: Order, is_held: Callable[[CollectorEvent], bool], hold: Callable[[CollectorEvent], None]
    ) -> None:
        self.inner, self._is_held, self._hold = inner, is_held, hold
        self.pop, self.peek = inner.pop, inner.peek

    def push(self, event: CollectorEvent) -> None:
        """Add an event, or hold it."""
        (self._hold if self._is_held(event) else self.inner.push)(event)

    def refill(self, events: Iterable[CollectorEvent]) -> None:
        """Hold these events only; they have passed."""
        self.inner.refill(events)

    def by_age(self) -> Iterator[CollectorEvent]:
        """Iterate as the other order does."""
        return self.inner.by_age()

    def __iter__(self) -> Iterator[CollectorEvent]:
        return iter(self.inner)

    def __len__(self) -> int:
        return len(self.inner)


_ORDERS: dict[QueueType, type[Order]] = {
    QueueType.FIFO: FifoOrder,
    QueueType.LIFO: LifoOrder,
    QueueType.PRIORITY: PriorityOrder,
}


def make_order(queue_type: QueueType) -> Order:
    """Return an empty container of the given order."""
    return _ORDERS[queue_type]()
