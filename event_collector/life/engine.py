"""The engine: starts the parts of a queue in order, and ends them in reverse order.

A single task, the *keeper*, does both, so that the task that entered a lifecycle also leaves it:

    starting   journal -> lifecycles entered -> threads, executors, workers -> dispatcher -> control loop
    running
    draining   no event is accepted; accepted events are finished, or given up when the time is over
    closing    control loop -> consumers -> workers, threads -> lifecycles, the last entered first -> journal
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from event_collector.dispatch.dispatcher import Dispatcher
from event_collector.events.dead_letters import DeadLetters
from event_collector.events.failures import Failures
from event_collector.handlers.collector import Collector
from event_collector.handlers.lifecycle import Lifecycles, raise_all
from event_collector.handlers.router import Router, is_handler_task
from event_collector.inspection.queue_parts import QueueParts
from event_collector.life.open_tiers import Tiers, insist, is_here
from event_collector.life.pauses import Pauses
from event_collector.life.regulation import Regulation
from event_collector.life.reports import CANCEL_GRACE, Reports
from event_collector.life.settings import Settings
from event_collector.tiers.workers.sealing import seal_adaptive
from event_collector.values.clock import clock
from event_collector.values.errors import EventCollectorException
from event_collector.values.refusals import QueueShutDown
from event_collector.watching.collector_times import PercentileMemo, collector_metrics, keep_times
from event_collector.watching.feeds import FeedBoard
from event_collector.watching.histograms import Histograms
from event_collector.watching.metrics import NOTHING, Accounting, CollectorMetrics, Meter, Metrics
from event_collector_workers.autoscaler import Change, ScalingLaw
from event_collector_workers.statistics import PoolStatistics

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Iterator

    from event_collector.events.event import CollectorEvent
    from event_collector.handlers.progress_reports import RunningProgress
    from event_collector.journal.journal_recorder import JournalRecorder
    from event_collector.watching.details import SizeDecision
    from event_collector.watching.monitor_socket import MonitorSocket
    from event_collector.watching.snapshot import JournalSnapshot

STOPPED: Final = "stopped"
STARTING: Final = "starting"
RUNNING: Final = "running"
DRAINING: Final = "draining"

_KEEPERS: set["asyncio.Task[None]"] = set()
"""Running keepers. Event loops hold only weak references to tasks: the keeper of a queue without another reference
would be destroyed, and its lifecycles with it."""

PAUSED: Final = "the queue was shut down during a pause: the event is on record, and runs at the next start"


class Engine:
    """The running parts of a queue.

    `on_started` is awaited at the end of the start, `on_ended` at the end of the shutdown, and `on_report` with each
    report of the metrics.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        meter: Meter,
        settings: Settings,
        *,
        collectors: Mapping[str, Collector],
        router: Router,
        journal: "JournalRecorder | None",
        letters: DeadLetters,
        law: ScalingLaw | None,
        log: Any,
        on_started: Callable[[], Awaitable[None]],
        on_ended: Callable[[], Awaitable[None]],
        on_report: Callable[[Metrics], Coroutine[Any, Any, None]],
    ) -> None:
        self._dispatcher, self._meter = dispatcher, meter
        self.collectors, self._router = collectors, router
        self._journal, self._letters = journal, letters
        self._log = log
        self._on_started, self._on_ended = on_started, on_ended
        self._keeper: asyncio.Task[None] | None = None
        self._started: asyncio.Future[None] | None = None
        self._starters, self._hurried = 0, False
        self._is_drained = False  # the shutdown has begun without a caller who waits for it
        self._stop_asked = asyncio.Event()
        self._deadline: asyncio.Timeout | None = None
        self.regulation = Regulation(dispatcher, meter, settings, law, collectors, log)
        self.pauses = Pauses(dispatcher, router, collectors, log)
        self._tiers = Tiers(settings, dispatcher, self.pauses.redirect, log)
        self.reports = Reports(settings.report_interval, self.metrics, on_report, log)
        self._errors: list[Exception] = []
        self.failures, self.feeds = Failures(log), FeedBoard()
        dispatcher.ending.watch_failures(self.failures)
        self._socket: MonitorSocket | None = None
        self._last, self.running, self.state = NOTHING, False, STOPPED
        self.loop: asyncio.AbstractEventLoop | None = None
        """The current or last event loop."""

    # For the queue

    def serve(self, socket: "MonitorSocket") -> None:
        """Serve snapshots at a socket while the queue runs."""
        self._socket = socket

    async def start(self) -> None:
        """Start, or wait for a start in progress; see CollectorQueue.init_queue()."""
        caller = asyncio.current_task()
        while self._keeper is not None and self._stop_asked.is_set():
            if self._is_waited_for(caller):
                raise QueueShutDown("the queue has not ended yet: its shutdown waits for the caller of init_queue()")
            await asyncio.wait([self._keeper])
        if self._keeper is None:
            self._launch()
        elif not self.running and self._is_waited_for(caller):
            raise EventCollectorException("the start of the queue waits for the caller of init_queue()")
        if self._started is None or (self.running and (self._started.done() or self._is_waited_for(caller))):
            return
        self._starters += 1
        try:
            await asyncio.shield(self._started)
        except asyncio.CancelledError:
            if self._starters == 1 and self._keeper is not None:  # no other caller waits for it
                self._stop_asked.set()  # from now on, callers wait for the end and start again
                self._keeper.cancel()
                await self._see_end(self._keeper)
            raise
        finally:
            self._starters -= 1

    async def stop(self) -> None:
        """End, or wait for a shutdown in progress; see CollectorQueue.shut_down_queue()."""
        keeper = self._keeper
        first, self._is_drained = self._is_drained or not self._stop_asked.is_set(), False
        if keeper is not None:
            self._stop_asked.set()
            if self._is_waited_for(asyncio.current_task()):
                return
            await self._see_end(keeper)
        if first and (errors := self._take_errors()):
            raise_all("errors at the end of lifecycles", errors)

    def drain(self) -> bool:
        """Begin the shutdown, and return at once; `stop()` raises its errors. Return False if it cannot begin."""
        if self._keeper is None or self._stop_asked.is_set():
            return False
        self._stop_asked.set()
        self._is_drained = True
        return True

    def metrics(self) -> Metrics:
        """Return the current metrics, or those at the end."""
        if not self.running or not self.regulation.is_open:
            return self._last
        return self.regulation.metrics(self._dispatcher.figures.counts())

    @property
    def changes(self) -> "deque[Change]":
        """The last decisions about sizes and places, oldest first."""
        return self.regulation.changes

    def collector_metrics(self, memo: PercentileMemo | None = None) -> dict[str, CollectorMetrics]:
        """Return the current metrics of each collector, or those at the end."""
        return collector_metrics(self.collectors, self._dispatcher.figures, self._meter, memo)

    @property
    def histograms(self) -> Histograms | None:
        """The histograms of the collectors; None if none are kept."""
        return self.regulation.histograms

    def keep_histograms(self) -> None:
        """Keep histograms from now on."""
        self.regulation.keep_histograms()

    def worker_statistics(self) -> dict[str, PoolStatistics]:
        """Return the statistics of each group of worker processes, by its name."""
        return self._tiers.workers.statistics()

    def progress(self) -> "list[RunningProgress]":
        """Return what the handlers that run now have reported."""
        handlers = self._dispatcher.handlers
        return ([] if handlers is None else handlers.progress()) + self._tiers.workers.progress()

    def events(self) -> "Iterator[CollectorEvent]":
        """Iterate over the events that have no results yet, but not over values of streams that travel in chunks."""
        dispatcher = self._dispatcher
        yield from dispatcher.backlogs.events()
        yield from dispatcher.retries.events()
        yield from () if dispatcher.handlers is None else dispatcher.handlers.events()
        yield from self._tiers.workers.events()

    @property
    def paused(self) -> tuple[bool, tuple[str, ...]]:
        """Whether the queue as a whole is paused, and the keys of the collectors that are."""
        return self.pauses.is_whole, self.pauses.collectors

    def accounting(self) -> Accounting:
        """Return where all events are."""
        return self._dispatcher.figures.accounting()

    def replace_worker(self, worker: int, *, dry_run: bool = False) -> int:
        """Replace a worker process without a gap, named by its process id or its number; return its process id."""
        return self._tiers.workers.replace(worker, dry_run=dry_run)

    def parts(self) -> QueueParts:
        """Return what an inspector looks at."""
        groups, loop = self._tiers.workers.groups, self.regulation.loop
        return QueueParts(self._dispatcher, self.collectors, self._letters, groups, loop)

    def journal(self) -> "JournalSnapshot | None":
        """Return what is known of the journal; None without one."""
        return None if self._journal is None else self._journal.look()

    @property
    def decisions(self) -> "deque[SizeDecision]":
        """The last changes of size, each with its time and the numbers."""
        return self.regulation.decisions

    def worker_stacks(self, pid: int | None) -> list[tuple[int, str, str]]:
        """Return process id, subject and stack of one worker, or of all. Blocks: call it in another thread."""
        return self._tiers.workers.stacks(pid)

    def problems(self) -> dict[str, str]:
        """Return what keeps groups of worker processes from working, by their names."""
        return self._tiers.workers.problems()

    def __repr__(self) -> str:
        return f"<Engine {self.state}, {self._dispatcher!r}, {self._tiers!r}>"

    async def _see_end(self, keeper: "asyncio.Task[None]") -> None:
        """Wait for the end of the shutdown. Cancellation hurries the shutdown, and is raised at its end."""
        cancelled: asyncio.CancelledError | None = None
        while not keeper.done():
            try:
                await asyncio.wait([keeper])
            except asyncio.CancelledError as exc:
                cancelled = exc
                self._hurry()
        if cancelled is not None:
            raise cancelled

    def _hurry(self) -> None:
        self._hurried = True
        if self._deadline is not None and not self._deadline.expired():
            self._deadline.reschedule(asyncio.get_running_loop().time())

    def _is_waited_for(self, task: "asyncio.Task[Any] | None") -> bool:
        """Return whether the start or the shutdown waits for this task. The task must not wait for them."""
        if task is None:
            return False
        handlers = self._dispatcher.handlers
        in_tier = handlers is not None and handlers.event_of(task) is not None
        in_tier = in_tier or self._tiers.has(task) or is_handler_task(task, self._router)
        return in_tier or task is self._keeper or task in self.reports

    def _take_errors(self) -> list[Exception]:
        errors, self._errors = self._errors, []
        return errors

    # The keeper

    def _launch(self) -> None:
        self._hurried = False
        self._stop_asked = asyncio.Event()
        self.loop = loop = asyncio.get_running_loop()
        self._started = loop.create_future()
        # Not asyncio.create_task(): an eager task factory would run the keeper before `_keeper` is set.
        self._keeper = asyncio.Task(self._keep(self._started, self._stop_asked), loop=loop, name="queue keeper")
        _KEEPERS.add(self._keeper)
        self._keeper.add_done_callback(_KEEPERS.discard)

    async def _keep(self, started: "asyncio.Future[None]", stop_asked: asyncio.Event) -> None:
        try:
            await self._open()
            await self._on_started()
        except BaseException as exc:
            self._hurried = True
            try:
                await self._end()
            finally:
                self._keeper = None
            if isinstance(exc, asyncio.CancelledError):
                started.cancel()
            else:
                message = "the start failed, and so did undoing it"
                errors = self._take_errors()
                started.set_exception(BaseExceptionGroup(message, [exc, *errors]) if errors else exc)
                started.exception()  # avoids a log line of asyncio if the callers are gone
            return
        started.set_result(None)
        try:
            await stop_asked.wait()
        except asyncio.CancelledError:  # the event loop ends before the queue
            self._hurried = True
            stop_asked.set()
        try:
            await self._end()
            await self._on_ended()
        finally:
            self._keeper = None

    async def _open(self) -> None:
        everyone = list(self.collectors.values())
        self._errors = []
        self._lifecycles = Lifecycles()
        settings = self.regulation.settings
        self._tiers = tiers = Tiers(settings, self._dispatcher, self.pauses.redirect, self._log)
        seal_adaptive(everyone)
        self.state = STARTING
        if self._socket is not None:
            self._socket.open()
        recovered = None if self._journal is None else await self._journal.open()
        for collector in everyone:
            if collector.lifecycle is not None and is_here(collector):
                await self._lifecycles.enter(collector.lifecycle, collector.ctx)
        await tiers.open(everyone)
        self._dispatcher.totals.keep_waits(keep_times(everyone, settings.event_service_data_window_size))
        self._dispatcher.totals.forget_times()
        control = self.regulation.open(everyone, tiers)
        loop = asyncio.get_running_loop()
        self._dispatcher.open(loop, self.pauses.open(), tiers.workers.groups, control.wake)
        self.pauses.redirect()
        self.running, self.state = True, RUNNING
        if self._journal is not None and recovered is not None:
            self._journal.restore(recovered, self._letters)
        self.reports.start(loop)

    # The end

    async def _end(self) -> None:
        """Drain and close. Cancellation only hurries it."""
        with clock.source.ending():
            began = clock.now()
            self.state = DRAINING
            self._dispatcher.refuse(QueueShutDown("the queue is shut down: it takes no more events"))
            # What is on record, its operator may want to run later, at the next start. The rest would be lost.
            self.pauses.close(None if self._journal is None else QueueShutDown(PAUSED))
            self._tiers.hurry()
            if self.running and not await self._drain():
                await self._give_up()
            bound = self.regulation.settings.consumer_shutdown_timeout
            await self._close(None if bound <= 0 else max(CANCEL_GRACE, bound - (clock.now() - began)))

    async def _drain(self) -> bool:
        """Wait for all events, up to the timeout of the shutdown; return whether they are finished."""
        bound = self.regulation.settings.consumer_shutdown_timeout
        try:
            async with asyncio.timeout(bound if bound > 0 else None) as self._deadline:
                if self._hurried:
                    self._hurry()
                await self._dispatcher.totals.join()
        except (TimeoutError, asyncio.CancelledError):
            return False
        finally:
            self._deadline = None
        return True

    async def _give_up(self) -> None:
        error = QueueShutDown("the queue was shut down before this event was finished")
        self._log.warning("events given up", unfinished=self._dispatcher.totals.unfinished)
        self._dispatcher.give_up(error)
        await insist(self._tiers.workers.abort)
        try:
            async with asyncio.timeout(CANCEL_GRACE):
                await self._dispatcher.totals.join()
        except (TimeoutError, asyncio.CancelledError):
            self._log.warning("handlers ignore their cancellation", handlers=self._dispatcher.permits.busy)
            self._dispatcher.abandon(error)

    async def _close(self, timeout: float | None) -> None:
        self.reports.stop()
        self.regulation.stop()
        if self.running:
            self._dispatcher.close()
        await self._tiers.close(timeout)
        self.failures.finish()
        try:
            self._errors += await self._lifecycles.leave()
            await insist(partial(self.reports.finish, timeout))
        finally:
            if self._journal is not None:
                await insist(self._journal.close)
            if self.running and self.regulation.is_open:
                counts = self._dispatcher.figures.counts()._replace(consumers=0)
                self._last = self.regulation.metrics(counts)
            self.regulation.close()
            self.running, self.state = False, STOPPED
            if self._socket is not None:
                self._socket.close()
