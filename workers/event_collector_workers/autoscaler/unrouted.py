"""Queued events whose collector is not known: they are divided among the collectors of the place they wait for."""

from collections.abc import Iterable
from typing import NamedTuple

from event_collector_workers.autoscaler.estimates import CollectorEstimate
from event_collector_workers.autoscaler.readings import Readings, Tier


class _Place(NamedTuple):
    """A tier, or a worker group of it."""

    tier: Tier
    group: str | None = None

    def has(self, one: CollectorEstimate) -> bool:
        return one.tier is self.tier and self.group in (None, one.group)


class Unrouted:
    """The number of such events in each place, at the last reading."""

    def __init__(self) -> None:
        self._waiting: dict[_Place, int] = {}

    def growth(self, readings: Readings, estimates: Iterable[CollectorEstimate]) -> dict[str, float]:
        """Note how many wait now. Return how many more than before are each collector's; negative if fewer are.

        They have arrived, although no collector has counted them yet.
        """
        before, self._waiting = self._waiting, _waiting(readings)
        places = self._waiting | before
        return _spread({one: self._waiting.get(one, 0) - before.get(one, 0) for one in places}, estimates)

    def parts(self, estimates: Iterable[CollectorEstimate]) -> dict[str, float]:
        """Return how many of them are each collector's."""
        return _spread(self._waiting, estimates)

    def __repr__(self) -> str:
        return f"<Unrouted {self._waiting}>"


def _waiting(readings: Readings) -> dict[_Place, int]:
    remote = max(0, min(readings.unrouted_remote, readings.unrouted))
    grouped = {_Place(Tier.PROCESS, one.name): max(0, one.unrouted) for one in readings.groups}
    rest = max(0, remote - sum(grouped.values()))  # of several groups
    return {_Place(Tier.COROUTINE): max(0, readings.unrouted - remote), _Place(Tier.PROCESS): rest, **grouped}


def _spread(events: dict[_Place, int], estimates: Iterable[CollectorEstimate]) -> dict[str, float]:
    """Divide events among the collectors of their place, in proportion to their arrivals."""
    parts: dict[str, float] = {}
    for place, number in events.items():
        if number:
            rates = {one.key: one.rate.value for one in estimates if place.has(one)}
            total = sum(rates.values())
            for key, rate in rates.items():
                part = number * rate / total if total > 0.0 else number / len(rates)
                parts[key] = parts.get(key, 0.0) + part
    return parts
