"""Backlogs: events that wait for a handler, on the event loop or in a worker process."""

from heapq import merge
from itertools import chain, islice, repeat
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, TypeVar

from event_collector.events.orders import FifoOrder, Order, SievedOrder, make_order
from event_collector.handlers.delivery import SEVERAL
from event_collector.values.payload import Delivery
from event_collector_workers.environment import DEFAULT_GROUP

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from event_collector.events.event import CollectorEvent, QueueType
    from event_collector.events.start_reminder import StartReminder
    from event_collector.values.payload import Payload

T = TypeVar("T")

_BROADCAST: Final = Delivery.BROADCAST
_delivery_of = attrgetter("payload._delivery")


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

    def take_while(
        self, count: int, accept: "Callable[[Payload[Any]], T | None]", of_broadcast: T | None = None
    ) -> "list[tuple[CollectorEvent, T]]":
        """Remove up to `count` events and return each with what `accept` says of its payload, up to the first None.

        `of_broadcast`: what it says of every broadcast, if that is known.
        """
        order, gaps, count = self.order, self.gaps, min(count, len(self))
        peek, pop, is_recorded = order.peek, order.pop, self._on_taken is not _nothing
        if of_broadcast is not None and type(order) is FifoOrder and not (gaps or is_recorded):  # most of all
            events = list(islice(order, count))
            if list(map(_delivery_of, events)).count(_BROADCAST) == count:
                for _ in range(count):
                    pop()
                return list(zip(events, repeat(of_broadcast)))
        taken: list[tuple[CollectorEvent, T]] = []
        add = taken.append
        for _ in range(count):
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

    Events for worker processes wait for room there; the others must not wait with them, nor those of one worker group
    for another, nor any event behind those of collectors that are paused.

    Args:
        queue_type: the order of each.
        on_cancel: called with an event that is to be cancelled.
        groups: the names of the worker groups.

    Attributes:
        here: events for the event loop, threads and executors.
        of_groups: events that need a worker process, by its group; if there are several groups, also for SEVERAL.
        held: events for paused collectors.
        every: all of them.
    """

    __slots__ = ("_newest_first", "every", "held", "here", "of_groups")

    def __init__(
        self,
        queue_type: "QueueType",
        on_cancel: "Callable[[CollectorEvent], None]",
        groups: "Collection[str]" = (DEFAULT_GROUP,),
    ) -> None:
        names = (*groups, SEVERAL) if len(groups) > 1 else groups
        self.here = Backlog(make_order(queue_type), on_cancel)
        self.of_groups = {name: Backlog(make_order(queue_type), on_cancel) for name in names}
        self.held = Backlog(make_order(queue_type), on_cancel)
        self.every = (self.here, *self.of_groups.values(), self.held)
        self._newest_first = queue_type.name == "LIFO"

    @property
    def open(self) -> tuple[Backlog, ...]:
        """The backlogs whose events may begin."""
        return self.every[:-1]

    def events(self) -> "Iterator[CollectorEvent]":
        """Iterate over the events of all backlogs."""
        return chain.from_iterable(backlog.events() for backlog in self)

    def precedes(self, one: Backlog, other: Backlog) -> bool:
        """Return whether the head of one backlog is to be taken before that of another; neither is empty."""
        first, second = one.peek(), other.peek()
        return second < first if self._newest_first else first < second

    def least_urgent(self) -> "CollectorEvent | None":
        """Return the event that is dropped first; None when none waits."""
        candidates = [backlog.oldest_of_least_urgent() for backlog in self.every if backlog]
        return max(candidates, key=lambda event: (event.priority, -event.id), default=None)

    def at(self, name: str | None) -> Backlog:
        """Return the backlog of a worker group, or of SEVERAL; `here` for None."""
        return self.here if name is None else self.of_groups[name]

    def redirect(
        self,
        line_of: "Callable[[CollectorEvent], str | None]",
        is_held: "Callable[[CollectorEvent], bool] | None" = None,
    ) -> None:
        """Move each event to the backlog that is its own now, and hold the events that `is_held` picks from now on.

        Events of one backlog keep their order. Of several, the more urgent event comes first, then the older one.
        """
        waiting = list(merge(*(backlog.take_all() for backlog in self.every)))
        for backlog in self.open:
            backlog.sieve(is_held, self.held.push)
        for event in waiting:
            self.at(line_of(event)).push(event)

    def remind(self, reminder: "StartReminder | None") -> None:
        """Set who reminds those that wait; None once the queue has started."""
        for backlog in self.every:
            backlog.remind(reminder)

    def tell_of_taken(self, on_taken: "Callable[[CollectorEvent], None]") -> None:
        """Have `on_taken` called with each event that is taken."""
        for backlog in self.every:
            backlog.tell_of_taken(on_taken)

    def __iter__(self) -> "Iterator[Backlog]":
        return iter(self.every)

    def __len__(self) -> int:
        return sum(map(len, self.every))

    def __repr__(self) -> str:
        return f"<Backlogs here={self.here!r} {self.of_groups} held={self.held!r}>"
