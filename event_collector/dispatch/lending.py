"""Lending: what handlers wait for goes on in the place of one of them, where they hold all places of a queue."""

from contextvars import Context as ContextVars
from typing import TYPE_CHECKING, Any

from event_collector.values.clock import clock

if TYPE_CHECKING:
    from event_collector.dispatch.permits import Permits
    from event_collector.dispatch.supply import Supply
    from event_collector.dispatch.turns import Turns
    from event_collector.events.backlog import Backlogs
    from event_collector.events.event import CollectorEvent
    from event_collector.events.gate import Gate
    from event_collector.tiers.coroutines.coroutine_tier import CoroutineTier


class Lending:
    """Lends the places of handlers that wait to events that they wait for.

    No more handlers do something than `max_consumers`: nothing is lent while one of them does not wait.
    """

    __slots__ = ("_backlogs", "_gate", "_permits", "_turns")

    def __init__(self, permits: "Permits", turns: "Turns", gate: "Gate", backlogs: "Backlogs") -> None:
        self._permits, self._turns, self._gate, self._backlogs = permits, turns, gate, backlogs
        gate.waits.tell_of_each(turns.schedule)

    def lend(self, handlers: "CoroutineTier | None", supply: "Supply | None") -> None:
        """Begin an event that a handler waits for, or admit a sender, if nothing else can go on."""
        permits, backlogs = self._permits, self._backlogs.open
        if handlers is None or handlers.stepping is not None:
            return
        while permits.busy >= permits.size and (waits := self._gate.waits.of_all(permits.busy, handlers.running_ids)):
            awaited = (*waits.values(), *self._gate.waits.awaited_elsewhere())
            event = next((event for event in awaited if event is not None and event.place in backlogs), None)
            if event is not None and permits.kept is not None:
                return  # during a pause nothing begins
            if event is not None:
                self._begin(event, handlers, supply)
                continue
            sender = next((future for future, event in waits.items() if event is None), None)
            if sender is not None:
                self._gate.admit(sender)
            return

    def _begin(self, event: "CollectorEvent", handlers: "CoroutineTier", supply: "Supply | None") -> None:
        backlog: Any = event.place
        backlog.take_out(event)
        self._gate.release()
        self._permits.take_lent()
        event.on_done(self._end_loan)
        if backlog is self._backlogs.here or supply is None or not supply.hand_over_lent(event):
            event.begin(clock.now())
            handlers.begin(event, event.variables or ContextVars())

    def _end_loan(self, _event: "CollectorEvent") -> None:
        self._permits.end_loan()
        self._turns.schedule()  # handlers that still wait may hold all places

    def __repr__(self) -> str:
        return f"<Lending {self._permits.lent} places, {self._gate.waits!r}>"
