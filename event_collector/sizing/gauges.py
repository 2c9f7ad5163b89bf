"""The gauges of a running queue: they take the readings that the control law decides by."""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Final

from event_collector.handlers.collector import ADAPTIVE, COROUTINE, EXECUTOR, PROCESS, Collector
from event_collector.sizing.handler_time import Account, TimeAccounts, WorkersTime
from event_collector.sizing.instruments import Instruments
from event_collector.sizing.measured import MeasuredQueue, MeasuredWorkers
from event_collector.tiers.adaptive import AdaptiveTier
from event_collector.tiers.executors.executor_tier import ExecutorTier
from event_collector.tiers.workers.worker_tier import WorkerReading
from event_collector_workers.autoscaler import CollectorReading, Readings, Tier, TierReading, WorkerGroupReading

_TOTALS = attrgetter("completions", "wall", "cpu", "delay")
_RUNNING = attrgetter("running")

NO_GROUP: Final = WorkerGroupReading()

MANY: Final = 16
"""Collectors up to which the built-in law gets a reading of each. It takes about 20 microseconds for one. The readings
of more are added up for each tier, except those of adaptive collectors and of executors."""


class Gauges:
    """Takes the readings of one queue. `in_groups`: those of many collectors may be added up.

    Attributes:
        accounts: CPU time and waiting time of the handlers.
        remote: events in workers, at the last reading.
        elsewhere: events that executors can use at once, while they have any.
        needed: worker groups of which events need a worker, even if the law wants none.
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
        self._alone, self._crowds = self._divide(in_groups=in_groups)
        self._groups_of_workers = {one.worker_group for one in collectors}
        self.remote = self.elsewhere = 0
        self._begun: dict[str, float] = {}  # share of the events in the workers of each group that a handler has
        self.needed: set[str] = set()

    def read(self, now: float, elapsed: float, lag: float) -> Readings:
        """Return the readings at `now`, `elapsed` seconds after the last ones, while the loop lags by `lag` seconds."""
        figures = self._figures
        machine = self._instruments.machine(now, self._instruments.process_time() + self._workers_cpu)
        groups = {} if self._workers is None else {one: group.gauge() for one, group in self._workers.groups.items()}
        pools = [group.pool for group in groups.values()]
        self._workers_cpu = max(self._workers_cpu, sum(pool.cpu_seconds for pool in pools))
        sole = self._collectors[0] if len(self._collectors) == 1 else None
        if sole is not None and sole.mode == COROUTINE and sole.batch is None:  # the queue has counted its events
            sole.usage.set_totals(figures.attempts, figures.service_total)
        self.accounts.look(elapsed, lag, {name: self._time_of(name, group) for name, group in groups.items()})
        outside, busy = self._count_places()
        queued = figures.ready
        workers = self._read_groups(groups)
        only = workers[0] if len(workers) == 1 else NO_GROUP
        return Readings(
            now=now,
            collectors=self._readings(queued if sole is not None else 0),
            consumers=TierReading(size=figures.size, busy=max(0, busy - self.remote - outside)),
            workers=TierReading(
                size=sum(pool.ready for pool in pools),
                busy=sum(pool.busy for pool in pools),
                starting=sum(pool.starting for pool in pools),
            ),
            groups=workers if len(workers) > 1 else (),
            machine=machine,
            loop_busy=self.accounts.loop_busy,
            worker_startup=only.startup,
            worker_memory=only.memory,
            unrouted=0 if sole is not None else queued,
            unrouted_remote=0 if sole is not None else figures.ready_remote,
            draining=self._queue.gate.refusal is not None,
        )

    def _time_of(self, name: str, group: WorkerReading) -> WorkersTime:
        running = min(group.pool.ready, self.accounts.remote_running(name))
        return WorkersTime(group.cpu, group.delay, running, group.pool.service_seconds)

    def _read_groups(self, groups: dict[str, WorkerReading]) -> tuple[WorkerGroupReading, ...]:
        """Return a reading for each worker group, and note which of them need a worker."""
        self.needed.clear()
        readings, is_only = [], len(groups) == 1
        for name, (pool, _, _, memory) in groups.items():
            remote = self.accounts.remote_running(name)
            # Workers hold events in advance, and those of a pool without workers wait for the first one.
            self._begun[name] = min(1.0, pool.ready / remote) if remote else 1.0
            queued = self._figures.ready_remote if is_only else self._figures.group_ready(name)
            if queued or pool.submitted > pool.finished + pool.failed:
                self.needed.add(name)
            startup = pool.startup_seconds or None
            readings.append(
                WorkerGroupReading(name=name, size=pool.ready, startup=startup, memory=memory, unrouted=queued)
            )
        return tuple(readings)

    def _divide(self, *, in_groups: bool) -> tuple[Sequence[Collector], list["_Crowd"]]:
        """Divide many collectors into those that are read alone, and groups of those that never move."""
        if not in_groups or len(self._collectors) <= MANY:
            return self._collectors, []
        alone: list[Collector] = []
        members: dict[tuple[Tier, str], list[Account]] = {}
        for collector in self._collectors:
            if collector.mode in (ADAPTIVE, EXECUTOR):
                alone.append(collector)
            else:
                place = _tier(collector), collector.worker_group
                members.setdefault(place, []).append(self.accounts.by_key[collector.key])
        return alone, [_Crowd(*place, accounts) for place, accounts in members.items()]

    def stop(self) -> None:
        """Stop sampling."""
        self.accounts.stop()

    def __repr__(self) -> str:
        return f"<Gauges {self.remote} events in workers, {self.elsewhere} for executors>"

    def _count_places(self) -> tuple[int, int]:
        """Return how many events executors have, and the most that were in handlers since the last reading."""
        before, self.remote = self.remote, sum(map(self.accounts.remote_running, self._groups_of_workers))
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
            *(crowd.read(self.accounts.fresh, self._begun) for crowd in self._crowds),
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
            running = self._begun.get(collector.worker_group, 0.0) * account.remote_running
            queued = queued + account.remote_running - running
        return CollectorReading(
            key=collector.key,
            tier=tier,
            group=collector.worker_group,
            adaptive=self._adaptive is not None and self._adaptive.may_move(collector),
            arrivals=arrivals,
            completions=account.completions,
            wall=account.wall,
            cpu=account.cpu,
            delay=account.delay,
            queued=queued,
            running=running,
        )


class _Crowd:
    """Many collectors that are read as one. The law adds up collectors anyway, at many times the cost."""

    def __init__(self, tier: Tier, group: str, accounts: list[Account]) -> None:
        self._key, self._tier, self._group = f"{len(accounts)} collectors of tier {tier}, {group}", tier, group
        self._usages = [account.collector.usage for account in accounts]
        self._seen = dict.fromkeys(accounts, (0, 0.0, 0.0, 0.0))
        self._sums = (0, 0.0, 0.0, 0.0)

    def read(self, fresh: list[Account], begun: Mapping[str, float]) -> CollectorReading:
        """Return the sums of all members, of which only `fresh` ones may have changed.

        `begun` has the share of the events in the workers of each group that a handler has.
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
        waiting = (1.0 - begun.get(self._group, 0.0)) * running if self._tier is Tier.PROCESS else 0.0
        return CollectorReading(
            key=self._key,
            tier=self._tier,
            group=self._group,
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
