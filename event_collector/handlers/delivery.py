"""What can be known beforehand of where payloads go, so that most events need no router."""

from collections.abc import Callable, Mapping
from typing import Any

from event_collector.handlers.collector import COROUTINE, PROCESS, Collector
from event_collector.handlers.router import Router, SimpleRouter
from event_collector.values.payload import Delivery, Payload
from event_collector.values.results import Error, ResultList

__all__ = ["DeliveryPlan"]

_BROADCAST = Delivery.BROADCAST


class DeliveryPlan:
    """The router of a queue and the shortcuts around it.

    Shortcuts need a SimpleRouter as it is: a subclass, or another router, sees every payload. A plan holds for
    as long as no adaptive collector moves.

    Args:
        router: the queue's router.
        collectors: its collectors by key.

    """

    def __init__(self, router: Router, collectors: Mapping[str, Collector]) -> None:
        self.router = router
        self.collectors = collectors
        self._everyone = everyone = list(collectors.values())
        remote = [collector for collector in everyone if collector.place == PROCESS]
        self._select: Callable[[Payload[Any]], list[Collector]] | None = (
            router.select if isinstance(router, SimpleRouter) and type(router) is SimpleRouter else None
        )
        self.any_remote = bool(remote)
        """Whether any payload may reach a worker process."""
        self._all_remote = self._select is None or len(remote) == len(everyone)
        only = everyone[0] if self._select is not None and len(everyone) == 1 else None
        self.direct: Collector | None = None
        """The one collector that every broadcast goes to, when calling its handler is all there is to do."""
        if only is not None and _needs_no_care(only):
            self.direct = only
        self._only_remote = only if only is not None and _is_job(only) else None

    def knows(self, collector: object) -> bool:
        """Return whether this very collector is one of the queue's."""
        return any(collector is own for own in self._everyone)

    def is_remote(self, payload: Payload[Any]) -> bool:
        """Return whether a worker process is needed for this payload."""
        if payload.delivery is _BROADCAST or self._all_remote or self._select is None:
            return self.any_remote
        return any(collector.place == PROCESS for collector in self._select(payload))

    def count_errors(self, results: ResultList) -> bool:
        """Count the failed attempts of the collectors that these results come from; return whether there are any."""
        is_failed = False
        for result in results:
            if isinstance(result, Error):
                is_failed = True
                if (collector := self.collectors.get(result.key or "")) is not None:
                    collector.usage.errors += 1
        return is_failed

    def sole_key(self, payload: Payload[Any]) -> str | None:
        """Return the key of the collector of a payload that goes to one and no other, as far as is known."""
        if len(self._everyone) == 1:
            return self._everyone[0].key
        selected = [] if self._select is None else self._select(payload)
        return selected[0].key if len(selected) == 1 else None

    def sole_remote(self, payload: Payload[Any]) -> Collector | None:
        """Return the collector of a payload that goes to one worker process and nowhere else."""
        if self._select is None:
            return None
        if payload.delivery is _BROADCAST:
            return self._only_remote
        selected = self._select(payload)
        return selected[0] if len(selected) == 1 and _is_job(selected[0]) else None


def _needs_no_care(collector: Collector) -> bool:
    """Return whether calling the handler is all that the collector's process() would do."""
    return (
        collector.mode == COROUTINE
        and collector.asynchronous
        and collector.timeout is None
        and _is_as_made(collector)
    )


def _is_job(collector: Collector) -> bool:
    """Return whether a worker process, and nothing here, has to do with its events."""
    return collector.place == PROCESS and _is_as_made(collector)


def _is_as_made(collector: Collector) -> bool:
    """Return whether the collector's process() is neither overridden nor replaced."""
    return getattr(collector.process, "__func__", None) is Collector.process
