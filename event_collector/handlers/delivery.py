"""The delivery plan: routing decisions made in advance, so that most events need no router."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from event_collector.handlers.collector import COROUTINE, PROCESS, Collector
from event_collector.handlers.router import Router, SimpleRouter
from event_collector.values.errors import ConfigError
from event_collector.values.payload import Delivery, Payload
from event_collector.values.results import Error, ResultList

_BROADCAST = Delivery.BROADCAST

SEVERAL: Final = ""
"""Stands for the worker groups of an event that goes to several, or whose group is not known."""


class DeliveryPlan:
    """The router of a queue and the shortcuts around it.

    There are shortcuts for an unmodified SimpleRouter only: any other router, subclasses of SimpleRouter included,
    sees every payload. A plan is valid until an adaptive collector moves.
    """

    def __init__(self, router: Router, collectors: Mapping[str, Collector]) -> None:
        self.router = router
        self.collectors = collectors
        self._everyone = everyone = list(collectors.values())
        remote = [collector for collector in everyone if collector.place == PROCESS]
        self._select: Callable[[Payload[Any]], list[Collector]] | None = (
            router.select if isinstance(router, SimpleRouter) and type(router) is SimpleRouter else None
        )
        self.line = line_of(everyone)
        """The backlog of a broadcast: None for that of the event loop, or the name of a worker group, or SEVERAL."""
        self.is_settled = self._select is None or not remote or (len(remote) == len(everyone) and self.line != SEVERAL)
        """Whether all events have that backlog."""
        self._foreign = [collector for collector in everyone if _is_foreign(collector)]
        self.has_foreign = bool(self._foreign)
        """Whether a collector runs in other processes now."""
        self.has_executors = any(collector.is_in_processes for collector in everyone)
        """Whether a collector runs in the processes of an executor."""
        only = everyone[0] if self._select is not None and len(everyone) == 1 else None
        self.direct = only if only is not None and _is_direct(only) else None
        """The only collector, if its events need nothing but a call of the handler."""
        self.has_generators = any(collector.is_generator for collector in everyone)
        """Whether a handler yields, so that events may have parts."""
        self._only_remote = only if only is not None and _is_job(only) else None
        self.broadcast_to = self._only_remote
        """The collector of every broadcast, if `sole_remote()` is sure to return it."""

    def knows(self, collector: object) -> bool:
        """Return whether this object is one of the queue's collectors."""
        return any(collector is own for own in self._everyone)

    def line_of(self, payload: Payload[Any]) -> str | None:
        """Return the worker group that this payload goes to, or may go to; SEVERAL for several, None for none."""
        if payload._delivery is _BROADCAST or self.is_settled or self._select is None:
            return self.line
        return line_of(self._select(payload))

    def foreign(self, payload: Payload[Any]) -> list[Collector]:
        """Return the collectors that run in other processes now and that this payload reaches, or may reach."""
        if not self._foreign or payload._delivery is _BROADCAST or self._select is None:
            return self._foreign
        return [collector for collector in self._select(payload) if _is_foreign(collector)]

    def count_errors(self, results: ResultList) -> bool:
        """Count the failed attempts of the collectors that these results come from; return whether there are any."""
        is_failed = False
        for result in results:
            if isinstance(result, Error):
                is_failed = True
                if (collector := self.collectors.get(result.key or "")) is not None:
                    collector.usage.failed()
        return is_failed

    def sole_key(self, payload: Payload[Any]) -> str | None:
        """Return the key of the collector of a payload that is known to go to exactly one; else None."""
        if len(self._everyone) == 1:
            return self._everyone[0].key
        selected = [] if self._select is None else self._select(payload)
        return selected[0].key if len(selected) == 1 else None

    def sole_remote(self, payload: Payload[Any]) -> Collector | None:
        """Return the collector of a payload that goes to exactly one, which runs in worker processes; else None."""
        if self._select is None:
            return None
        if payload._delivery is _BROADCAST:
            return self._only_remote
        selected = self._select(payload)
        return selected[0] if len(selected) == 1 and _is_job(selected[0]) else None


class PausedPlan(DeliveryPlan):
    """A delivery plan while collectors are paused: what goes to one of them has no shortcut, and is held.

    Raises ConfigError if the router selects the collectors itself, so that nobody knows before it runs.
    """

    def __init__(self, router: Router, collectors: Mapping[str, Collector], paused: Collection[str]) -> None:
        super().__init__(router, collectors)
        if self._select is None:
            raise ConfigError(
                f"the router {type(router).__qualname__} selects collectors when an event is in its handlers: one "
                "collector cannot be paused alone. Pause the queue"
            )
        self._paused = frozenset(paused)
        self.broadcast_to = None  # it may be held

    def is_held(self, payload: Payload[Any], only: Collection[str] = ()) -> bool:
        """Return whether this payload goes to a paused collector; `only`: it goes to these and no others."""
        if only:
            return not self._paused.isdisjoint(only)
        selected = () if self._select is None else self._select(payload)
        return any(collector.key in self._paused for collector in selected)

    def sole_remote(self, payload: Payload[Any]) -> Collector | None:
        """Return what `DeliveryPlan` does, but None for a payload that is held."""
        return None if self.is_held(payload) else super().sole_remote(payload)


def line_of(collectors: Iterable[Collector]) -> str | None:
    """Return the worker group that these collectors run in; SEVERAL for several, None if none runs in workers."""
    groups = {collector.worker_group for collector in collectors if collector.place == PROCESS}
    return None if not groups else groups.pop() if len(groups) == 1 else SEVERAL


def _is_direct(collector: Collector) -> bool:
    """Return whether the collector's process() would do nothing but call the handler."""
    return (
        collector.mode == COROUTINE
        and collector.asynchronous
        and not collector.is_limited
        and collector.batch is None
        and not collector.is_generator
        and _is_unmodified(collector)
    )


def _is_job(collector: Collector) -> bool:
    """Return whether the collector's events run in worker processes without a call of its process() here."""
    is_plain = collector.batch is None and not collector.is_generator
    return collector.place == PROCESS and is_plain and _is_unmodified(collector)


def _is_foreign(collector: Collector) -> bool:
    return collector.place == PROCESS or collector.is_in_processes


def _is_unmodified(collector: Collector) -> bool:
    """Return whether the collector's process() is neither overridden nor replaced."""
    return getattr(collector.process, "__func__", None) is Collector.process
