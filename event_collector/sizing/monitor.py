"""The monitor: measures a running queue, asks the control law how large its pools should be, and sees to it.

It runs only while there is something to do. An idle queue at its minimum has no timer at all.
"""

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from time import process_time, thread_time
from types import FrameType
from typing import Any, Protocol

from event_collector.dispatch.dispatcher import Dispatcher
from event_collector.handlers.collector import PROCESS, Collector
from event_collector.sizing.handler_time import TimeAccounts
from event_collector.sizing.loop_share import LoopShares
from event_collector.sizing.watchdog import Watchdog
from event_collector.tiers.adaptive import AdaptiveTier
from event_collector.tiers.workers.worker_reading import WorkerReading
from event_collector.values.clock import clock
from event_collector.watching.metrics import Counts, Meter
from event_collector_workers.autoscaler import Change, CollectorReading, Plan, Readings, ScalingLaw, Tier, TierReading
from event_collector_workers.machine import Machine

HISTORY = 50
"""How many of the last changes of size are kept for whoever asks."""


MOST_OF_THE_LOOP = 0.02
"""Share of the event loop that looking may take: where a look is dear, looks are fewer."""

COST_SMOOTHING = 0.1
"""Weight of the newest look in what a look costs."""

FAILED_INTERVAL = 1.0
"""Seconds until the next look after one that failed."""

LAG_MEMORY = 0.15
"""Seconds over which the lateness of the loop is averaged. Longer takes waiting for the loop for waiting for others."""

TURNS = 3
"""Turns of the loop measured after a look: an event may take as many from its sender to its handler and back."""

TIMER_GRAIN = 0.002
"""Seconds that a timer may be late on a loop with nothing to do: event loops round to milliseconds."""


class WorkerGauge(Protocol):
    """What the monitor needs of the worker processes."""

    @property
    def room(self) -> int:
        """How many more events the workers can take now."""

    @property
    def size(self) -> int:
        """How many workers are ready."""

    def gauge(self) -> WorkerReading:
        """Return the figures of this instant."""

    def resize(self, workers: int) -> None:
        """Set the number of workers, without waiting for it."""


class ExecutorGauge(Protocol):
    """What the monitor needs of executors that belong to the application."""

    def bounds(self, collector: Collector) -> bool:
        """Return whether the executor says how many events of this collector it can use."""

    @property
    def room(self) -> int:
        """How many more events the executors can use now."""


NO_WORKERS = WorkerReading(0, 0, 0, 0, 0.0, 0.0, None, None)


class Monitor:
    """Watches one queue.

    Args:
        dispatcher: what is measured and sized.
        meter: keeps the windows of the metrics.
        law: decides the sizes.
        collectors: whose use of time the law is told.
        interval: seconds between two looks while there is something to do, more than 0; longer where looking would
            take too much of the loop.
        changes: gets each change of size, with its reason.
        log: gets a line for each.
        adaptive: moves adaptive collectors; None when there are none.
        executors: run collectors whose mode is an executor; None when there are none. What these can use is theirs
            to say, so the law is not asked.

    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        meter: Meter,
        law: ScalingLaw,
        collectors: Sequence[Collector],
        interval: float,
        changes: deque[Change],
        log: Any,
        adaptive: AdaptiveTier | None = None,
        executors: ExecutorGauge | None = None,
    ) -> None:
        self._dispatcher, self._figures = dispatcher, dispatcher.figures
        self._meter, self._law = meter, law
        self._adaptive, self._executors = adaptive, executors
        self._collectors = collectors
        self._interval = interval
        self._log = log
        self._machine = Machine(own_cpu=self._own_cpu)
        self._workers_cpu = 0.0
        self._workers: WorkerGauge | None = None
        self._workers_wanted = -1
        self._worker_needed = False
        self._remote = 0  # events in workers, at the last look
        self._elsewhere = 0  # events that executors have, and have room for, while they have any
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due = self._looked = 0.0
        self._lag = self._turn = 0.0
        self._ended = 0  # attempts that had ended at the last look
        self._cost = 0.0  # seconds of CPU time that a look takes
        self._shares = LoopShares(log)
        self._changes = changes
        self.plan: Plan | None = None
        """What the law said last."""

    def start(self, loop: asyncio.AbstractEventLoop, workers: WorkerGauge | None) -> None:
        """Begin to watch; `workers` is None where no collector needs any."""
        self._loop, self._workers = loop, workers
        self._watchdog = Watchdog(self._key_in, self._log)
        self._accounts = TimeAccounts(self._collectors, self._adaptive)
        self._looked = clock.now()
        self._schedule(self._interval)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._loop is not None:
            self._watchdog.stop()
            self._accounts.stop()
        self._loop = self._timer = None

    def wake(self) -> None:
        """There is activity after a rest. What was measured before the rest holds until now."""
        if self._loop is not None:
            self._meter.sample(clock.now(), self.counts())
            self._watchdog.watch()
            self._schedule(self._interval)

    def counts(self) -> Counts:
        """Return the counters of this instant."""
        return self._figures.counts()

    def sizes(self) -> tuple[int, int, int]:
        """Return how many consumers the law wants, how many workers are ready, and how many of these it wants."""
        consumers = self._figures.size if self.plan is None else self.plan.consumers
        if self._workers is None:
            return consumers, 0, 0
        wanted = self._workers.size if self.plan is None else self._workers_wanted
        return consumers, self._workers.size, wanted

    @property
    def _pause(self) -> float:
        """Seconds until the next look."""
        return max(self._interval, self._cost / MOST_OF_THE_LOOP)

    def _schedule(self, delay: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._loop is not None:
            self._due = clock.now() + delay
            self._timer = self._loop.call_later(delay, self._look)

    def _look(self) -> None:
        begun = thread_time()
        self._look_now(clock.now())
        self._cost += COST_SMOOTHING * (thread_time() - begun - self._cost)

    def _look_now(self, now: float) -> None:
        self._timer = None
        late, self._turn = max(now - self._due - TIMER_GRAIN, self._turn), 0.0
        # By time, not by looks: a loop that is held up has few of them.
        self._lag += -math.expm1((self._looked - now) / LAG_MEMORY) * (max(0.0, late) - self._lag)
        ended, self._ended = self._ended, self._figures.attempts
        if self._loop is not None and (self._figures.active or self._ended != ended):  # else the loop may sleep
            self._loop.call_soon(self._measure_turn, now)
        self._meter.sample(now, self.counts())
        plan, failure = None, None
        try:
            plan = self._law.decide(self._read(now))
            self._act(plan)
        except Exception as exc:  # a law of the application's own must not end all looking
            plan, failure = None, exc
        self._go_on(now, plan)
        # After the next look is certain: logging is the application's own, too.
        self._watchdog.beat()
        if failure is not None:
            self._log.error("the pools could not be resized", exc_info=failure)

    def _go_on(self, now: float, plan: Plan | None) -> None:
        """Look again when that is worthwhile; `plan` is None after a look that failed."""
        if plan is None or self._figures.active:
            self._schedule(self._pause if plan is not None else FAILED_INTERVAL)
        elif plan.next_check is not None:
            self._schedule(max(self._pause, plan.next_check - now))
            self._rest(plan.next_check - now > self._pause)
        else:
            self._rest(True)

    def _measure_turn(self, began: float, turns: int = TURNS) -> None:
        """Note how long what is ready waits for its turn; uvloop's timers, by a clock of its own, do not tell."""
        now = clock.now()
        self._turn = max(self._turn, now - began)
        if turns > 1 and self._loop is not None:
            self._loop.call_soon(self._measure_turn, now, turns - 1)

    def _rest(self, idle: bool) -> None:
        self._dispatcher.rest(idle)
        if idle:
            self._watchdog.rest()

    def _act(self, plan: Plan) -> None:
        dispatcher, workers = self._dispatcher, self._workers
        self.plan = plan
        if self._adaptive is not None:
            self._changes.extend(self._adaptive.follow(plan))
        # Events in workers, and those that these have room for, take consumers that the law does not count.
        remote = 0 if workers is None else self._remote + max(0, workers.room)
        most = plan.consumer_ceiling + remote + self._elsewhere
        dispatcher.permits.raise_ceiling(most)
        wanted = max(plan.consumers + self._remote + self._elsewhere, dispatcher.permits.busy)
        if wanted != dispatcher.permits.size:
            dispatcher.resize(wanted)
        # Events that need a worker keep one, whatever the law thinks of so little work.
        wanted = max(plan.workers, 1 if self._worker_needed else 0)
        if workers is not None and wanted != self._workers_wanted:
            self._workers_wanted = wanted
            workers.resize(wanted)
        for change in plan.changes:
            if isinstance(change.after, Tier):
                continue  # moved, and told, above
            self._changes.append(change)
            self._log.debug(
                "resized",
                subject=change.subject,
                before=str(change.before),
                after=str(change.after),
                reason=change.reason,
            )

    def _read(self, now: float) -> Readings:
        figures = self._figures
        workers = NO_WORKERS if self._workers is None else self._workers.gauge()
        self._workers_cpu = max(self._workers_cpu, workers.cpu_in_all)
        self._worker_needed = workers.outstanding > 0 or figures.remote_queued > 0
        alone = len(self._collectors) == 1 and not self._collectors[0].is_batched
        if alone:  # all events are its own, and counted already
            self._collectors[0].usage.set_totals(figures.attempts, figures.service_total)
        elapsed, self._looked = now - self._looked, now
        self._accounts.look(elapsed, self._lag, workers.cpu, workers.delay)
        self._shares.look(elapsed, self._accounts.by_key.values())
        busy = self._dispatcher.permits.take_peak()
        sized = [collector for collector in self._collectors if not self._has_a_size_of_its_own(collector)]
        collectors = tuple(self._reading(collector) for collector in sized)
        self._remote = sum(int(r.running or 0) for r in collectors if r.tier is Tier.PROCESS)
        outside = sum(c.usage.running for c in self._collectors if c not in sized)
        # Batches come and go: to follow each with the number of consumers would make and end these all the time.
        self._elsewhere = outside + self._executors.room if outside and self._executors is not None else 0
        return Readings(
            now=now,
            collectors=collectors,
            consumers=TierReading(size=figures.size, busy=max(0, busy - self._remote - outside)),
            workers=TierReading(size=workers.size, busy=workers.busy, starting=workers.starting),
            machine=self._machine.read(now),
            loop_busy=self._accounts.loop_busy,
            worker_startup=workers.startup,
            worker_memory=workers.memory,
            unrouted=0 if len(self._collectors) == 1 else figures.qsize,
            draining=self._dispatcher.gate.refusal is not None,
        )

    def _has_a_size_of_its_own(self, collector: Collector) -> bool:
        return self._executors is not None and self._executors.bounds(collector)

    def _key_in(self, frame: FrameType | None) -> str | None:
        handlers = self._dispatcher.handlers
        return None if handlers is None else handlers.key_in(frame)

    def _own_cpu(self) -> float:
        """Return the CPU time of this process and its workers: to walk all processes would hold up the loop."""
        return process_time() + self._workers_cpu

    def _reading(self, collector: Collector) -> CollectorReading:
        usage, alone = collector.usage, len(self._collectors) == 1
        account = self._accounts.by_key[collector.key]
        running = self._figures.busy if alone else usage.running
        queued = self._figures.qsize if alone else 0
        return CollectorReading(
            key=collector.key,
            tier=Tier.PROCESS if collector.place == PROCESS else Tier.COROUTINE,
            adaptive=self._adaptive is not None and self._adaptive.may_move(collector),
            arrivals=usage.completions + running + queued,
            completions=usage.completions,
            wall=usage.wall,
            cpu=account.cpu,
            delay=account.delay,
            queued=queued,
            running=running,
        )
