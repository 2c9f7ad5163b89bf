"""Queued events whose collector is not known: they are divided among the collectors of the tier that they wait for."""

from collections.abc import Iterable, Mapping

from event_collector_workers.autoscaler.estimates import CollectorEstimate
from event_collector_workers.autoscaler.readings import Tier


class Unrouted:
    """The number of such events in each tier, at the last reading."""

    def __init__(self) -> None:
        self._waiting: dict[Tier, int] = dict.fromkeys(Tier, 0)

    def growth(self, waiting: Mapping[Tier, int], estimates: Iterable[CollectorEstimate]) -> dict[str, float]:
        """Note how many wait now. Return how many more than before are each collector's; negative if fewer are.

        They have arrived, although no collector has counted them yet.
        """
        grown = {tier: waiting[tier] - before for tier, before in self._waiting.items()}
        self._waiting = {tier: max(0, number) for tier, number in waiting.items()}
        return _spread(grown, estimates)

    def parts(self, estimates: Iterable[CollectorEstimate]) -> dict[str, float]:
        """Return how many of them are each collector's."""
        return _spread(self._waiting, estimates)

    def __repr__(self) -> str:
        return f"<Unrouted {self._waiting}>"


def _spread(events: Mapping[Tier, int], estimates: Iterable[CollectorEstimate]) -> dict[str, float]:
    """Divide events among the collectors of their tier, in proportion to their arrivals."""
    parts: dict[str, float] = {}
    for tier, number in events.items():
        if number:
            rates = {one.key: one.rate.value for one in estimates if one.tier is tier}
            total = sum(rates.values())
            for key, rate in rates.items():
                parts[key] = number * rate / total if total > 0.0 else number / len(rates)
    return parts
