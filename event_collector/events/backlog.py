"""The events that wait for a consumer, in the order in which they leave: FIFO, LIFO or PRIORITY."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush, merge
from typing import Any, Protocol

from event_collector.events.event import CollectorEvent, QueueType
from event_collector.values.payload import Payload

__all__ = [
    "Backlog",
    "FifoBacklog",
    "LifoBacklog",
    "PriorityBacklog",
    "RecordedBacklog",
    "make_backlog",
    "sort_out",
]


class Backlog(Protocol):
    """What the dispatcher needs of a queue of events: every operation in constant or logarithmic time, on average.

    An event that is withdrawn leaves a gap: it stays where it is until it is the next one, or until the gaps are
    many. The next event is never a gap, as long as `close_gaps()` follows each `pop()` that finds gaps.
    """

    gaps: set[CollectorEvent]
    """The events that were withdrawn and still stand here."""

    def push(self, event: CollectorEvent, /) -> None:
        """Add an event."""

    def pop(self) -> CollectorEvent:
        """Remove and return the next event; IndexError when there is none."""

    def peek(self) -> CollectorEvent:
        """Return the next event without removing it; IndexError when there is none."""

    def withdraw(self, event: CollectorEvent, /) -> None:
        """Remove an event that is here."""

    def close_gaps(self) -> None:
        """Have a real event be the next one."""

    def last(self) -> CollectorEvent:
        """Return the oldest of the least urgent events; IndexError when there is none."""

    def take_all(self) -> list[CollectorEvent]:
        """Remove and return all events, so that pushing them again has them as they were; none counts as taken."""

    def __len__(self) -> int:
        """Return how many events stand here, gaps included."""


class _Gaps:
    """What the backlogs do alike about events that are withdrawn."""

    __slots__ = ()

    def withdraw(self: "_Gapped", event: CollectorEvent) -> None:
        """Remove an event that is here."""
        self.gaps.add(event)
        self.close_gaps()

    def close_gaps(self: "_Gapped") -> None:
        """Have a real event be the next one."""
        gaps = self.gaps
        while gaps and (head := self.peek()) in gaps:
            self.pop()
            gaps.remove(head)
        if 2 * len(gaps) > len(
            self
        ):  # moving all once in so many withdrawals is cheap; keeping payloads is not
            kept = [event for event in self if event not in gaps]
            gaps.clear()
            self.refill(kept)

    def take_all(self: "_Gapped") -> list[CollectorEvent]:
        """Remove and return all events, in the order in which they were pushed, at least those of one priority."""
        events = [event for event in self if event not in self.gaps]
        self.gaps.clear()
        self.refill([])
        return events


class _Gapped(Backlog, Protocol):
    def __iter__(self) -> Iterator[CollectorEvent]: ...
    def refill(self, events: list[CollectorEvent], /) -> None: ...


class _DequeBacklog(_Gaps, deque[CollectorEvent]):
    __slots__ = ("gaps",)

    def __init__(self) -> None:
        super().__init__()
        self.gaps: set[CollectorEvent] = set()

    def refill(self, events: list[CollectorEvent]) -> None:
        """Hold these events only."""
        self.clear()
        self.extend(events)

    def last(self) -> CollectorEvent:
        """Return the event that has waited longest."""
        return next(event for event in self if event not in self.gaps)


class FifoBacklog(_DequeBacklog):
    """First in, first out."""

    __slots__ = ()
    push = deque.append
    pop = deque.popleft  # type: ignore[assignment]  # of a deque it takes an index, which nobody gives

    def peek(self) -> CollectorEvent:
        """Return the oldest event."""
        return self[0]


class LifoBacklog(_DequeBacklog):
    """Last in, first out."""

    __slots__ = ()
    push = deque.append

    def peek(self) -> CollectorEvent:
        """Return the youngest event."""
        return self[-1]


class PriorityBacklog(_Gaps):
    """The lowest priority first, first in first out within one priority.

    One bucket for each priority in use and a heap of the priorities, not of the events: with few different
    priorities the cost of an event does not grow with the number that wait. A bucket of one event is that
    event itself, so that many different priorities do not cost a deque each.
    """

    __slots__ = ("_buckets", "_priorities", "_size", "gaps")

    def __init__(self) -> None:
        self.gaps: set[CollectorEvent] = set()
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

    def refill(self, events: list[CollectorEvent]) -> None:
        """Hold these events only."""
        self._buckets.clear()
        self._priorities.clear()
        self._size = 0
        for event in events:
            self.push(event)

    def last(self) -> CollectorEvent:
        """Return the oldest event of the highest priority number."""
        for priority in sorted(self._priorities, reverse=True):
            for event in self._bucket(priority):
                if event not in self.gaps:
                    return event
        raise IndexError("no event waits")

    def _bucket(self, priority: float) -> Iterable[CollectorEvent]:
        bucket = self._buckets[priority]
        return bucket if isinstance(bucket, deque) else (bucket,)

    def __iter__(self) -> Iterator[CollectorEvent]:
        """Iterate in the order of leaving."""
        for priority in sorted(self._priorities):
            yield from self._bucket(priority)

    def __len__(self) -> int:
        return self._size


class RecordedBacklog:
    """A backlog that tells of each event that is taken."""

    def __init__(self, backlog: Backlog, on_taken: Callable[[CollectorEvent], None]) -> None:
        self._backlog, self._on_taken = backlog, on_taken
        self.gaps = backlog.gaps
        self.push, self.peek, self.last = backlog.push, backlog.peek, backlog.last
        self.withdraw, self.close_gaps = backlog.withdraw, backlog.close_gaps
        self.take_all = backlog.take_all

    def pop(self) -> CollectorEvent:
        """Remove and return the next event."""
        event = self._backlog.pop()
        self._on_taken(event)
        return event

    def __len__(self) -> int:
        return len(self._backlog)


def sort_out(
    here: Backlog, remote: Backlog, is_remote: Callable[[Payload[Any]], bool]
) -> Iterator[tuple[CollectorEvent, bool]]:
    """Empty both lines; yield their events, and whether each belongs into the second one now.

    Events of one line keep their order; of two lines the more urgent event comes first, then the older one. Pushed as
    they come, they leave in the order of the queue.
    """
    for event in list(merge(here.take_all(), remote.take_all())):
        yield event, is_remote(event.payload)


_BACKLOGS: dict[QueueType, type[Backlog]] = {
    QueueType.FIFO: FifoBacklog,
    QueueType.LIFO: LifoBacklog,
    QueueType.PRIORITY: PriorityBacklog,
}


def make_backlog(queue_type: QueueType) -> Backlog:
    """Return an empty backlog of the given order."""
    return _BACKLOGS[queue_type]()
