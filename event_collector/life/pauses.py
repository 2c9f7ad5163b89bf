"""Pauses: of a whole queue, and of single collectors. What is accepted meanwhile waits, and what runs goes on.

A pause uses gates that exist without it, so it costs events nothing. The pause of the queue takes all free permits
away. That of a collector keeps its events in a backlog of their own, which the sorting of events to backlogs does.
"""

from collections.abc import Mapping
from typing import Any

from event_collector.dispatch.dispatcher import Dispatcher
from event_collector.events.event import CollectorEvent
from event_collector.handlers.collector import Collector
from event_collector.handlers.delivery import DeliveryPlan, PausedPlan
from event_collector.handlers.router import Router
from event_collector.values.errors import ConfigError
from event_collector.values.refusals import QueueShutDown


class Pauses:
    """The pauses of one queue. They hold until `resume()` or the end of the queue, and may begin before its start.

    Attributes:
        collectors: keys of the paused collectors, in the order of their pauses.
    """

    def __init__(self, dispatcher: Dispatcher, router: Router, collectors: Mapping[str, Collector], log: Any) -> None:
        self._dispatcher, self._router, self._everyone, self._log = dispatcher, router, collectors, log
        self.collectors: tuple[str, ...] = ()
        self._is_open = False
        dispatcher.sent_values.follow(self._plan(()), is_open=False)

    @property
    def is_whole(self) -> bool:
        """Whether the queue as a whole is paused."""
        return self._dispatcher.permits.kept is not None

    def open(self) -> DeliveryPlan:
        """Return the plan of a queue that starts; call `redirect()` as soon as it has it."""
        self._is_open = True
        return self._plan(self.collectors)

    def redirect(self) -> None:
        """Deliver by a new plan: collectors have moved, or pauses have begun or ended."""
        if self._is_open:
            plan = self._plan(self.collectors)
            self._dispatcher.redirect(plan, _sieve(plan) if isinstance(plan, PausedPlan) else None)

    def pause(self, key: str | None) -> bool:
        """Begin no more events of a collector, or, with None, of the queue; return False if it was paused already.

        Raises ConfigError if there is no such collector, or the router does not tell which events go to it.
        """
        if key is None:
            is_new = not self.is_whole
            self._dispatcher.permits.pause()
        else:
            is_new = self._checked(key) not in self.collectors
            if is_new:
                self._plan((*self.collectors, key))
                self.collectors = (*self.collectors, key)
                self.redirect()
        if is_new:
            self._log.warning("paused", collector=key, queued=self._dispatcher.figures.qsize)
        return is_new

    def resume(self, key: str | None) -> bool:
        """End a pause; return False if there was none. Raises ConfigError if there is no such collector."""
        was_paused = self.is_whole if key is None else self._checked(key) in self.collectors
        if was_paused:
            self._end((key,))
            self._log.warning("resumed", collector=key, queued=self._dispatcher.figures.qsize)
        return was_paused

    def close(self, error: QueueShutDown | None) -> None:
        """End all pauses at the end of a queue. With an error, what they hold back ends with it; else it runs."""
        dispatcher = self._dispatcher
        if error is not None and (self.is_whole or self.collectors):
            dispatcher.ending.end_all_waiting(error, None if self.is_whole else [dispatcher.backlogs.held])
        self._end((None, *self.collectors))
        self._is_open = False

    def held(self, key: str | None) -> int:
        """Return how many events wait that the pause of a collector, or of the queue, holds back or would hold back."""
        if key is None:
            return self._dispatcher.figures.qsize
        picks = _sieve(PausedPlan(self._router, self._everyone, (self._checked(key),)))
        return sum(map(picks, self._dispatcher.backlogs.events()))

    def _end(self, keys: tuple[str | None, ...]) -> None:
        if None in keys:
            self._dispatcher.permits.resume()
        self.collectors = tuple(key for key in self.collectors if key not in keys)
        self.redirect()

    def _plan(self, paused: tuple[str, ...]) -> DeliveryPlan:
        if not paused:
            return DeliveryPlan(self._router, self._everyone)
        return PausedPlan(self._router, self._everyone, paused)

    def _checked(self, key: str) -> str:
        if key not in self._everyone:
            raise ConfigError(f"there is no collector {key!r}: this queue has {', '.join(map(repr, self._everyone))}")
        return key

    def __repr__(self) -> str:
        return f"<Pauses queue={self.is_whole} collectors={list(self.collectors)}>"


def _sieve(plan: PausedPlan) -> Any:
    def is_held(event: CollectorEvent) -> bool:
        return plan.is_held(event.payload, () if event.course is None else event.course.only)

    return is_held
