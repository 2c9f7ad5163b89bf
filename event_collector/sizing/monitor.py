"""The monitor: measures a running queue, asks the control law for the sizes of its pools, and applies them.

It runs only while the queue is active. An idle queue at its minimum size has no timer.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from time import process_time, thread_time
from types import FrameType
from typing import Any, Final

from event_collector.dispatch.dispatcher import Dispatcher
from event_collector.handlers.collector import PROCESS, Collector
from event_collector.sizing.handler_time import TimeAccounts
from event_collector.sizing.loop_share import LoopShares
from event_collector.sizing.watchdog import Watchdog
from event_collector.tiers.adaptive import AdaptiveTier
from event_collector.tiers.executors.executor_tier import ExecutorTier
from event_collector.tiers.workers.worker_tier import WorkerReading, WorkerTier
from event_collector.values.clock import clock
from event_collector.watching.metrics import Meter
from event_collector.watching.observer import NO_WORKERS
from event_collector_workers.autoscaler import Change, CollectorReading, Plan, Readings, ScalingLaw, Tier, TierReading
from event_collector_workers.machine import Machine

HISTORY: Final = 50
"""Number of the last changes of size that are kept."""

MOST_OF_THE_LOOP: Final = 0.02
"""Maximum share of the event loop that looks may take. Expensive looks are made less often."""

COST_SMOOTHING: Final = 0.1
"""Weight of the newest look in the average cost of a look."""

FAILED_INTERVAL: Final = 1.0
"""Seconds between a look that failed and the next one."""

LAG_MEMORY: Final = 0.15
"""Seconds over which the lag of the loop is averaged. A longer average would mistake waiting for the loop for waiting
for something else."""

TURNS: Final = 6
"""Turns of the loop that are timed after a look, which often follows a handler that blocks. Two events, one after the
other, take as many from their sender to their handler and back: the next one of this handler is among them."""

TIMER_GRAIN: Final = 0.002
"""Seconds that a timer may be late on an idle loop: event loops round to milliseconds."""


class Monitor:
    """Measures and sizes one queue, in the thread of the event loop.

    While the queue is active, it looks every `interval` seconds, more than 0, or less often where looks are expensive.
    `on_change` is called with each change of size. The law does not size executors whose size is known.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        meter: Meter,
        law: ScalingLaw,
        collectors: Sequence[Collector],
        interval: float,
        on_change: Callable[[Change], None],
        log: Any,
        workers: WorkerTier | None,
        adaptive: AdaptiveTier | None,
        executors: ExecutorTier | None,
    ) -> None:
        self._dispatcher, self._figures = dispatcher, dispatcher.figures
        self._meter, self._law = meter, law
        self._workers, self._adaptive, self._executors = workers, adaptive, executors
        self._collectors, self._interval = collectors, interval
        self._on_change, self._log = on_change, log
        self._machine = Machine(own_cpu=self._own_cpu)
        self._workers_cpu = 0.0
        self._workers_wanted = -1
        self._worker_needed = False
        self._remote = 0  # events in workers, at the last look
        self._elsewhere = 0  # events that executors can use at once, while they have any
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()  # None once it is stopped
        self._looked = clock.now()
        self._due = self._lag = self._turn = 0.0
        self._ended = 0  # attempts that had ended at the last look
        self._cost = 0.0  # mean CPU time of a look, in seconds
        self._shares = LoopShares(log)
        self._watchdog = Watchdog(self._key_in, log)
        self._accounts = TimeAccounts(collectors, adaptive)
        self._plan: Plan | None = None  # the last decision of the law
        self._schedule(interval)

    def stop(self) -> None:
        """Stop."""
        if self._timer is not None:
            self._timer.cancel()
        self._watchdog.stop()
        self._accounts.stop()
        self._loop = self._timer = None

    def wake(self) -> None:
        """Continue after a rest. The counters have not changed since."""
        if self._loop is not None:
            self._meter.sample(clock.now(), self._figures.counts())
            self._watchdog.watch()
            self._schedule(self._interval)

    def sizes(self) -> tuple[int, int, int]:
        """Return the number of wanted consumers, of ready workers, and of wanted workers."""
        consumers = self._figures.size if self._plan is None else self._plan.consumers
        if self._workers is None:
            return consumers, 0, 0
        wanted = self._workers.size if self._plan is None else self._workers_wanted
        return consumers, self._workers.size, wanted

    def __repr__(self) -> str:
        state = "stopped" if self._loop is None else "resting" if self._timer is None else "looking"
        consumers, ready, wanted = self.sizes()
        return f"<Monitor {state}, wants {consumers} consumers, {wanted} workers ({ready} ready), lag={self._lag:.3f}>"

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
        # The average is over time, not over looks: a blocked loop makes few looks.
        self._lag += -math.expm1((self._looked - now) / LAG_MEMORY) * (max(0.0, late) - self._lag)
        ended, self._ended = self._ended, self._figures.attempts
        if self._loop is not None and (self._figures.active or self._ended != ended):  # else the loop may sleep
            self._loop.call_soon(self._measure_turn, now)
        self._meter.sample(now, self._figures.counts())
        plan, failure = None, None
        try:
            plan = self._law.decide(self._read(now))
            self._act(plan)
        except Exception as exc:  # an error in the application's law must not stop the monitor
            plan, failure = None, exc
        self._go_on(now, plan)
        # Only after the next look is scheduled: logging calls code of the application, too.
        self._watchdog.beat()
        if failure is not None:
            self._log.error("the pools could not be resized", exc_info=failure)

    def _go_on(self, now: float, plan: Plan | None) -> None:
        """Schedule the next look, if the queue is active or the plan asks for one. `plan` is None after a failure."""
        pause = max(self._interval, self._cost / MOST_OF_THE_LOOP)
        if plan is None or self._figures.active:
            self._schedule(pause if plan is not None else clock.source.patience(FAILED_INTERVAL))
            return
        if plan.next_check is not None:
            self._schedule(max(pause, plan.next_check - now))
        idle = plan.next_check is None or plan.next_check - now > pause
        self._dispatcher.rest(idle)
        if idle:
            self._watchdog.rest()

    def _measure_turn(self, began: float, turns: int = TURNS) -> None:
        """Measure how long a ready callback waits for its turn. The timers of uvloop do not show it."""
        now = clock.now()
        self._turn = max(self._turn, now - began)
        if turns > 1 and self._loop is not None:
            self._loop.call_soon(self._measure_turn, now, turns - 1)

    def _act(self, plan: Plan) -> None:
        dispatcher, workers = self._dispatcher, self._workers
        self._plan = plan
        if self._adaptive is not None:
            for moved in self._adaptive.follow(plan):
                self._on_change(moved)
        # Events in workers, and the room of the workers, need consumers that the law does not count.
        remote = 0 if workers is None else self._remote + max(0, workers.room)
        most = plan.consumer_ceiling + remote + self._elsewhere
        dispatcher.permits.raise_ceiling(most)
        wanted = max(plan.consumers + self._remote + self._elsewhere, dispatcher.permits.busy)
        if wanted != dispatcher.permits.size:
            dispatcher.resize(wanted)
        # Events that need a worker keep one worker, even if the law wants none.
        wanted = max(plan.workers, 1 if self._worker_needed else 0)
        if workers is not None and wanted != self._workers_wanted:
            self._workers_wanted = wanted
            workers.resize(wanted)
        for change in plan.changes:
            if isinstance(change.after, Tier):
                continue  # the adaptive tier has moved the collector and logged it
            self._on_change(change)
            before, after = str(change.before), str(change.after)
            self._log.debug("resized", subject=change.subject, before=before, after=after, reason=change.reason)

    def _read(self, now: float) -> Readings:
        figures = self._figures
        workers = WorkerReading(NO_WORKERS) if self._workers is None else self._workers.gauge()
        pool = workers.pool
        self._workers_cpu = max(self._workers_cpu, pool.cpu_seconds)
        self._worker_needed = pool.submitted > pool.finished + pool.failed or figures.remote_queued > 0
        only = self._collectors[0] if len(self._collectors) == 1 else None
        if only is not None and not only.is_in_processes and only.batch is None:  # the queue has counted its events
            self._collectors[0].usage.set_totals(figures.attempts, figures.service_total)
        elapsed, self._looked = now - self._looked, now
        self._accounts.look(elapsed, self._lag, workers.cpu, workers.delay)
        self._shares.look(elapsed, self._accounts.by_key.values())
        peak = self._dispatcher.permits.take_peak()
        executors = self._executors
        sized = [one for one in self._collectors if executors is None or not executors.bounds(one)]
        collectors = tuple(self._reading(collector) for collector in sized)
        self._remote = sum(int(r.running or 0) for r in collectors if r.tier is Tier.PROCESS)
        outside = sum(c.usage.running for c in self._collectors if c not in sized)
        # A peak may be of events that an executor has answered since: they would be taken for coroutines.
        busy = self._dispatcher.permits.busy if outside else peak
        # What executors can use, not what they have: each batch that comes or goes would resize the pool, and a burst
        # that is above the size would raise the ceiling for the next one.
        self._elsewhere = executors.capacity if outside and executors is not None else 0
        return Readings(
            now=now,
            collectors=collectors,
            consumers=TierReading(size=figures.size, busy=max(0, busy - self._remote - outside)),
            workers=TierReading(size=pool.ready, busy=pool.busy, starting=pool.starting),
            machine=self._machine.read(now),
            loop_busy=self._accounts.loop_busy,
            worker_startup=pool.startup_seconds or None,
            worker_memory=workers.memory,
            unrouted=0 if len(self._collectors) == 1 else figures.qsize,
            draining=self._dispatcher.gate.refusal is not None,
        )

    def _key_in(self, frame: FrameType | None) -> str | None:
        handlers = self._dispatcher.handlers
        return None if handlers is None else handlers.key_in(frame)

    def _own_cpu(self) -> float:
        """Return the CPU time of this process and its workers. Listing all processes would block the loop."""
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
