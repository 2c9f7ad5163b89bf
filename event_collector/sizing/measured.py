"""What the monitor measures and sizes: the queue and its workers, as far as it knows them."""

from typing import Protocol

from event_collector.dispatch.permits import Permits
from event_collector.tiers.workers.worker_tier import WorkerReading
from event_collector.watching.metrics import Counts


class QueueFigures(Protocol):
    """Counts of a queue, at this instant. See `Figures` for their meaning."""

    @property
    def size(self) -> int: ...
    @property
    def busy(self) -> int: ...
    @property
    def qsize(self) -> int: ...
    @property
    def remote_queued(self) -> int: ...
    @property
    def active(self) -> int: ...
    @property
    def attempts(self) -> int: ...
    @property
    def service_total(self) -> float: ...
    def counts(self) -> Counts: ...


class Admits(Protocol):
    """Where senders come in."""

    @property
    def refusal(self) -> object:
        """Why the queue accepts no more events; None while it does."""


class MeasuredQueue(Protocol):
    """A queue: the `Dispatcher`, or a simulated one."""

    @property
    def figures(self) -> QueueFigures: ...
    @property
    def permits(self) -> Permits: ...
    @property
    def gate(self) -> Admits: ...
    def resize(self, size: int, /) -> None:
        """Set the number of consumers."""

    def rest(self, idle: bool, /) -> None:
        """Note whether the monitor rests."""


class MeasuredWorkers(Protocol):
    """The worker processes: the `WorkerTier`, or simulated ones."""

    @property
    def size(self) -> int: ...
    @property
    def room(self) -> int: ...
    def gauge(self) -> WorkerReading: ...
    def measure_memory(self) -> int:
        """Read the memory of all workers, and return its sum in bytes."""

    def resize(self, workers: int, /) -> None:
        """Set the number of workers."""


class Samples(Protocol):
    """The samples of a load, of which the metrics are made."""

    def sample(self, now: float, counts: Counts, /) -> None:
        """Add the counts of an instant."""


class LoopGuard(Protocol):
    """The `Watchdog` of the event loop, or nothing where the loop is simulated."""

    def watch(self) -> None: ...
    def rest(self) -> None: ...
    def beat(self) -> None: ...
    def stop(self) -> None: ...
