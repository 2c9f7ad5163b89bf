"""The settings of a queue: one table of what may be set, in which range, and what it means when it is not."""

import math
from dataclasses import dataclass
from typing import Any, Final

from event_collector.dispatch.permits import ConsumerLimits
from event_collector.events.capacity import DROP_NEWEST, DROP_OLDEST, WAIT
from event_collector.events.event import QueueType
from event_collector.values.errors import ConfigError
from event_collector_workers.limits import WorkerLimits

__all__ = ["Settings"]

DEFAULT_MIN_CONSUMERS: Final = 1
DEFAULT_MAX_CONSUMERS: Final = 100_000
WIP_MARGIN: Final = 0.15
MONITOR_INTERVAL: Final = 0.01
REPORT_INTERVAL: Final = 0.0
AVG_LOAD_INTERVAL: Final = 60.0
METRICS_COLLECTOR_WINDOW_SIZE: Final = 60.0
METRICS_WARMUP_INTERVAL: Final = 3.0
EVENT_SERVICE_DATA_WINDOW_SIZE: Final = 1000
METRICS_HISTORY_SIZE: Final = 1000
CONSUMER_SHUTDOWN_TIMEOUT: Final = 10.0
MAX_DEAD_LETTERS: Final = 1000
WORKER_STARTUP_TIMEOUT: Final = 60.0

START_METHODS = ("forkserver", "spawn", "fork")
OVERFLOW_POLICIES = (WAIT, DROP_OLDEST, DROP_NEWEST)


@dataclass
class Settings:
    """What CollectorQueue was given, made sound; the meaning of each is told there.

    Raises:
        ConfigError: a value cannot be used; the message names the parameter.

    """

    autoscale: bool
    min_consumers: int
    max_consumers: int
    wip_margin: float
    monitor_interval: float
    report_interval: float
    avg_load_interval: float
    metrics_collector_window_size: float
    metrics_warmup_interval: float
    event_service_data_window_size: int
    metrics_history_size: int
    queue_type: QueueType
    default_priority: float
    consumer_shutdown_timeout: float
    min_workers: int
    max_workers: int | None
    max_threads: int
    max_queue_size: int
    start_method: str | None
    overflow: str
    max_dead_letters: int
    worker_limits: WorkerLimits | None
    max_events_per_worker: int | None = None
    max_worker_age: float | None = None
    max_worker_memory: int | None = None
    worker_startup_timeout: float = WORKER_STARTUP_TIMEOUT

    def __post_init__(self) -> None:
        for name in ("min_consumers", "max_consumers", "wip_margin", "monitor_interval", "report_interval",
                     "avg_load_interval", "metrics_warmup_interval", "default_priority", "min_workers",
                     "max_queue_size", "consumer_shutdown_timeout", "max_dead_letters"):  # fmt: skip
            self._number(name)
        for name in ("metrics_collector_window_size", "event_service_data_window_size",
                     "metrics_history_size", "max_threads"):  # fmt: skip
            self._number(name)
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)!r}")
        if not isinstance(self.queue_type, QueueType):
            raise ConfigError(f"queue_type takes a QueueType such as QueueType.FIFO, not {self.queue_type!r}")
        if self.start_method is not None and self.start_method not in START_METHODS:
            raise ConfigError(f"start_method is one of {START_METHODS} or None, not {self.start_method!r}")
        for name in ("max_events_per_worker", "max_worker_memory"):
            self._positive(name, whole=True)
        for name in ("max_worker_age", "worker_startup_timeout"):
            self._positive(name)
        if self.worker_limits is not None and not isinstance(self.worker_limits, WorkerLimits):
            raise ConfigError(
                f"worker_limits takes a WorkerLimits such as WorkerLimits(open_files=100), not {self.worker_limits!r}"
            )
        self._raise_to_least()
        if self.overflow not in OVERFLOW_POLICIES:
            raise ConfigError(f"overflow is one of {OVERFLOW_POLICIES}, not {self.overflow!r}")
        if self.overflow != WAIT and not self.max_queue_size:
            raise ConfigError(f"overflow={self.overflow!r} needs a bound: give max_queue_size= too")

    def _positive(self, name: str, *, whole: bool = False) -> None:
        """A finite number above 0, at least 1 of what is counted; None means no limit."""
        value: Any = getattr(self, name)
        if value is None and name != "worker_startup_timeout":
            return
        self._number(name)
        if whole and math.isfinite(value) and value == int(value) >= 1:
            setattr(self, name, int(value))
        elif whole or not 0 < value < math.inf:
            raise ConfigError(
                f"{name} must be {'a whole number, at least 1' if whole else 'more than 0, and finite'}, not {value!r}"
            )

    def _number(self, name: str) -> None:
        value: Any = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
            raise ConfigError(f"{name} takes a number, not {value!r}")

    def _raise_to_least(self) -> None:
        """Values below what makes sense are raised to it."""
        self.min_consumers = max(1, int(self.min_consumers))
        self.max_consumers = max(self.min_consumers, int(self.max_consumers))
        self.wip_margin = max(0.0, self.wip_margin)
        self.monitor_interval = max(0.005, self.monitor_interval)
        self.avg_load_interval = max(1.0, self.avg_load_interval)
        self.min_workers = max(0, int(self.min_workers))
        if self.max_workers is not None:
            self._number("max_workers")
            self.max_workers = max(1, self.min_workers, int(self.max_workers))
        self.event_service_data_window_size = int(self.event_service_data_window_size)
        self.metrics_history_size = int(self.metrics_history_size)
        self.max_queue_size = max(0, int(self.max_queue_size))
        self.max_dead_letters = max(0, int(self.max_dead_letters))

    @property
    def limits(self) -> ConsumerLimits:
        """The bounds of the number of consumers."""
        return ConsumerLimits(self.min_consumers, self.max_consumers, self.autoscale)
