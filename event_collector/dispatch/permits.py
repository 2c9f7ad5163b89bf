"""Permits: how many events may be in handlers at once, and how many are."""

from typing import NamedTuple

from event_collector_workers.autoscaler import burst_size


class ConsumerLimits(NamedTuple):
    """The bounds of the number of consumers; `autoscale`: whether it may change at all."""

    min_consumers: int
    max_consumers: int
    autoscale: bool


class Permits:
    """One permit for each event in a handler. Only this class writes its fields; two hot paths repeat `take()`.

    Attributes:
        limits: bounds of `size`.
        size: permits that exist now; 0 during a pause.
        ceiling: size up to which a burst may grow the pool by itself; set by the autoscaler. 0 during a pause.
        busy: permits taken.
        peak: most permits taken since `take_peak()`, if the pool had to grow for them.
        lent: permits beyond the limits, for events that handlers wait for.
        kept: size without those lent, and ceiling, after the pause; None while there is none.
    """

    __slots__ = ("busy", "ceiling", "kept", "lent", "limits", "peak", "size")

    def __init__(self, limits: ConsumerLimits) -> None:
        self.limits = limits
        self.kept: tuple[int, int] | None = None
        self.size: int = 0
        self.ceiling: int = 0
        self.busy = self.peak = self.lent = 0
        self.reset()

    def reset(self) -> None:
        """Begin with as many permits as a queue has at its start, or with none if it is paused."""
        size = self.limits.min_consumers if self.limits.autoscale else self.limits.max_consumers
        self._set(size, self.limits.max_consumers)

    def take(self) -> bool:
        """Take a permit, growing the pool if that is allowed; return False when there is none."""
        if self.busy >= self.size and not self.grow():
            return False
        self.busy += 1
        return True

    def take_many(self, count: int) -> None:
        """Take permits that `free` has promised."""
        self.busy += count

    def take_lent(self) -> None:
        """Take a permit beyond the limits: a handler that waits lends its place to an event."""
        self.lent += 1
        self.size += 1
        self.busy += 1

    def end_loan(self) -> None:
        """Have one permit less, since the event that it was lent to has ended."""
        self.lent -= 1
        if self.kept is None:
            self.size -= 1

    def give_back(self, count: int = 1) -> None:
        """Give permits back."""
        self.busy -= count

    def free(self) -> int:
        """Return how many permits can be taken now; at least one if the pool may grow."""
        if self.busy >= self.size and not self.grow():
            return 0
        return self.size - self.busy

    def most(self) -> int:
        """Return how many permits there could be if the pool grew as far as a burst may grow it."""
        return self.ceiling if self.limits.autoscale else self.size

    def grow(self) -> bool:
        """Add at least one permit; return False when the pool may not grow."""
        if not self.limits.autoscale or self.ceiling <= max(self.size, self.busy):
            return False
        self.peak = max(self.peak, self.busy + 1)
        self.size = max(self.size + 1, burst_size(self.busy + 1, self.ceiling))
        return True

    def resize(self, size: int) -> None:
        """Set the number of permits, within the limits; those taken beyond it stay taken until they are given back."""
        self._set(max(self.limits.min_consumers, min(size, self.limits.max_consumers)), self._after_pause()[1])

    def raise_ceiling(self, ceiling: int) -> None:
        """Set how far a burst may grow the pool, within the limits."""
        self._set(self._after_pause()[0], max(1, min(ceiling, self.limits.max_consumers)))

    def bound(self, limits: ConsumerLimits) -> None:
        """Set other limits, and a size and a ceiling within them."""
        self.limits = limits
        size, ceiling = self._after_pause()
        self.raise_ceiling(ceiling)
        self.resize(size if limits.autoscale else limits.max_consumers)

    @property
    def full_size(self) -> int:
        """Permits that exist, or will after the pause."""
        return self._after_pause()[0] + self.lent

    def pause(self) -> None:
        """Have no permit to take until `resume()`; those taken stay taken."""
        if self.kept is None:
            self.kept = self._after_pause()
            self.size = self.ceiling = 0

    def resume(self) -> None:
        """Have permits again."""
        if self.kept is not None:
            kept, self.kept = self.kept, None
            self._set(*kept)

    def _after_pause(self) -> tuple[int, int]:
        return (self.size - self.lent, self.ceiling) if self.kept is None else self.kept

    def _set(self, size: int, ceiling: int) -> None:
        if self.kept is None:
            self.size, self.ceiling = size + self.lent, ceiling
        else:
            self.kept = size, ceiling

    def take_peak(self) -> int:
        """Return the most permits taken at once since the last call."""
        peak, self.peak = max(self.busy, self.peak), 0
        return peak

    def __repr__(self) -> str:
        paused = "" if self.kept is None else ", paused"
        return f"<Permits {self.busy} of {self.size} taken, at most {self.ceiling}{paused}>"
