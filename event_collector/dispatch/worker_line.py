"""The line of events for worker processes: which of them the workers get, and when."""

from typing import TYPE_CHECKING

from event_collector.dispatch.waiting import WaitingEvents
from event_collector.events.backlog import Backlog, sort_out

if TYPE_CHECKING:
    from event_collector.events.event import CollectorEvent
    from event_collector.handlers.collector import Collector
    from event_collector.handlers.delivery import DeliveryPlan

__all__ = ["WorkerLine"]


class WorkerLine(WaitingEvents):
    """The part of a dispatcher that brings events and worker processes together."""

    __slots__ = ()

    if TYPE_CHECKING:

        def _grow(self) -> bool: ...

    def submit_jobs(self) -> None:
        """The workers have room again: give them what waits."""
        self._submit_jobs()
        if self._remote_backlog and self._tier is not None and self._tier.room > 0:
            self.schedule_pump()  # for events that need a consumer, too

    def _next_backlog(self) -> Backlog | None:
        """Return the line whose head a consumer should take, after the workers have got what is theirs alone."""
        if self._tier is None:
            return self._backlog
        self._submit_jobs()
        if not self._remote_backlog or self._tier.room <= 0:
            return self._backlog
        return self._remote_backlog if not self._backlog or self._is_remote_first() else self._backlog

    def _submit_jobs(self) -> None:
        """Give the workers the events that are theirs alone, as many as they have room for."""
        tier = self._tier
        if tier is None:
            return
        while self._remote_backlog and (room := tier.room) > 0:
            batch = self._take_batch(min(room, self._places()))
            if not batch:
                return
            self.busy += len(batch)
            tier.submit(batch)

    def _take_batch(self, count: int) -> "list[tuple[CollectorEvent, Collector]]":
        """Take up to `count` events that each go to one worker; those for several handlers need a consumer."""
        batch: list[tuple[CollectorEvent, Collector]] = []
        backlog, sole_remote = self._remote_backlog, self.plan.sole_remote
        peek, pop, gaps, add = backlog.peek, backlog.pop, backlog.gaps, batch.append
        while count and backlog and (collector := sole_remote(peek().payload)) is not None:
            add((pop(), collector))
            count -= 1
            if gaps:
                backlog.close_gaps()
        if self._capacity is not None:
            for _ in batch:
                self._capacity.release()
        return batch

    def _submit_at_once(self, event: "CollectorEvent") -> bool:
        """Give an idle worker an event without a wait in line, if nothing stands before it; return whether."""
        tier = self._tier
        if tier is None or self._backlog or self.busy >= self.size or not tier.is_idle:
            return False
        collector = self.plan.sole_remote(event.payload)
        if collector is None:
            return False
        self.busy += 1
        if self._capacity is not None:
            self._capacity.release()
        tier.submit([(event, collector)])
        return True

    def _places(self) -> int:
        """Return how many of the workers' events may have a place in handlers; older ones of the other line first."""
        if self._backlog and not self._is_remote_first():
            limit = self.ceiling if self.limits.autoscale else self.size
            if limit - self.busy <= len(self._backlog):
                return 0
        if self.busy >= self.size and not self._grow():
            return 0
        return 1 if self._backlog else self.size - self.busy

    def _is_remote_first(self) -> bool:
        """Return whether, of the heads of both lines, that of the workers' is to be taken first."""
        here, there = self._backlog.peek(), self._remote_backlog.peek()
        return here < there if self._newest_first else there < here

    def _take(self, backlog: Backlog) -> "CollectorEvent":
        event = backlog.pop()
        if backlog.gaps:
            backlog.close_gaps()
        if self._capacity is not None:
            self._capacity.release()
        return event

    def redirect(self, plan: "DeliveryPlan") -> None:
        """Deliver by another plan: collectors have moved. Events that wait go to the line that is theirs now."""
        self.plan = plan
        for event, remote in sort_out(self._backlog, self._remote_backlog, plan.is_remote):
            if remote:
                self._push_remote(event)
            else:
                event.place = None
                self._backlog.push(event)
        self.schedule_pump()
