"""The gauges of a running queue: they take the readings that the control law decides by."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Final

from event_collector.handlers.collector import ADAPTIVE, COROUTINE, EXECUTOR, PROCESS, Collector
from event_collector.sizing.handler_time import Account, TimeAccounts, WorkersTime
from event_collector.sizing.instruments import Instruments
from event_collector.sizing.measured import MeasuredQueue, MeasuredWorkers
from event_collector.tiers.adaptive import AdaptiveTier
from event_collector.tiers.executors.executor_tier import ExecutorTier
from event_collector.tiers.workers.worker_tier import WorkerReading
from event_collector.watching.observer import NO_WORKERS
from event_collector_workers.autoscaler import CollectorReading, Readings, Tier, TierReading

_TOTALS = attrgetter("completions", "wall", "cpu", "delay")
_RUNNING = attrgetter("running")

WITHOUT_WORKERS: Final = WorkerReading(NO_WORKERS)

MANY: Final = 16
"""Collectors up to which the built-in law gets a reading of each. It takes about 20 microseconds for one. The readings
of more are added up for each tier, except those of adaptive collectors and of executors."""


class Gauges:
    """Takes the readings of one queue. `in_groups`: those of many collectors may be added up.

    Attributes:
        accounts: CPU time and waiting time of the handlers.
        remote: events in workers, at the last reading.
        elsewhere: events that executors can use at once, while they have any.
        worker_needed: whether an event needs a worker, even if the law wants none.
    """

    def __init__(
        self,
        queue: MeasuredQueue,
        collectors: Sequence[Collector],
        workers: MeasuredWorkers | None,
        adaptive: AdaptiveTier | None,
        executors: ExecutorTier | None,
        instruments: Instruments,
        *,
        in_groups: bool,
    ) -> None:
        self._queue, self._figures, self._collectors = queue, queue.figures, collectors
        self._workers, self._adaptive, self._executors = workers, adaptive, executors
        self._instruments = instruments
        self._workers_cpu = 0.0
        self.accounts = TimeAccounts(collectors, adaptive, instruments)
        self._alone, self._groups = self._divide(in_groups=in_groups)
        self.remote = self.elsewhere = 0
        self._begun = 1.0  # share of the events in workers that a handler has
        self.worker_needed = False

    def read(self, now: float, elapsed: float, lag: float) -> Readings:
        """Return the readings at `now`, `elapsed` seconds after the last ones, while the loop lags by `lag` seconds."""
        figures = self._figures
        machine = self._instruments.machine(now, self._instruments.process_time() + self._workers_cpu)
        workers = WITHOUT_WORKERS if self._workers is None else self._workers.gauge()
        pool = workers.pool
        self._workers_cpu = max(self._workers_cpu, pool.cpu_seconds)
        self.worker_needed = pool.submitted > pool.finished + pool.failed or figures.ready_remote > 0
        sole = self._collectors[0] if len(self._collectors) == 1 else None
        if sole is not None and sole.mode == COROUTINE and sole.batch is None:  # the queue has counted its events
            sole.usage.set_totals(figures.attempts, figures.service_total)
        remote = self.accounts.remote_running()
        running = min(pool.ready, remote)
        self.accounts.look(elapsed, lag, WorkersTime(workers.cpu, workers.delay, running, pool.service_seconds))
        # Workers hold events in advance, and those of a pool without workers wait for the first one.
        self._begun = min(1.0, pool.ready / remote) if remote else 1.0
        outside, busy = self._count_places()
        queued = figures.ready
        return Readings(
            now=now,
            collectors=self._readings(queued if sole is not None else 0),
            consumers=TierReading(size=figures.size, busy=max(0, busy - self.remote - outside)),
            workers=TierReading(size=pool.ready, busy=pool.busy, starting=pool.starting),
            machine=machine,
            loop_busy=self.accounts.loop_busy,
            worker_startup=pool.startup_seconds or None,
            worker_memory=workers.memory,
            unrouted=0 if sole is not None else queued,
            unrouted_remote=0 if sole is not None else figures.ready_remote,
            draining=self._queue.gate.refusal is not None,
        )

    def _divide(self, *, in_groups: bool) -> tuple[Sequence[Collector], list["_Group"]]:
        """Divide many collectors into those that are read alone, and groups of those that never move."""
        if not in_groups or len(self._collectors) <= MANY:
            return self._collectors, []
        alone: list[Collector] = []
        members: dict[Tier, list[Account]] = {Tier.COROUTINE: [], Tier.PROCESS: []}
        for collector in self._collectors:
            if collector.mode in (ADAPTIVE, EXECUTOR):
                alone.append(collector)
            else:
                members[_tier(collector)].append(self.accounts.by_key[collector.key])
        return alone, [_Group(tier, accounts) for tier, accounts in members.items() if accounts]

    def stop(self) -> None:
        """Stop sampling."""
        self.accounts.stop()

    def __repr__(self) -> str:
        return f"<Gauges {self.remote} events in workers, {self.elsewhere} for executors>"

    def _count_places(self) -> tuple[int, int]:
        """Return how many events executors have, and the most that were in handlers since the last reading."""
        before, self.remote = self.remote, self.accounts.remote_running()
        permits, executors, outside = self._queue.permits, self._executors, 0
        if executors is not None:
            outside = sum(one.usage.running for one in self._collectors if executors.bounds(one))
            # What executors can use, not what they have: each batch that comes or goes would resize the pool, and a
            # burst that is above the size would raise the ceiling for the next one.
            self.elsewhere = executors.capacity if outside else 0
        # A peak may be of events that have been answered elsewhere since: they would be taken for coroutines.
        peak = permits.take_peak()
        is_elsewhere = outside or before or self.remote or any(one.remote_wall for one in self.accounts.fresh)
        return outside, permits.busy if is_elsewhere else peak

    def _readings(self, queued: int) -> tuple[CollectorReading, ...]:
        """Return a reading for each collector that the law sizes pools for: not those of executors of known size."""
        executors = self._executors
        sized = self._alone if executors is None else [c for c in self._alone if not executors.bounds(c)]
        return (
            *(self._reading(one, queued) for one in sized),
            *(group.read(self.accounts.fresh, self._begun) for group in self._groups),
        )

    def _reading(self, collector: Collector, queued: float) -> CollectorReading:
        usage, account = collector.usage, self.accounts.by_key[collector.key]
        tier = _tier(collector)
        everywhere = usage.running
        if len(self._collectors) == 1 and collector.mode == COROUTINE:
            everywhere = self._figures.busy
        running: float = everywhere - account.remote_running
        arrivals = usage.completions + everywhere + queued
        if tier is Tier.PROCESS:
            running = self._begun * account.remote_running
            queued = queued + account.remote_running - running
        return CollectorReading(
            key=collector.key,
            tier=tier,
            adaptive=self._adaptive is not None and self._adaptive.may_move(collector),
            arrivals=arrivals,
            completions=account.completions,
            wall=account.wall,
            cpu=account.cpu,
            delay=account.delay,
            queued=queued,
            running=running,
        )


class _Group:
    """Many collectors that are read as one. The law adds up collectors anyway, at many times the cost."""

    def __init__(self, tier: Tier, accounts: list[Account]) -> None:
        self._key, self._tier = f"{len(accounts)} collectors of tier {tier}", tier
        self._usages = [account.collector.usage for account in accounts]
        self._seen = dict.fromkeys(accounts, (0, 0.0, 0.0, 0.0))
        self._sums = (0, 0.0, 0.0, 0.0)

    def read(self, fresh: list[Account], begun: float) -> CollectorReading:
        """Return the sums of all members, of which only `fresh` ones may have changed.

        `begun` is the share of the events in workers that a handler has.
        """
        seen = self._seen
        completions, wall, cpu, delay = self._sums
        for account in fresh:
            if account in seen:
                before, after = seen[account], _TOTALS(account)
                seen[account] = after
                completions += after[0] - before[0]
                wall += after[1] - before[1]
                cpu += after[2] - before[2]
                delay += after[3] - before[3]
        self._sums = completions, wall, cpu, delay
        running = sum(map(_RUNNING, self._usages))
        waiting = (1.0 - begun) * running if self._tier is Tier.PROCESS else 0.0
        return CollectorReading(
            key=self._key,
            tier=self._tier,
            arrivals=completions + running,
            completions=completions,
            wall=wall,
            cpu=cpu,
            delay=delay,
            queued=waiting,
            running=running - waiting,
        )


def _tier(collector: Collector) -> Tier:
    return Tier.PROCESS if collector.place == PROCESS else Tier.COROUTINE
