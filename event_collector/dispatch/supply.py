"""Supply: gives worker processes the events that are theirs alone, as many as they have room for."""

from typing import TYPE_CHECKING, Protocol

from event_collector.dispatch.permits import Permits
from event_collector.dispatch.sent_values import SentValues
from event_collector.events.backlog import Backlog, Backlogs
from event_collector.events.gate import Gate

if TYPE_CHECKING:
    from event_collector.dispatch.chunks import Chunks
    from event_collector.events.event import CollectorEvent
    from event_collector.handlers.collector import Collector
    from event_collector.handlers.delivery import DeliveryPlan


class JobTier(Protocol):
    """The worker processes, as the dispatcher sees them."""

    @property
    def room(self) -> int:
        """How many more events the workers can take now."""

    @property
    def is_idle(self) -> bool:
        """Whether a worker has nothing to do, and would begin with an event at once."""

    def submit(self, batch: "list[tuple[CollectorEvent, Collector]]") -> None:
        """Have workers process events, in this order; their results reach the dispatcher, perhaps within this call."""


class Supply:
    """Brings the events of a backlog and worker processes together.

    Args:
        workers: the worker processes.
        plan: which collectors a payload reaches.
        backlogs: events that wait.
        permits: one is taken for each event that is handed out.
        gate: gets the places of events back.
        chunks: values of streams, which share the workers with events.
        sent_values: encodes what more than one attempt may need.
    """

    __slots__ = ("_backlogs", "_chunks", "_gate", "_permits", "_plan", "_sent_values", "_workers")

    def __init__(
        self,
        workers: JobTier,
        plan: "DeliveryPlan",
        backlogs: Backlogs,
        permits: Permits,
        gate: Gate,
        chunks: "Chunks",
        sent_values: SentValues,
    ) -> None:
        self._workers, self._plan, self._chunks, self._sent_values = workers, plan, chunks, sent_values
        chunks.open(workers, plan)
        self._backlogs, self._permits, self._gate = backlogs, permits, gate

    def follow(self, plan: "DeliveryPlan") -> None:
        """Deliver by another plan from now on."""
        self._plan = plan
        self._chunks.follow(plan)

    def give_to(self, workers: JobTier) -> None:
        """Give events to these workers from now on, or to what stands before them."""
        self._workers = workers

    def hand_out(self) -> bool:
        """Give the workers as many events, and values of streams, as they have room for.

        Return whether they have room, and an event waits that the event loop must deliver to them.
        """
        if self._chunks.feeds:
            self._chunks.hand_out(before_events=True)
            self._hand_out_events()
            self._chunks.hand_out(before_events=False)
        else:
            self._hand_out_events()
        return bool(self._backlogs.remote.order) and self._workers.room > 0

    def _hand_out_events(self) -> None:
        backlog, workers = self._backlogs.remote, self._workers
        while backlog.order and (room := workers.room) > 0:
            batch = backlog.take_while(min(room, self._permitted()), self._plan.sole_remote)
            if not batch:
                return
            self._gate.release(len(batch))
            self._permits.take_many(len(batch))
            workers.submit(batch)

    def hand_over(self, event: "CollectorEvent") -> bool:
        """Give an idle worker an event that is not in a backlog; return False if the event has to wait in one."""
        permits = self._permits
        if self._backlogs.here.order or permits.busy >= permits.size or not self._workers.is_idle:
            return False
        collector = self._plan.sole_remote(event.payload)
        if collector is None:
            return False
        if collector.retry is not None:
            self._sent_values.keep(event)
        permits.take_many(1)
        self._gate.release()
        self._workers.submit([(event, collector)])
        return True

    def hand_over_lent(self, event: "CollectorEvent") -> bool:
        """Give the workers an event that has its permit; return False if the event loop has to deliver it."""
        collector = self._plan.sole_remote(event.payload)
        if collector is not None:
            self._workers.submit([(event, collector)])
        return collector is not None

    def next_backlog(self) -> Backlog:
        """Return the backlog whose head the event loop should take, after the workers have got what is theirs."""
        here, remote = self._backlogs.both
        if not self.hand_out():
            return here
        return remote if not here.order or self._backlogs.is_remote_first() else here

    def _permitted(self) -> int:
        """Return how many events may be handed out; older ones of the other backlog go first."""
        here, permits = self._backlogs.here, self._permits
        is_later = here.order and not self._backlogs.is_remote_first()
        if is_later and permits.most() - permits.busy <= len(here.order):
            return 0
        free = permits.free()
        return min(1, free) if here.order else free

    def __repr__(self) -> str:
        return f"<Supply room={self._workers.room} waiting={len(self._backlogs.remote)}>"
