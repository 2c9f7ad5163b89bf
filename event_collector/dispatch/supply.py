"""Supply: gives worker processes the events that are theirs alone, as many as they have room for."""

from typing import TYPE_CHECKING, Any

from event_collector.dispatch.permits import Permits
from event_collector.dispatch.sent_values import SentValues
from event_collector.dispatch.worker_line import JobTier, JobTiers, SeveralGroups, WorkerLine
from event_collector.events.backlog import Backlog, Backlogs
from event_collector.events.gate import Gate
from event_collector.handlers.delivery import SEVERAL
from event_collector.values.payload import Delivery

if TYPE_CHECKING:
    from event_collector.dispatch.chunks import Chunks
    from event_collector.events.event import CollectorEvent
    from event_collector.handlers.delivery import DeliveryPlan
    from event_collector.values.payload import Payload

_BROADCAST = Delivery.BROADCAST


class Supply:
    """The lines of all worker groups, and the order among them.

    Args:
        workers: the worker processes of each group.
        plan: which collectors a payload reaches.
        backlogs: events that wait.
        permits: one is taken for each event that is handed out.
        gate: gets the places of events back.
        chunks: values of streams, which share the workers with events.
        sent_values: encodes what more than one attempt may need.

    Attributes:
        line: the line of broadcasts; None if the event loop delivers them.
    """

    __slots__ = ("_backlogs", "_chunks", "_every_line", "_groups", "_is_settled", "_lines", "_plan", "line")

    _plan: "DeliveryPlan"

    def __init__(
        self,
        workers: JobTiers,
        plan: "DeliveryPlan",
        backlogs: Backlogs,
        permits: Permits,
        gate: Gate,
        chunks: "Chunks",
        sent_values: SentValues,
    ) -> None:
        self._chunks, self._backlogs = chunks, backlogs
        chunks.open(workers, plan)
        tiers: dict[str, JobTier] = dict(workers)
        if len(tiers) > 1:
            tiers[SEVERAL] = SeveralGroups(tuple(workers.values()))
        self._lines = {
            name: WorkerLine(tier, backlogs.of_groups[name], backlogs, permits, gate, sent_values)
            for name, tier in tiers.items()
        }
        self._every_line = tuple(self._lines.values())
        self._groups = self._every_line[: len(workers)]
        for line in self._groups:
            line.share_with([other for other in self._every_line if other is not line])
        self.line: WorkerLine | None = None
        self._is_settled = False
        self.follow(plan)

    def follow(self, plan: "DeliveryPlan") -> None:
        """Deliver by another plan from now on."""
        self._plan, self._is_settled = plan, plan.is_settled
        self.line = None if plan.line is None else self._lines[plan.line]
        for line in self._every_line:
            line.follow(plan)
        self._chunks.follow(plan)

    def line_of(self, payload: "Payload[Any]") -> WorkerLine | None:
        """Return the line of a payload that goes to workers, or may go there; None if it does not."""
        if payload._delivery is _BROADCAST or self._is_settled:
            return self.line
        name = self._plan.line_of(payload)
        return None if name is None else self._lines[name]

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
        for line in self._every_line:  # noqa: SIM110 - a generator costs more than the loop, and this is a hot path
            if line.backlog.order and line.workers.room > 0:
                return True
        return False

    def _hand_out_events(self) -> None:
        groups = self._groups
        if len(groups) == 1:
            groups[0].hand_out()
            return
        is_over = False
        while not is_over:  # where permits are scarce, lines give way to each other
            have_begun = [line.hand_out() for line in groups]
            is_over = not any(have_begun)

    def hand_over_lent(self, event: "CollectorEvent") -> bool:
        """Give the workers an event that has its permit; return False if the event loop has to deliver it."""
        collector = self._plan.sole_remote(event.payload)
        if collector is not None:
            self._lines[collector.worker_group].workers.submit([(event, collector)])
        return collector is not None

    def next_backlog(self) -> Backlog:
        """Return the backlog whose head the event loop should take, after the workers have got what is theirs."""
        first = self._backlogs.here
        if not self.hand_out():
            return first
        for line in self._every_line:
            backlog = line.backlog
            is_open = backlog.order and line.workers.room > 0
            if is_open and (not first.order or self._backlogs.precedes(backlog, first)):
                first = backlog
        return first

    def __repr__(self) -> str:
        return f"<Supply {self._lines}>"
