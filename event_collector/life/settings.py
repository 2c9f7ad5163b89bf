"""The options of a queue: one table for validation, documentation and the test of the signature.

To add an option, add a row here and a parameter to `CollectorQueue.__init__`. The suite compares both with the Args
section of the class and the table in docs/reference.md, and prints the differences.
"""
# ruff: noqa: RUF009 - option() describes a field as dataclasses.field() does

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

from event_collector.events.event import DEFAULT_PRIORITY, QueueType
from event_collector.events.gate import DROP_NEWEST, DROP_OLDEST, WAIT
from event_collector.handlers.collector import CollectorList
from event_collector.handlers.router import Router, SimpleRouter
from event_collector.life.option import REQUIRED, Number, Option, Range, option, options_of
from event_collector.values.errors import ConfigError
from event_collector_workers.autoscaler import ScalingLaw
from event_collector_workers.environment import (
    DEFAULT_GROUP,
    check_affinity,
    check_devices,
    check_nice,
    check_variables,
)
from event_collector_workers.limits import WorkerLimits

if TYPE_CHECKING:
    import os

    from event_collector.journal.journal_options import Journal
    from event_collector.watching.monitor import Monitor

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


def _check_groups(groups: Any) -> None:
    if not isinstance(groups, Mapping):
        raise ValueError(f'takes a dict such as {{"gpu": Workers(max=1)}}, not {groups!r}')
    for name, workers in groups.items():
        if not isinstance(name, str) or not name:
            raise ValueError(f"takes names of groups, not {name!r}")
        if name == DEFAULT_GROUP:
            raise ValueError(
                f"cannot have {name!r}, the group of collectors without workers=: min_workers=, max_workers= and the "
                f"worker_ options of the queue are for it"
            )
        if not isinstance(workers, Workers):
            raise ValueError(f"takes a Workers for {name!r}, such as Workers(max=1), not {workers!r}")


@dataclass(frozen=True)
class Settings:
    """Checked options of a queue. The fields are the rows of the table, in the order of the parameters."""

    collectors: CollectorList = option(
        REQUIRED, "Collectors of the events, each with a unique key. A function is made one, with its name as the key."
    )
    router: type[Router] = option(SimpleRouter, "Class that routes payloads to collectors.")
    autoscale: bool = option(
        True, "Size both pools by need. If False, their sizes are always `max_consumers` and `max_workers`."
    )
    min_consumers: int = option(
        DEFAULT_MIN_CONSUMERS,
        "Lower bound of the number of consumers, which is the number of events that may be in handlers at once.",
        Number(Range.RAISED, least=1, whole=True),
    )
    max_consumers: int = option(
        DEFAULT_MAX_CONSUMERS,
        "Upper bound of the number of consumers.",
        Number(Range.FLOORED, least=1, floor="min_consumers", whole=True),
    )
    wip_margin: float = option(
        WIP_MARGIN,
        "Spare room when the number of consumers grows, as a ratio: 0.15 for 15 percent.",
        Number(Range.RAISED, least=0.0),
    )
    monitor_interval: float = option(
        MONITOR_INTERVAL,
        "Time between two measurements of the load while there is work. Below 0.05 it only adds cost.",
        Number(Range.RAISED, least=0.005, unit="seconds"),
    )
    report_interval: float = option(
        REPORT_INTERVAL, "Time between two log lines with the metrics. 0 for none.", Number(unit="seconds")
    )
    avg_load_interval: float = option(
        AVG_LOAD_INTERVAL,
        "Time over which the load is averaged. It also sets the patience of scaling down: 60 is the normal "
        "patience, 6 a tenth of it.",
        Number(Range.RAISED, least=1.0, unit="seconds"),
    )
    metrics_collector_window_size: float = option(
        METRICS_COLLECTOR_WINDOW_SIZE,
        "Time over which rates are computed.",
        Number(Range.LEAST, least=1, unit="seconds"),
    )
    metrics_warmup_interval: float = option(
        METRICS_WARMUP_INTERVAL, "Time after the start during which rates are 0.", Number(unit="seconds")
    )
    event_service_data_window_size: int = option(
        EVENT_SERVICE_DATA_WINDOW_SIZE,
        "Number of events over which times are averaged.",
        Number(Range.LEAST, least=1, whole=True),
    )
    metrics_history_size: int = option(
        METRICS_HISTORY_SIZE,
        "Number of samples that are kept for averages and rates.",
        Number(Range.LEAST, least=1, whole=True),
    )
    queue_type: QueueType = option(QueueType.FIFO, "Order in which events leave the queue.", example="QueueType.FIFO")
    default_priority: float = option(
        DEFAULT_PRIORITY, "Priority of payloads without one, in a PRIORITY queue.", Number(Range.PRIORITY)
    )
    consumer_shutdown_timeout: float = option(
        CONSUMER_SHUTDOWN_TIMEOUT,
        "Time in which a shutdown finishes the accepted events. After it handlers are cancelled, and every event "
        "that is left ends with Error(QueueShutDown). 0 or less for no limit.",
        Number(unit="seconds"),
    )
    logging: bool = option(True, "Write log lines.")
    min_workers: int = option(
        0, "Number of worker processes that are kept when there is nothing to do.", Number(Range.LEAST, whole=True)
    )
    max_workers: int | None = option(
        None,
        "Upper bound of the number of worker processes. None for as many as keep the granted CPUs busy and fit into "
        "the memory, or one per granted CPU if `autoscale` is False.",
        Number(Range.LEAST, least=1, floor="min_workers", whole=True),
    )
    max_threads: int = option(
        64,
        'Upper bound of the number of threads for collectors of mode "thread".',
        Number(Range.LEAST, least=1, whole=True),
    )
    start_method: str | None = option(
        None,
        "How worker processes start. None for the best method of the platform.",
        choices=("forkserver", "spawn", "fork"),
    )
    max_events_per_worker: int | None = option(
        None,
        "Replace a worker process after this many events, to contain leaks. None for no limit. A process that is "
        "replaced, for this or another limit, serves until the new one is ready.",
        Number(Range.LEAST, least=1, whole=True),
    )
    max_worker_age: float | None = option(
        None,
        "Replace a worker process that has served for this time. None for no limit.",
        Number(Range.POSITIVE, unit="seconds"),
    )
    max_worker_memory: int | None = option(
        None,
        "Replace a worker process whose own memory (USS) is larger than this after an event. Checked once a second "
        "at most. None for no limit.",
        Number(Range.LEAST, least=1, unit="bytes", whole=True),
    )
    max_shared_memory: int | None = option(
        None,
        "Upper bound of the memory for large values that is shared with workers; those that do not fit use sockets. "
        "None for an eighth of the granted memory.",
        Number(Range.LEAST, unit="bytes", whole=True),
    )
    worker_startup_timeout: float = option(
        WORKER_STARTUP_TIMEOUT,
        "Time in which a worker process starts and opens its collectors. A slower one is killed.",
        Number(Range.POSITIVE, unit="seconds"),
    )
    max_queue_size: int = option(
        0,
        "Number of events that may wait for a handler or for another attempt. `send()` waits while there are as "
        "many. 0 for no limit.",
        Number(Range.LEAST, whole=True),
    )
    law: ScalingLaw | None = option(None, "Law that sizes the pools. None for the built-in law.", methods=("decide",))
    log: Any = option(None, "A structlog logger. None for a logger of the queue.", methods=("info", "warning"))
    overflow: str = option(
        WAIT,
        "Policy for an event that is sent when `max_queue_size` events wait. "
        '"wait": `send()` waits, and `send_nowait()` raises QueueFull. '
        '"drop_newest": the event ends with EventDropped at once. '
        '"drop_oldest": the event that has waited longest ends with EventDropped; in a PRIORITY queue it is the '
        "oldest of the least urgent ones, which may be the new event. "
        "Events that wait for another attempt are not dropped; if they fill the queue, the new event is.",
        choices=(WAIT, DROP_OLDEST, DROP_NEWEST),
    )
    max_dead_letters: int = option(
        MAX_DEAD_LETTERS,
        "Number of dead letters that are kept. A new one then replaces the oldest.",
        Number(Range.LEAST, whole=True),
    )
    journal: "Journal | str | os.PathLike[str] | None" = option(
        None,
        "A Journal, or the path of its file. It holds accepted events until they are finished, so that they survive "
        "the program: the next start runs unfinished events again, with the same `event.id`.",
    )
    worker_limits: WorkerLimits | None = option(
        None, "Resources that each worker process may use. None for no limits.", example="WorkerLimits(open_files=100)"
    )
    monitor: "Monitor | str | os.PathLike[str] | None" = option(
        None,
        "A Monitor, or the path of its Unix socket: for watching the queue while it runs, open to this user only. None "
        "for no socket.",
    )
    seed: int | None = option(
        None,
        "Seed of the random generators of worker processes, which makes what they draw reproducible: each worker has "
        "streams of its own, by its number. None for another one at each start.",
        Number(Range.UNBOUNDED, whole=True),
    )
    worker_threads: int | None = option(
        None,
        "Threads that numeric libraries may start in each worker process. None for its share of the CPUs that this "
        "machine or container grants, or the number in the environment of the program, such as OMP_NUM_THREADS.",
        Number(Range.LEAST, least=1, whole=True),
    )
    worker_env: Mapping[str, str] | None = option(
        None,
        "Environment variables of worker processes, set before they import anything. They precede `worker_threads`.",
        check=check_variables,
    )
    worker_nice: int = option(
        0,
        "Niceness of worker processes above that of the program: a busy machine prefers other processes.",
        Number(Range.BETWEEN, most=19, whole=True),
        check=check_nice,
    )
    worker_affinity: Sequence[int | Collection[int]] | None = option(
        None,
        "CPUs of each worker process, one item for each worker: a CPU, or a collection of CPUs. With more workers than "
        "items, the items are used again. None for the CPUs of the program.",
        check=check_affinity,
    )
    worker_devices: Sequence[int | str] | None = option(
        None,
        "CUDA devices of each worker process, one item for each worker, in the same way: a number, or an identifier. "
        "Each worker sets CUDA_VISIBLE_DEVICES before it imports its modules. None for the devices of the program.",
        check=check_devices,
    )
    worker_groups: "Mapping[str, Workers] | None" = option(
        None,
        "Worker processes of their own for collectors with `workers=`, by the name of the group. `min_workers` and "
        "`max_workers` are then for the collectors without a group. None for no groups.",
        check=_check_groups,
    )
    polite: bool = option(
        False,
        "Leave CPUs that other programs use to them, down to one. If False, the pool has as many worker processes as "
        "it could use alone, and the system shares the CPUs among all processes.",
    )

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Settings":
        """Return the checked settings from the values of all options by name. Other names are ignored.

        Raises ConfigError, which names the option, if a value is not accepted.
        """
        checked: dict[str, Any] = {}
        for row in OPTIONS:
            floor = checked[row.number.floor] if row.number is not None and row.number.floor else None
            checked[row.name] = row.checked(values[row.name], floor)
        settings = cls(**checked)
        if settings.overflow != WAIT and not settings.max_queue_size:
            raise ConfigError(f"overflow={settings.overflow!r} needs a bound: give max_queue_size= too")
        for one in (settings, *(settings.of_group(name) for name in settings.worker_groups or ())):
            one._refuse_fork()
        if settings.polite and (settings.law is not None or not settings.autoscale):
            other = "law=" if settings.law is not None else "autoscale=False"
            raise ConfigError(f"polite=True is for the built-in law, and {other} sizes the pools without it: drop one")
        return settings

    def bounded(self, *, max_workers: int | None, max_consumers: int | None) -> "Settings":
        """Return these settings with other upper bounds; None for the present one. Raises ConfigError."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if max_workers is not None:
            values["max_workers"] = max_workers
        if max_consumers is not None:
            values["max_consumers"] = max_consumers
        return Settings.of(values)

    def of_group(self, name: str) -> "Settings":
        """Return the settings of one worker group: those of the queue, and what its `Workers` say."""
        if name == DEFAULT_GROUP or self.worker_groups is None:
            return self
        workers = self.worker_groups[name]
        own = {row: getattr(workers, field) for field, row in _OF_WORKERS.items()}
        given = {row: value for row, value in own.items() if value is not None}
        env = {**(self.worker_env or {}), **(workers.env or {})}
        return replace(self, **{**given, "max_workers": workers.max, "worker_env": env or None})

    def _refuse_fork(self) -> None:
        for name in ("worker_threads", "worker_env", "worker_devices"):
            if self.start_method == "fork" and getattr(self, name) is not None:
                raise ConfigError(
                    f"{name} needs another start_method than 'fork': a fork of this program has imported its modules"
                )


OPTIONS: Final[tuple[Option, ...]] = options_of(Settings)
"""The table, in the order of the parameters of CollectorQueue."""


@dataclass(frozen=True, kw_only=True)
class Workers:
    """The worker processes of one group: `CollectorQueue(worker_groups={"gpu": Workers(max=1)})`.

    Collectors with `workers="gpu"` run in them, and no others. `None` leaves an option to the queue.

    Args:
        min: Number of processes that are kept when there is nothing to do. A whole number, at least 0.
        max: Upper bound of the number of processes. None for as many as keep the granted CPUs busy and fit into the
            memory, or one per granted CPU if `autoscale` is False. A whole number, at least 1 and `min`.
        limits: Resources that each process may use, as `worker_limits`.
        env: Environment variables, added to `worker_env`.
        threads: Threads of numeric libraries in each process, as `worker_threads`.
        nice: Niceness above that of the program, as `worker_nice`.
        affinity: CPUs of each process of the group, as `worker_affinity`.
        devices: CUDA devices of each process of the group, as `worker_devices`.
        max_events: Events after which a process is replaced, as `max_events_per_worker`.
        max_age: Seconds after which a process is replaced, as `max_worker_age`.
        max_memory: Bytes of its own memory at which a process is replaced, as `max_worker_memory`.
        startup_timeout: Seconds in which a process has to start, as `worker_startup_timeout`.

    Raises:
        ConfigError: an option does not accept its value.
    """

    min: int = 0
    max: int | None = None
    limits: WorkerLimits | None = None
    env: Mapping[str, str] | None = None
    threads: int | None = None
    nice: int | None = None
    affinity: Sequence[int | Collection[int]] | None = None
    devices: Sequence[int | str] | None = None
    max_events: int | None = None
    max_age: float | None = None
    max_memory: int | None = None
    startup_timeout: float | None = None

    def __post_init__(self) -> None:
        rows = {row.name: row for row in OPTIONS}
        for name, option_name in _OF_WORKERS.items():
            row, value = rows[option_name]._replace(name=f"Workers: {name}"), getattr(self, name)
            if value is not None or name == "min":
                row.checked(value, self.min if name == "max" else None)


_OF_WORKERS: Final = {
    "min": "min_workers",
    "max": "max_workers",
    "limits": "worker_limits",
    "env": "worker_env",
    "threads": "worker_threads",
    "nice": "worker_nice",
    "affinity": "worker_affinity",
    "devices": "worker_devices",
    "max_events": "max_events_per_worker",
    "max_age": "max_worker_age",
    "max_memory": "max_worker_memory",
    "startup_timeout": "worker_startup_timeout",
}
"""The options of `Workers`, and the options of a queue that they stand for."""
