"""What the control law answers: sizes, placement, reasons; and the protocol of any such law."""

from typing import Protocol

import msgspec

from event_collector_workers.autoscaler.readings import Readings, Tier


class ScalingLimits(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The bounds a plan always keeps, and how patient the law is.

    Args:
        min_consumers: consumers that are kept when nothing happens, at least 0.
        max_consumers: consumers that are never exceeded.
        min_workers: worker processes that are kept when nothing happens, at least 0.
        max_workers: worker processes that are never exceeded; 0 means that there is no process tier.
        margin: spare consumers kept above the measured need, as a share of it (0.15: 15%).
        patience: factor on all waiting before scale-down; 1.0 waits 10 s for consumers and at least 15 s for
            workers.

    Raises:
        ValueError: a bound is negative, a maximum lies below its minimum, or a factor is not a positive
            number.

    """

    min_consumers: int = 1
    max_consumers: int = 100_000
    min_workers: int = 0
    max_workers: int = 256
    margin: float = 0.15
    patience: float = 1.0

    def __post_init__(self) -> None:
        _check_bounds("consumers", self.min_consumers, self.max_consumers)
        _check_bounds("workers", self.min_workers, self.max_workers)
        if not 0.0 <= self.margin <= 100.0:
            raise ValueError(f"margin must lie between 0 and 100, not {self.margin!r}")
        if not 0.0 < self.patience <= 1000.0:
            raise ValueError(f"patience must be above 0 and at most 1000, not {self.patience!r}")


def _check_bounds(name: str, low: int, high: int) -> None:
    if not 0 <= low <= high:
        raise ValueError(f"min_{name} ({low!r}) must be at least 0 and at most max_{name} ({high!r})")


class Change(msgspec.Struct, frozen=True, gc=False):
    """One thing that a plan changes, and why, in words.

    Args:
        subject: "consumers", "workers", or the key of a collector that moves.
        before: the size or tier until now.
        after: the size or tier from now on.
        reason: the figures that led to it.

    """

    subject: str
    before: int | Tier
    after: int | Tier
    reason: str

    def __str__(self) -> str:
        return f"{self.subject} {self.before} -> {self.after}: {self.reason}"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done now.

    Args:
        consumers: how many coroutine consumers there should be.
        workers: how many worker processes there should be, those being started included.
        consumer_ceiling: how far the consumers may grow between two decisions, when a burst cannot wait for
            the next.
        placement: the tier of every adaptive collector.
        changes: what differs from the plan before, each with its reason; empty when nothing does.
        next_check: when to ask again at the latest, on the clock of the readings; None: not before something
            happens.

    """

    consumers: int
    workers: int
    consumer_ceiling: int
    placement: dict[str, Tier] = {}
    changes: tuple[Change, ...] = ()
    next_check: float | None = None


class ScalingLaw(Protocol):
    """Anything that sizes both tiers: pass your own to override the built-in law."""

    def decide(self, readings: Readings) -> Plan:
        """Answer the readings of this instant with a plan, at once: the event loop waits for it."""
        ...


class FixedSize:
    """The law that never changes anything.

    Args:
        consumers: coroutine consumers, at least 0.
        workers: worker processes, at least 0.

    Raises:
        ValueError: a size is negative.

    """

    __slots__ = ("_consumers", "_workers")

    def __init__(self, consumers: int, workers: int = 0) -> None:
        if consumers < 0 or workers < 0:
            raise ValueError(f"sizes must be at least 0, not {consumers!r} consumers and {workers!r} workers")
        self._consumers = consumers
        self._workers = workers

    def __repr__(self) -> str:
        return f"FixedSize(consumers={self._consumers}, workers={self._workers})"

    def decide(self, readings: Readings) -> Plan:
        """Answer with the fixed sizes, leave every collector where it is, and ask for no further call."""
        return Plan(
            consumers=self._consumers,
            workers=self._workers,
            consumer_ceiling=self._consumers,
            placement={reading.key: reading.tier for reading in readings.collectors if reading.adaptive},
        )
