"""CollectorQueue: accepts events and runs their collectors, from the start to a drained shutdown."""

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from event_collector.calls.caller import Caller
from event_collector.control.queue_control import QueueControl
from event_collector.dispatch.recording import Recording
from event_collector.events.dead_letters import DeadLetter, DeadLetters
from event_collector.events.event import DEFAULT_PRIORITY, QueueType
from event_collector.events.gate import WAIT
from event_collector.events.start_reminder import StartReminder
from event_collector.handlers.collector import CollectorList
from event_collector.handlers.router import Router, SimpleRouter
from event_collector.life.assembly import by_key, make_dispatcher, make_meter, make_recorder, make_router
from event_collector.life.engine import Engine
from event_collector.life.logger import make_logger
from event_collector.life.reports import DeadLettered, ReportedMetrics
from event_collector.life.settings import (
    AVG_LOAD_INTERVAL,
    CONSUMER_SHUTDOWN_TIMEOUT,
    DEFAULT_MAX_CONSUMERS,
    DEFAULT_MIN_CONSUMERS,
    EVENT_SERVICE_DATA_WINDOW_SIZE,
    MAX_DEAD_LETTERS,
    METRICS_COLLECTOR_WINDOW_SIZE,
    METRICS_HISTORY_SIZE,
    METRICS_WARMUP_INTERVAL,
    MONITOR_INTERVAL,
    REPORT_INTERVAL,
    WIP_MARGIN,
    WORKER_STARTUP_TIMEOUT,
    Settings,
    Workers,
)
from event_collector.messagebus import Message, MessageBus
from event_collector.publisher import EventPublisher
from event_collector.watching.metrics import Accounting, CollectorMetrics, Load, Metrics
from event_collector.watching.observer import Observer
from event_collector_workers.autoscaler import Change, ScalingLaw
from event_collector_workers.limits import WorkerLimits

if TYPE_CHECKING:
    import asyncio
    import os

    from event_collector.events.recorder import Recorder
    from event_collector.journal.journal_options import Journal
    from event_collector.watching.monitor import Monitor
    from event_collector.watching.snapshot import Snapshot
    from event_collector.watching.viewers import DetailSource

__all__ = [
    "AVG_LOAD_INTERVAL", "CONSUMER_SHUTDOWN_TIMEOUT", "DEFAULT_MAX_CONSUMERS", "DEFAULT_MIN_CONSUMERS",
    "EVENT_SERVICE_DATA_WINDOW_SIZE", "METRICS_COLLECTOR_WINDOW_SIZE", "METRICS_HISTORY_SIZE",
    "METRICS_WARMUP_INTERVAL", "MONITOR_INTERVAL", "REPORT_INTERVAL", "WIP_MARGIN", "CollectorQueue", "DeadLettered",
    "InitializedQueue", "Load", "Metrics", "ReportedMetrics", "ShutDownQueue",
]  # fmt: skip

_numbers = itertools.count(1)


@dataclass
class InitializedQueue(Message):
    """The queue has started."""

    collector_queue: "CollectorQueue"


@dataclass
class ShutDownQueue(Message):
    """The queue has ended; its consumer_count() is 0."""

    collector_queue: "CollectorQueue"


class CollectorQueue(Caller):
    """A queue of events and the consumers that process them.

    Use it as `async with queue:`, or call `init_queue()` and `shut_down_queue()`. A queue can be created outside of
    a running event loop, and it can be started again after its end.

    Args:
        collectors: Collectors of the events, each with a unique key. A function is made one, with its name as the key.
        router: Class that routes payloads to collectors.
        autoscale: Size both pools by need. If False, their sizes are always `max_consumers` and `max_workers`.
        min_consumers: Lower bound of the number of consumers, which is the number of events that may be in handlers at
            once. A whole number, at least 1; lower values are raised.
        max_consumers: Upper bound of the number of consumers. A whole number, at least 1; values below `min_consumers`
            are raised to it.
        wip_margin: Spare room when the number of consumers grows, as a ratio: 0.15 for 15 percent. At least 0; lower
            values are raised.
        monitor_interval: Time between two measurements of the load while there is work. Below 0.05 it only adds cost.
            In seconds, at least 0.005; lower values are raised.
        report_interval: Time between two log lines with the metrics. 0 for none. In seconds.
        avg_load_interval: Time over which the load is averaged. It also sets the patience of scaling down: 60 is the
            normal patience, 6 a tenth of it. In seconds, at least 1; lower values are raised.
        metrics_collector_window_size: Time over which rates are computed. In seconds, at least 1.
        metrics_warmup_interval: Time after the start during which rates are 0. In seconds.
        event_service_data_window_size: Number of events over which times are averaged. A whole number, at least 1.
        metrics_history_size: Number of samples that are kept for averages and rates. A whole number, at least 1.
        queue_type: Order in which events leave the queue.
        default_priority: Priority of payloads without one, in a PRIORITY queue.
        consumer_shutdown_timeout: Time in which a shutdown finishes the accepted events. After it handlers are
            cancelled, and every event that is left ends with Error(QueueShutDown). 0 or less for no limit. In seconds.
        logging: Write log lines.
        min_workers: Number of worker processes that are kept when there is nothing to do. A whole number, at least 0.
        max_workers: Upper bound of the number of worker processes. None for as many as keep the granted CPUs busy and
            fit into the memory, or one per granted CPU if `autoscale` is False. A whole number, at least 1 and
            `min_workers`.
        max_threads: Upper bound of the number of threads for collectors of mode "thread". A whole number, at least 1.
        start_method: How worker processes start. None for the best method of the platform. One of "forkserver",
            "spawn", "fork".
        max_events_per_worker: Replace a worker process after this many events, to contain leaks. None for no limit. A
            process that is replaced, for this or another limit, serves until the new one is ready. A whole number, at
            least 1.
        max_worker_age: Replace a worker process that has served for this time. None for no limit. In seconds, more than
            0.
        max_worker_memory: Replace a worker process whose own memory (USS) is larger than this after an event. Checked
            once a second at most. None for no limit. In bytes, a whole number, at least 1.
        max_shared_memory: Upper bound of the memory for large values that is shared with workers; those that do not fit
            use sockets. None for an eighth of the granted memory. In bytes, a whole number, at least 0.
        worker_startup_timeout: Time in which a worker process starts and opens its collectors. A slower one is killed.
            In seconds, more than 0.
        max_queue_size: Number of events that may wait for a handler or for another attempt. `send()` waits while there
            are as many. 0 for no limit. A whole number, at least 0.
        law: Law that sizes the pools. None for the built-in law.
        log: A structlog logger. None for a logger of the queue.
        overflow: Policy for an event that is sent when `max_queue_size` events wait. "wait": `send()` waits, and
            `send_nowait()` raises QueueFull. "drop_newest": the event ends with EventDropped at once. "drop_oldest":
            the event that has waited longest ends with EventDropped; in a PRIORITY queue it is the oldest of the least
            urgent ones, which may be the new event. Events that wait for another attempt are not dropped; if they fill
            the queue, the new event is. One of "wait", "drop_oldest", "drop_newest".
        max_dead_letters: Number of dead letters that are kept. A new one then replaces the oldest. A whole number, at
            least 0.
        journal: A Journal, or the path of its file. It holds accepted events until they are finished, so that they
            survive the program: the next start runs unfinished events again, with the same `event.id`.
        worker_limits: Resources that each worker process may use. None for no limits.
        monitor: A Monitor, or the path of its Unix socket: for watching the queue while it runs, open to this user
            only. None for no socket.
        seed: Seed of the random generators of worker processes, which makes what they draw reproducible: each worker
            has streams of its own, by its number. None for another one at each start. A whole number, at least 0, of
            any size.
        worker_threads: Threads that numeric libraries may start in each worker process. None for its share of the CPUs
            that this machine or container grants, or the number in the environment of the program, such as
            OMP_NUM_THREADS. A whole number, at least 1.
        worker_env: Environment variables of worker processes, set before they import anything. They precede
            `worker_threads`.
        worker_nice: Niceness of worker processes above that of the program: a busy machine prefers other processes. A
            whole number, 0 to 19.
        worker_affinity: CPUs of each worker process, one item for each worker: a CPU, or a collection of CPUs. With
            more workers than items, the items are used again. None for the CPUs of the program.
        worker_devices: CUDA devices of each worker process, one item for each worker, in the same way: a number, or an
            identifier. Each worker sets CUDA_VISIBLE_DEVICES before it imports its modules. None for the devices of the
            program.
        worker_groups: Worker processes of their own for collectors with `workers=`, by the name of the group.
            `min_workers` and `max_workers` are then for the collectors without a group. None for no groups.
        polite: Leave CPUs that other programs use to them, down to one. If False, the pool has as many worker processes
            as it could use alone, and the system shares the CPUs among all processes.

    Raises:
        ConfigError: an option does not accept a value, two collectors have the same key, a worker group is missing or
            has no collector, or the router is not a Router.
    """

    def __init__(
        self,
        collectors: CollectorList,
        router: type[Router] = SimpleRouter,
        autoscale: bool = True,
        min_consumers: int = DEFAULT_MIN_CONSUMERS,
        max_consumers: int = DEFAULT_MAX_CONSUMERS,
        wip_margin: float = WIP_MARGIN,
        monitor_interval: float = MONITOR_INTERVAL,
        report_interval: float = REPORT_INTERVAL,
        avg_load_interval: float = AVG_LOAD_INTERVAL,
        metrics_collector_window_size: float = METRICS_COLLECTOR_WINDOW_SIZE,
        metrics_warmup_interval: float = METRICS_WARMUP_INTERVAL,
        event_service_data_window_size: int = EVENT_SERVICE_DATA_WINDOW_SIZE,
        metrics_history_size: int = METRICS_HISTORY_SIZE,
        queue_type: QueueType = QueueType.FIFO,
        default_priority: float = DEFAULT_PRIORITY,
        consumer_shutdown_timeout: float = CONSUMER_SHUTDOWN_TIMEOUT,
        logging: bool = True,
        *,
        min_workers: int = 0,
        max_workers: int | None = None,
        max_threads: int = 64,
        start_method: str | None = None,
        max_events_per_worker: int | None = None,
        max_worker_age: float | None = None,
        max_worker_memory: int | None = None,
        max_shared_memory: int | None = None,
        worker_startup_timeout: float = WORKER_STARTUP_TIMEOUT,
        max_queue_size: int = 0,
        law: ScalingLaw | None = None,
        log: Any = None,
        overflow: str = WAIT,
        max_dead_letters: int = MAX_DEAD_LETTERS,
        journal: "Journal | str | os.PathLike[str] | None" = None,
        worker_limits: WorkerLimits | None = None,
        monitor: "Monitor | str | os.PathLike[str] | None" = None,
        seed: int | None = None,
        worker_threads: int | None = None,
        worker_env: Mapping[str, str] | None = None,
        worker_nice: int = 0,
        worker_affinity: Sequence[int | Collection[int]] | None = None,
        worker_devices: Sequence[int | str] | None = None,
        worker_groups: "Mapping[str, Workers] | None" = None,
        polite: bool = False,
    ) -> None:
        settings = Settings.of(locals())  # must come first: the locals are the parameters, one per option
        self.id = f"CollectorQueue-{next(_numbers)}"
        self.collectors, self.autoscale = by_key(collectors, settings.worker_groups), settings.autoscale
        self.min_consumers = settings.min_consumers
        self.queue_type, self.default_priority = settings.queue_type, settings.default_priority
        self._log, self._meter = make_logger(self.id, log, enabled=logging), make_meter(settings)
        self.dead_letters = DeadLetters(
            settings.max_dead_letters,
            send=lambda letter: self._publisher.resend(letter),  # noqa: PLW0108 - it is made later
            on_added=self._report_dead_letter,
            log=self._log,
        )
        self._dispatcher = make_dispatcher(settings, self._meter, self.dead_letters, self.collectors)
        self._reminder, self._publisher = StartReminder(self._log), EventPublisher(self._dispatcher)
        self._dispatcher.remind(self._reminder)
        self._bus, recorder = MessageBus(log=self._log), make_recorder(journal, self.collectors, self._log)
        super().__init__(
            self._publisher, self.collectors, lambda: self._engine.loop, lambda: self.max_consumers,
            self._dispatcher.chunks,
        )  # fmt: skip
        if recorder is not None:
            recorder.enter_by(self._attach_recorder(recorder))
        self._engine = Engine(
            self._dispatcher, self._meter, settings, collectors=self.collectors,
            router=make_router(router, self.collectors, self._log),
            journal=recorder, letters=self.dead_letters, law=law, log=self._log,
            on_started=lambda: self._bus.dispatch(InitializedQueue(self)),
            on_ended=lambda: self._bus.dispatch(ShutDownQueue(self)),
            on_report=lambda metrics: self._bus.dispatch(ReportedMetrics(metrics)),
        )  # fmt: skip
        self.feeds = self._engine.feeds
        """The feeds that snapshots tell of."""
        self._observer = self.make_observer()
        self.control = QueueControl(self._engine, self._log)
        self.monitor: Monitor | None = None
        if monitor is not None:
            from event_collector.control.sockets import make_sockets
            from event_collector.watching.monitor import as_monitor

            self.monitor = as_monitor(monitor)
            parts = (self.id, self._engine, self.control, self.dead_letters, self.make_observer(), self._log)
            self._engine.serve(make_sockets(self.monitor, *parts))

    def _attach_recorder(self, recorder: "Recorder") -> Recording:
        recording = Recording(self._dispatcher, recorder)
        self._publisher.enter_by(recording)
        return recording

    async def init_queue(self) -> None:
        """Enter the lifecycles of the collectors, start workers, and process events, earlier sent ones first.

        No-op if the queue is running. Concurrent callers share one start. If the start fails or is cancelled, it is
        undone before the error is raised. Errors of lifecycles are raised unchanged.

        Raises:
            ConfigError: a worker process cannot load a handler, or an executor cannot be used.
            WorkerStartError: a worker process could not start, or could not open its collectors.
            JournalError: the journal cannot be used.
            MonitorError: the socket of `monitor=` cannot be created, or another program uses it.
        """
        self._reminder.note_start()
        await self._engine.start()

    async def shut_down_queue(self) -> None:
        """Accept no more events, finish the accepted ones, then end workers and leave lifecycles in reverse order.

        No-op if the queue is not running. Concurrent callers share one shutdown. After `consumer_shutdown_timeout`
        seconds, or on cancellation, handlers are cancelled, and unfinished events end with Error(QueueShutDown).
        Everything is closed before this returns or raises CancelledError. A call in a handler starts the shutdown and
        returns at once, since the shutdown waits for that handler.

        Raises:
            Exception: the error at the end of a lifecycle; an ExceptionGroup if there are several.
        """
        await self._engine.stop()

    async def __aenter__(self) -> "CollectorQueue":
        await self.init_queue()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.shut_down_queue()

    def pause(self, collector: str | None = None) -> bool:
        """Begin no more events, of one collector or of all; see `QueueControl.pause()`, which has more actions."""
        return self.control.pause(collector)

    def resume(self, collector: str | None = None) -> bool:
        """End a pause; see `QueueControl.resume()`."""
        return self.control.resume(collector)

    def get_publisher(self) -> EventPublisher:
        """Return the publisher of this queue, always the same object."""
        return self._publisher

    def get_message_bus(self) -> MessageBus:
        """Return the message bus of this queue, always the same object."""
        return self._bus

    def get_metrics(self) -> Metrics:
        """Return the current metrics; after the shutdown, the last ones."""
        return self._engine.metrics()

    def collector_metrics(self) -> dict[str, CollectorMetrics]:
        """Return the metrics of each collector by key: event counts and percentiles of times.

        It sorts up to `event_service_data_window_size` times per collector.
        """
        return self._engine.collector_metrics()

    def snapshot(self) -> "Snapshot":
        """Return the data of `event-collector top`: the queue, its collectors and workers, and the last decisions.

        Rates refer to the time since the previous call: None at the first, and after more than 10 s. Call this in the
        thread of the event loop. It costs as much as `collector_metrics()`, and reads each worker process.
        """
        return self._observer.look()

    def make_observer(self) -> Observer:
        """Return a new source of snapshots. Its rates refer to its own previous look."""
        return Observer(self.id, self._dispatcher.figures, self._engine)

    def make_inspector(self) -> "DetailSource":
        """Return a source of details, for a queue without `monitor=`; one at a time can be in use."""
        from event_collector.life.monitoring import make_inspector

        return make_inspector(self._engine)

    @property
    def max_consumers(self) -> int:
        """Upper bound of the number of consumers, which `control.resize()` may change."""
        return self._engine.regulation.settings.max_consumers

    @property
    def is_running(self) -> bool:
        """Whether the queue has started and has not ended."""
        return self._engine.running

    @property
    def loop(self) -> "asyncio.AbstractEventLoop | None":
        """The current or last event loop of the queue; None before the first start."""
        return self._engine.loop

    def consumer_count(self) -> int:
        """Return the current number of consumers; 0 while the queue is not running."""
        return self._dispatcher.figures.size if self._engine.running else 0

    def current_load(self) -> Load:
        """Return the current numbers of queued events, of busy consumers, and of all consumers."""
        return Load(self._dispatcher.figures.qsize, self._dispatcher.permits.busy, self.consumer_count())

    def room(self) -> float:
        """Return how many events `send()` would accept now without waiting; infinite without a bound.

        Raises:
            QueueShutDown: the shutdown of the queue has begun.
        """
        return self._dispatcher.gate.room()

    def accounting(self) -> Accounting:
        """Return the numbers of events: accepted = finished + in_handlers + queued + scheduled + dead."""
        return self._dispatcher.figures.accounting()

    @property
    def dropped(self) -> int:
        """Number of events that `overflow` has dropped."""
        return self._dispatcher.totals.dropped

    def _report_dead_letter(self, letter: DeadLetter) -> None:
        self._log.warning(
            "an event has failed for good",
            event_id=letter.id, collector=letter.collector, attempts=letter.attempts, reason=letter.reason,
        )  # fmt: skip
        if self._bus.msg_handlers.get(DeadLettered):
            self._engine.reports.send(self._bus.dispatch(DeadLettered(letter)))

    def changes(self) -> list[Change]:
        """Return the last changes of the pools' sizes and moves of adaptive collectors, oldest first.

        The subject of a move is the key of the collector. Tier COROUTINE means this process, including its threads.
        """
        return list(self._engine.changes)

    def __repr__(self) -> str:
        state = "running" if self._engine.running else "not running"
        return f"<{self.id} {state} collectors={list(self.collectors)} {self.accounting()}>"
