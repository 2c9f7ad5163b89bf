"""What was measured of one contender: its rounds, put together."""

from statistics import median
from typing import Any

import msgspec

from event_collector.benchmark.estimate import Estimate, estimate
from event_collector.benchmark.figures import Contender, Freight, Profile, Round
from event_collector.benchmark.growth import growth

__all__ = ["Measured"]


class Measured(msgspec.Struct):
    """One contender, as the decision sees it.

    Attributes:
        contender: who.
        rounds: what counts; of all contenders, those with the same index were taken one after the other.
        tries: events per second by number of events at once, from the search for the number that is enough.
        alone: seconds of an event that is alone, 0 where nobody knows.
        busy_alone: the share of that in which a CPU was busy for it.
        profile: the handler by itself; only of contenders that run it on the event loop.
        freight: what its values weigh; only of worker processes.
        refusal: why there are no rounds, or no more.

    """

    contender: Contender
    rounds: list[Round] = msgspec.field(default_factory=list)
    tries: dict[int, float] = msgspec.field(default_factory=dict)
    alone: float = 0.0
    busy_alone: float = 0.0
    profile: Profile | None = None
    freight: Freight | None = None
    refusal: str | None = None

    @property
    def label(self) -> str:
        """Its name in tables."""
        return self.contender.label

    @property
    def usable(self) -> bool:
        """Whether there is anything to judge by."""
        return self.refusal is None and any(one.events > one.failed for one in self.rounds)

    @property
    def rates(self) -> list[float]:
        """Events per second of each round."""
        return [one.rate for one in self.rounds]

    @property
    def rate(self) -> Estimate:
        """Events per second."""
        return estimate(self.rates)

    @property
    def in_flight(self) -> int:
        """Events at once in the rounds."""
        return self.rounds[-1].in_flight

    def median(self, name: str) -> float:
        """Return the median over the rounds of one of their figures."""
        values: list[Any] = [getattr(one, name) for one in self.rounds]
        return float(median(values))

    def per_event(self, *names: str) -> float:
        """Return the sum of these figures of all rounds, for each event."""
        total = sum(getattr(one, name) for one in self.rounds for name in names)
        return float(total) / max(1, sum(one.events for one in self.rounds))

    @property
    def events(self) -> int:
        """Events in all rounds."""
        return sum(one.events for one in self.rounds)

    @property
    def failures(self) -> float:
        """The share of events that failed."""
        return sum(one.failed for one in self.rounds) / max(1, self.events)

    @property
    def error(self) -> str | None:
        """The first failure, in words."""
        return next((one.error for one in self.rounds if one.error is not None), None)

    @property
    def growth(self) -> float | None:
        """Bytes by which memory grows with each event; None if it does not."""
        memory = [one.own_memory + one.worker_memory for one in self.rounds]
        return growth(memory, [one.events for one in self.rounds])

    def busy(self, who: str) -> float:
        """Return how many CPUs "own" or "worker" used, or waited for, on average."""
        used = sum(getattr(one, f"{who}_cpu") + getattr(one, f"{who}_queued") for one in self.rounds)
        return float(used) / max(1e-9, sum(one.seconds for one in self.rounds))
