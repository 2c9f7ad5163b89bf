"""What the monitor measures and sizes: the queue and its workers, as far as it knows them."""

from typing import TYPE_CHECKING, Protocol

from event_collector.dispatch.permits import Permits
from event_collector.tiers.workers.worker_tier import WorkerReading
from event_collector.watching.metrics import Counts

if TYPE_CHECKING:
    from collections.abc import Mapping


class QueueFigures(Protocol):
    """Counts of a queue, at this instant."""

    @property
    def size(self) -> int:
        """Events that may be in handlers, or will after a pause."""

    @property
    def busy(self) -> int:
        """Events in handlers."""

    @property
    def ready(self) -> int:
        """Events that wait for a handler and may begin."""

    @property
    def ready_remote(self) -> int:
        """Those among them that wait for a worker process."""

    def group_ready(self, group: str, /) -> int:
        """Return how many events wait for a worker process of one of several groups, and may begin."""

    @property
    def active(self) -> int:
        """Events that are in handlers, or may begin."""

    @property
    def attempts(self) -> int:
        """Attempts that have ended."""

    @property
    def service_total(self) -> float:
        """Seconds that all attempts spent in handlers."""

    def counts(self) -> Counts:
        """Return what the meter samples."""


class Admits(Protocol):
    """Where senders come in."""

    @property
    def refusal(self) -> object:
        """Why the queue accepts no more events; None while it does."""


class MeasuredQueue(Protocol):
    """A queue: the `Dispatcher`, or a simulated one."""

    @property
    def figures(self) -> QueueFigures:
        """Its counts."""

    @property
    def permits(self) -> Permits:
        """One for each event in a handler."""

    @property
    def gate(self) -> Admits:
        """Where senders come in."""

    def resize(self, size: int, /) -> None:
        """Set the number of consumers."""

    def rest(self, idle: bool, /) -> None:
        """Note whether the monitor rests."""


class MeasuredGroup(Protocol):
    """The worker processes of one group: a `WorkerTier`, or simulated ones."""

    @property
    def size(self) -> int:
        """Workers that are ready."""

    @property
    def room(self) -> int:
        """Events that workers can take now."""

    def gauge(self) -> WorkerReading:
        """Return the current figures."""

    def resize(self, workers: int, /) -> None:
        """Set the number of workers."""


class MeasuredWorkers(Protocol):
    """All worker processes: the `WorkerGroups`, or simulated ones."""

    @property
    def groups(self) -> "Mapping[str, MeasuredGroup]":
        """The groups by name."""

    @property
    def room(self) -> int:
        """Events that workers can take now."""

    def measure_memory(self) -> int:
        """Read the memory of all workers, and return its sum in bytes."""


class Samples(Protocol):
    """The samples of a load, of which the metrics are made."""

    def sample(self, now: float, counts: Counts, /) -> None:
        """Add the counts of an instant."""


class LoopGuard(Protocol):
    """The `Watchdog` of the event loop, or nothing where the loop is simulated."""

    @property
    def blockers(self) -> list[str]:
        """Keys of the collectors that have blocked the loop."""

    def watch(self) -> None:
        """Start watching."""

    def rest(self) -> None:
        """Stop watching until `watch()` is called again."""

    def beat(self) -> None:
        """Note that the loop turns."""

    def stop(self) -> None:
        """End."""
