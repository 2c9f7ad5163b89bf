"""The line of one worker group: the events that wait for its workers, and the way to them."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

from event_collector.dispatch.permits import Permits
from event_collector.dispatch.sent_values import CopyTier, SentValues
from event_collector.events.backlog import Backlog, Backlogs
from event_collector.events.gate import Gate

if TYPE_CHECKING:
    from event_collector.events.event import CollectorEvent
    from event_collector.handlers.collector import Collector
    from event_collector.handlers.delivery import DeliveryPlan


class JobTier(Protocol):
    """The worker processes of one group, as the dispatcher sees them."""

    @property
    def room(self) -> int:
        """How many more events the workers can take now."""

    @property
    def is_idle(self) -> bool:
        """Whether a worker has nothing to do, and would begin with an event at once."""

    def submit(self, batch: "list[tuple[CollectorEvent, Collector]]") -> None:
        """Have workers process events, in this order; their results reach the dispatcher, perhaps within this call."""


class GroupTier(JobTier, CopyTier, Protocol):
    """The tier of one group, with the memory that its workers map."""


JobTiers: TypeAlias = Mapping[str, GroupTier]
"""The worker processes of each group, by its name; empty if no collector needs any."""


class SeveralGroups:
    """The workers of events that go to several groups: the event loop delivers these, when all groups have room."""

    is_idle = False

    def __init__(self, groups: Sequence[JobTier]) -> None:
        self._groups = groups

    @property
    def room(self) -> int:
        """The room of the fullest group."""
        return min(group.room for group in self._groups)

    def submit(self, batch: "list[tuple[CollectorEvent, Collector]]") -> None:
        """Raise: none of these events goes to one collector alone."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<SeveralGroups {len(self._groups)}>"


class WorkerLine:
    """Brings the events of one backlog and the workers of one group together.

    Args:
        workers: the worker processes.
        backlog: events that wait for them.
        backlogs: all of them, among which this one has its turn.
        permits: one is taken for each event that is handed out.
        gate: gets the places of events back.
        sent_values: encodes what more than one attempt may need.
    """

    __slots__ = ("_backlogs", "_gate", "_others", "_permits", "_plan", "_sent_values", "_tier", "backlog", "workers")

    _plan: "DeliveryPlan"

    def __init__(
        self,
        workers: JobTier,
        backlog: Backlog,
        backlogs: Backlogs,
        permits: Permits,
        gate: Gate,
        sent_values: SentValues,
    ) -> None:
        self.workers = self._tier = workers
        self.backlog, self._backlogs = backlog, backlogs
        self._permits, self._gate, self._sent_values = permits, gate, sent_values
        self._others: tuple[WorkerLine, ...] = ()

    def follow(self, plan: "DeliveryPlan") -> None:
        """Deliver by this plan from now on."""
        self._plan = plan

    def give_through(self, made: "Callable[[JobTier], JobTier] | None") -> None:
        """Give events to what is made of the workers from now on; None: to the workers themselves."""
        self.workers = self._tier if made is None else made(self._tier)

    def share_with(self, others: "Sequence[WorkerLine]") -> None:
        """Leave permits to these lines when it is the turn of their events."""
        self._others = tuple(others)

    @property
    def need(self) -> int:
        """How many permits its events could use now."""
        return min(len(self.backlog.order), max(0, self.workers.room))

    def hand_out(self) -> bool:
        """Give the workers as many events as they have room for; return whether they got any."""
        backlog, workers = self.backlog, self.workers
        has_begun = False
        while backlog.order and (room := workers.room) > 0:
            plan = self._plan
            batch = backlog.take_while(min(room, self._permitted()), plan.sole_remote, plan.broadcast_to)
            if not batch:
                return has_begun
            has_begun = True
            self._gate.release(len(batch))
            self._permits.take_many(len(batch))
            workers.submit(batch)
        return has_begun

    def hand_over(self, event: "CollectorEvent") -> bool:
        """Give an idle worker an event that is not in a backlog; return False if the event has to wait in one."""
        permits = self._permits
        if self._backlogs.here.order or permits.busy >= permits.size or not self.workers.is_idle:
            return False
        collector = self._plan.sole_remote(event.payload)
        if collector is None:
            return False
        if collector.retry is not None:
            self._sent_values.keep(event)
        permits.take_many(1)
        self._gate.release()
        self.workers.submit([(event, collector)])
        return True

    def _permitted(self) -> int:
        """Return how many events may be handed out. Where permits are scarce, earlier events of others go first."""
        here, permits = self._backlogs.here, self._permits
        left = permits.most() - permits.busy
        if here.order and left <= len(here.order) and self._backlogs.precedes(here, self.backlog):
            return 0
        is_scarce = bool(here.order)
        if self._others and left < self.need + sum(other.need for other in self._others):
            is_scarce = True
            if any(other.need and self._backlogs.precedes(other.backlog, self.backlog) for other in self._others):
                return 0
        free = permits.free()
        return min(1, free) if is_scarce else free

    def __repr__(self) -> str:
        return f"<WorkerLine room={self.workers.room} waiting={len(self.backlog)}>"
