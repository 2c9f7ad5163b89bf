"""Backlogs: events that wait for a handler, on the event loop or in a worker process."""

from heapq import merge
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

from event_collector.events.orders import Order, SievedOrder, make_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from event_collector.events.event import CollectorEvent, QueueType
    from event_collector.events.start_reminder import StartReminder
    from event_collector.values.payload import Payload

T = TypeVar("T")


def _nothing(_event: "CollectorEvent") -> None:
    """Nobody keeps a record."""


class Backlog:
    """The place of events that wait.

    An event that is withdrawn leaves a *gap*: it stays in the container until it is the next one, or until gaps are
    more than half of it. The next event is never a gap.

    Args:
        order: the container.
        on_cancel: called with an event that is to be cancelled.

    Attributes:
        order: read by the dispatcher's hot path. Its length includes gaps.
        gaps: events that were withdrawn and are still in the container.
        reminder: reminds those who wait for an event before the queue has started; None after the start.
    """

    __slots__ = ("_on_cancel", "_on_taken", "gaps", "order", "reminder")

    def __init__(self, order: Order, on_cancel: "Callable[[CollectorEvent], None]") -> None:
        self.order = order
        self.gaps: set[CollectorEvent] = set()
        self.reminder: StartReminder | None = None
        self._on_cancel = on_cancel
        self._on_taken: Callable[[CollectorEvent], None] = _nothing

    def tell_of_taken(self, on_taken: "Callable[[CollectorEvent], None]") -> None:
        """Have `on_taken` called with each event that is taken."""
        self._on_taken = on_taken

    def push(self, event: "CollectorEvent") -> None:
        """Add an event."""
        event.place = self  # CollectorEvent.move_to()
        self.order.push(event)

    def take(self) -> "CollectorEvent":
        """Remove and return the next event; IndexError when there is none."""
        event = self.order.pop()
        if self.gaps:
            self._close_gaps()
        self._on_taken(event)
        return event

    def take_out(self, event: "CollectorEvent") -> None:
        """Take an event that is here ahead of its turn."""
        self.withdraw(event)
        self._on_taken(event)

    def take_while(self, count: int, accept: "Callable[[Payload[Any]], T | None]") -> "list[tuple[CollectorEvent, T]]":
        """Remove up to `count` events and return each with what `accept` says of its payload, up to the first None."""
        taken: list[tuple[CollectorEvent, T]] = []
        order, gaps, add = self.order, self.gaps, taken.append
        peek, pop, is_recorded = order.peek, order.pop, self._on_taken is not _nothing
        for _ in range(min(count, len(self))):
            if (answer := accept(peek().payload)) is None:
                break
            event = pop()
            if gaps:
                self._close_gaps()
            if is_recorded:
                self._on_taken(event)
            add((event, answer))
        return taken

    def peek(self) -> "CollectorEvent":
        """Return the next event without removing it; IndexError when there is none."""
        return self.order.peek()

    def oldest_of_least_urgent(self) -> "CollectorEvent":
        """Return the event that is dropped first; StopIteration when there is none."""
        return next(event for event in self.order.by_age() if event not in self.gaps)

    def withdraw(self, event: "CollectorEvent") -> None:
        """Remove an event that is here."""
        self.gaps.add(event)
        self._close_gaps()

    def take_all(self) -> "list[CollectorEvent]":
        """Remove and return all events, so that pushing them again has them as they were. None counts as taken."""
        events = list(self.events())
        self.gaps.clear()
        self.order.refill(())
        return events

    def sieve(
        self, is_held: "Callable[[CollectorEvent], bool] | None", hold: "Callable[[CollectorEvent], None]"
    ) -> None:
        """Have `hold` take each event that is pushed and that `is_held` picks; None for none."""
        plain = self.order.inner if isinstance(self.order, SievedOrder) else self.order
        self.order = plain if is_held is None else SievedOrder(plain, is_held, hold)

    def events(self) -> "Iterator[CollectorEvent]":
        """Iterate over the events."""
        return (event for event in self.order if event not in self.gaps)

    def cancel_event(self, event: "CollectorEvent", *, running: bool) -> bool:  # none runs here
        """End an event that is here."""
        self._on_cancel(event)
        return True

    def remind(self, reminder: "StartReminder | None") -> None:
        """Set who reminds those who wait; None once the queue has started."""
        self.reminder = reminder

    def note_waiter(self) -> None:
        """Remind those who wait before the start."""
        if self.reminder is not None:
            self.reminder.remind()

    def _close_gaps(self) -> None:
        order, gaps = self.order, self.gaps
        while gaps and (head := order.peek()) in gaps:
            order.pop()
            gaps.remove(head)
        if 2 * len(gaps) > len(order):  # to move all once in so many withdrawals is cheap; to keep payloads is not
            kept = [event for event in order if event not in gaps]
            gaps.clear()
            order.refill(kept)

    def __len__(self) -> int:
        return len(self.order) - len(self.gaps)

    def __repr__(self) -> str:
        return f"<Backlog {len(self)} events, {len(self.gaps)} gaps>"


class Backlogs:
    """The backlogs of a queue.

    Events for worker processes wait for room there; the others must not wait with them. Nor must any event wait behind
    those of collectors that are paused.

    Args:
        queue_type: the order of both.
        on_cancel: called with an event that is to be cancelled.

    Attributes:
        here: events for the event loop, threads and executors.
        remote: events that need a worker process.
        held: events for paused collectors.
    """

    __slots__ = ("_newest_first", "held", "here", "remote")

    def __init__(self, queue_type: "QueueType", on_cancel: "Callable[[CollectorEvent], None]") -> None:
        self.here = Backlog(make_order(queue_type), on_cancel)
        self.remote = Backlog(make_order(queue_type), on_cancel)
        self.held = Backlog(make_order(queue_type), on_cancel)
        self._newest_first = queue_type.name == "LIFO"

    @property
    def both(self) -> tuple[Backlog, Backlog]:
        """The backlogs whose events may begin."""
        return self.here, self.remote

    def events(self) -> "Iterator[CollectorEvent]":
        """Iterate over the events of all backlogs."""
        return chain.from_iterable(backlog.events() for backlog in self)

    def is_remote_first(self) -> bool:
        """Return whether the head of `remote` is to be taken before that of `here`; neither is empty."""
        here, there = self.here.peek(), self.remote.peek()
        return here < there if self._newest_first else there < here

    def least_urgent(self) -> "CollectorEvent | None":
        """Return the event that is dropped first; None when none waits."""
        candidates = [backlog.oldest_of_least_urgent() for backlog in self if backlog]
        return max(candidates, key=lambda event: (event.priority, -event.id), default=None)

    def redirect(
        self, is_remote: "Callable[[CollectorEvent], bool]", is_held: "Callable[[CollectorEvent], bool] | None" = None
    ) -> None:
        """Move each event to the backlog that is its own now, and hold the events that `is_held` picks from now on.

        Events of one backlog keep their order. Of several backlogs the more urgent event comes first, then the older.
        """
        waiting = list(merge(*(backlog.take_all() for backlog in self)))
        for backlog in self.both:
            backlog.sieve(is_held, self.held.push)
        for event in waiting:
            (self.remote if is_remote(event) else self.here).push(event)

    def remind(self, reminder: "StartReminder | None") -> None:
        """Set who reminds those that wait; None once the queue has started."""
        for backlog in self:
            backlog.remind(reminder)

    def tell_of_taken(self, on_taken: "Callable[[CollectorEvent], None]") -> None:
        """Have `on_taken` called with each event that is taken."""
        for backlog in self:
            backlog.tell_of_taken(on_taken)

    def __iter__(self) -> "Iterator[Backlog]":
        return iter((self.here, self.remote, self.held))

    def __len__(self) -> int:
        return len(self.here) + len(self.remote) + len(self.held)

    def __repr__(self) -> str:
        return f"<Backlogs here={self.here!r} remote={self.remote!r} held={self.held!r}>"
