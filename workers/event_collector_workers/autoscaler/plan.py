"""The result of a control law: sizes, placement, reasons. The limits of a plan, and the protocol of a law."""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from event_collector_workers.autoscaler.readings import Readings, Tier
from event_collector_workers.environment import DEFAULT_GROUP


class WorkerGroupLimits(msgspec.Struct, frozen=True, gc=False):
    """The bounds of one worker group.

    Raises:
        ValueError: `min_workers` is negative, or above `max_workers`.
    """

    min_workers: int = 0
    max_workers: int = 256

    def __post_init__(self) -> None:
        _check_bounds("workers", self.min_workers, self.max_workers)


class ScalingLimits(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The bounds that every plan keeps, and the patience of the law.

    Args:
        min_consumers: Minimum number of consumers, at least 0.
        max_consumers: Maximum number of consumers.
        min_workers: Minimum number of worker processes, at least 0.
        max_workers: Maximum number of worker processes; 0 for no process tier.
        groups: Bounds of each worker group. Empty for one group, with the two bounds above.
        margin: Spare consumers above the measured need, as a share of it (0.15: 15%). 0 to 100.
        patience: Factor on all delays before scale-down, above 0 and at most 1000. At 1.0 they are 10 s for consumers
            and at least 15 s for workers.
        polite: Leave cores that other programs use to them, down to one core.

    Raises:
        ValueError: A bound is negative, a maximum is below its minimum, or a factor is out of its range.
    """

    min_consumers: int = 1
    max_consumers: int = 100_000
    min_workers: int = 0
    max_workers: int = 256
    groups: dict[str, WorkerGroupLimits] = {}
    margin: float = 0.15
    patience: float = 1.0
    polite: bool = False

    def __post_init__(self) -> None:
        consumers = ("consumers", self.min_consumers, self.max_consumers)
        for name, low, high in (consumers, ("workers", self.min_workers, self.max_workers)):
            _check_bounds(name, low, high)
        if not 0.0 <= self.margin <= 100.0:
            raise ValueError(f"margin must lie between 0 and 100, not {self.margin!r}")
        if not 0.0 < self.patience <= 1000.0:
            raise ValueError(f"patience must be above 0 and at most 1000, not {self.patience!r}")

    @property
    def groups_of_workers(self) -> dict[str, WorkerGroupLimits]:
        """The bounds of each worker group by name, also if there is only one."""
        return self.groups or {DEFAULT_GROUP: WorkerGroupLimits(self.min_workers, self.max_workers)}


def _check_bounds(name: str, low: int, high: int) -> None:
    if not 0 <= low <= high:
        raise ValueError(f"min_{name} ({low!r}) must be at least 0 and at most max_{name} ({high!r})")


class Change(msgspec.Struct, frozen=True, gc=False):
    """One change in a plan, and its reason.

    Args:
        subject: "consumers", "workers", "workers of " and the name of one of several groups, or the key of a collector
            that moves.
        before: The previous size or tier.
        after: The new size or tier.
        reason: The figures that led to the change, in words.
    """

    subject: str
    before: int | Tier
    after: int | Tier
    reason: str

    def __str__(self) -> str:
        return f"{self.subject} {self.before} -> {self.after}: {self.reason}"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The decision of a law.

    Args:
        consumers: Target number of coroutine consumers.
        workers: Target number of worker processes, including those that are starting.
        groups: The same for each of several worker groups. One that is not named gets `workers`.
        consumer_ceiling: Number up to which consumers may grow before the next decision, in a burst.
        placement: The tier of every adaptive collector.
        changes: The differences from the previous plan, with their reasons.
        next_check: Latest time of the next decision, on the clock of the readings; None: at the next event.
    """

    consumers: int
    workers: int
    consumer_ceiling: int
    groups: dict[str, int] = {}
    placement: dict[str, Tier] = {}
    changes: tuple[Change, ...] = ()
    next_check: float | None = None


class ScalingLaw(Protocol):
    """A law that sizes both tiers. Pass an implementation to replace the built-in law."""

    def decide(self, readings: Readings) -> Plan:
        """Return the plan for these readings. It runs in the event loop and must not block."""
        ...


class FixedSize:
    """The law that never changes a size.

    Args:
        consumers: Coroutine consumers, at least 0.
        workers: Worker processes, at least 0.
        groups: Worker processes of each of several groups.

    Raises:
        ValueError: A size is negative.
    """

    def __init__(self, consumers: int, workers: int = 0, groups: Mapping[str, int] | None = None) -> None:
        if consumers < 0 or workers < 0:
            raise ValueError(f"sizes must be at least 0, not {consumers!r} consumers and {workers!r} workers")
        self._consumers = consumers
        self._workers = workers
        self._groups = dict(groups or {})

    def __repr__(self) -> str:
        return f"FixedSize(consumers={self._consumers}, workers={self._workers})"

    def decide(self, readings: Readings) -> Plan:
        """Return the fixed sizes, and the present tier of every adaptive collector. Request no further call."""
        return Plan(
            consumers=self._consumers,
            workers=self._workers,
            groups=self._groups,
            consumer_ceiling=self._consumers,
            placement={reading.key: reading.tier for reading in readings.collectors if reading.adaptive},
        )
