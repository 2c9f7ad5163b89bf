"""The simulated front-end and its two tiers, driven by one law through one workload."""

import math
import random
from collections import deque

from bench.autoscaler.host import Host, Loop
from bench.autoscaler.records import Job, Outcome, Tally
from bench.autoscaler.worker_tier import WorkerTier
from bench.autoscaler.workloads import Event, Workload
from event_collector_workers.autoscaler import MachineReading, Readings, ScalingLaw, Tier, TierReading, burst_size

DISPATCH = 20e-6
DECISION = 100e-6
MACHINE_REFRESH = 2.0
EAGERNESS = 0.01


class Simulation:
    """One run. `free` makes starts and decisions cost nothing, which only the oracle may ask for."""

    def __init__(self, workload: Workload, law: ScalingLaw, seed: int, *, free: bool = False) -> None:
        self._workload, self._law, self._free = workload, law, free
        self._host = Host(workload)
        self._loop = Loop(self._host)
        self._workers = WorkerTier(
            self._host, free=free, changing=self._pay, ready_now=self._worker_ready, kill=self._worker_killed
        )
        self._consumers, self._ceiling, self._on_loop = 1, 1, 0
        self._tallies = [Tally(source) for source in workload.sources]
        self._queues: dict[Tier, deque[Job]] = {tier: deque() for tier in Tier}
        self._open: dict[Job, None] = {}
        self._in_workers: dict[Job, None] = {}
        self._arrivals = workload.arrivals(seed)
        self._noise = random.Random(f"noise {seed}")
        self._machine, self._machine_read = MachineReading(), -math.inf
        self._asked = self._next_check = -1.0
        self._paid_until = 0.0
        self._outcome = Outcome()

    def run(self) -> Outcome:
        """Let the whole workload pass."""
        self._decide()
        for event in self._arrivals:
            while self._host.pass_until(event.at):
                pass
            self._arrive(event)
        while self._host.pass_until(self._workload.duration):
            pass
        self._pay()
        self._outcome.lost = self._workers.killed
        self._outcome.latencies += [self._host.now - job.event.at for job in self._open]
        return self._outcome

    # -- an event's way

    def _arrive(self, event: Event) -> None:
        tally, job = self._tallies[event.source], Job(event)
        tally.arrivals += 1
        tally.queued += 1
        self._open[job] = None
        self._queues[tally.tier].append(job)
        self._dispatch()
        waiting = any(self._queues.values())
        since = self._host.now - self._asked
        if (waiting and (self._free or since >= EAGERNESS)) or self._next_check < 0.0 < since:
            self._ask()

    def _dispatch(self) -> None:
        """Hand waiting events to whoever is free; consumers may grow up to the ceiling on the spot."""
        waiting = self._queues[Tier.COROUTINE]
        if waiting and self._on_loop + len(waiting) > self._consumers < self._ceiling:
            grown = burst_size(self._on_loop + len(waiting), self._ceiling)
            self._resize_consumers(max(self._consumers, grown))
        while waiting and self._on_loop < self._consumers:
            job = self._take(waiting, Tier.COROUTINE)
            self._on_loop += 1
            self._loop.run(job.part() + DISPATCH, self._wait, job)
        waiting, workers = self._queues[Tier.PROCESS], self._workers
        while waiting and workers.busy < workers.ready:
            job = self._take(waiting, Tier.PROCESS)
            workers.busy += 1
            self._in_workers[job] = None
            self._loop.run(DISPATCH, self._work, job)

    def _take(self, waiting: deque[Job], tier: Tier) -> Job:
        job = waiting.popleft()
        tally = self._tallies[job.event.source]
        tally.queued -= 1
        tally.running += 1
        job.tier, job.began = tier, self._host.now
        return job

    def _work(self, job: Job) -> None:
        job.began = self._host.now
        self._host.compute(job.part(), self._wait, job)

    def _wait(self, job: Job) -> None:
        if not job.event.waiting:
            self._finish(job)
            return
        job.wait_began = self._host.now
        self._host.back_ends[job.event.source].add(self._host.now, job.event.waiting, self._waited, job)

    def _waited(self, job: Job) -> None:
        job.waited = self._host.now - job.wait_began
        if job.tier is Tier.COROUTINE:
            self._loop.run(job.part(), self._finish, job)
        else:
            self._host.compute(job.part(), self._finish, job)

    def _finish(self, job: Job) -> None:
        if job.killed:
            return
        if job.tier is Tier.COROUTINE:
            self._on_loop -= 1
        else:
            del self._in_workers[job]
            self._workers.done()
        del self._open[job]
        self._tallies[job.event.source].count(self._host.now, job, self._noise)
        self._outcome.completed += 1
        self._outcome.latencies.append(self._host.now - job.event.at)
        self._dispatch()

    def _worker_ready(self) -> None:
        self._dispatch()
        self._note()

    def _worker_killed(self) -> None:
        """Lose the event of a killed worker: it stays open to the end."""
        job = next(iter(self._in_workers))
        del self._in_workers[job]
        job.killed = True
        self._tallies[job.event.source].running -= 1

    # -- decisions

    def _ask(self) -> None:
        """Let the law be asked in one of the loop's next steps: a loop that is held up holds up the law too."""
        self._asked, self._next_check = self._host.now, -1.0
        if self._free:
            self._decide()
        else:
            self._loop.run(DECISION, self._decide, None)

    def _decide(self, _: None = None) -> None:
        plan = self._law.decide(self._readings())
        self._ceiling = max(plan.consumer_ceiling, plan.consumers)
        self._outcome.reasons += [f"{self._host.now:.2f} {change}" for change in plan.changes]
        for tally in self._tallies:
            self._place(tally, plan.placement.get(tally.source.key, tally.tier))
        self._resize_consumers(plan.consumers)
        if plan.workers != self._workers.target:
            self._outcome.actions += 1
            self._workers.resize(plan.workers)
        self._dispatch()
        self._note()
        if plan.next_check is not None:
            self._next_check = max(plan.next_check, self._host.now + EAGERNESS)
            self._host.at(self._next_check, self._check, self._next_check)

    def _check(self, due: float) -> None:
        if due == self._next_check:
            self._ask()

    def _place(self, tally: Tally, tier: Tier) -> None:
        """Move a source, and its waiting events in the order they came."""
        if tier is tally.tier:
            return
        self._outcome.actions += 1
        here = self._queues[tally.tier]
        moving = [job for job in here if self._tallies[job.event.source] is tally]
        self._queues[tally.tier] = deque(job for job in here if self._tallies[job.event.source] is not tally)
        merged = sorted([*self._queues[tier], *moving], key=lambda job: job.event.at)
        self._queues[tier] = deque(merged)
        tally.tier = tier

    def _resize_consumers(self, size: int) -> None:
        if size != self._consumers:
            self._pay()
            self._outcome.actions += 1
            self._consumers = size

    # -- what is told and noted

    def _readings(self) -> Readings:
        workers = self._workers
        return Readings(
            now=self._host.now,
            collectors=tuple(tally.reading() for tally in self._tallies),
            consumers=TierReading(size=self._consumers, busy=self._on_loop),
            workers=TierReading(size=workers.ready, busy=workers.busy, starting=workers.starting),
            machine=self._machine_reading(),
            loop_busy=self._loop.busy,
            worker_startup=workers.startup,
            worker_memory=None if workers.startup is None else self._workload.worker_memory,
        )

    def _machine_reading(self) -> MachineReading:
        workload = self._workload
        if self._host.now - self._machine_read >= MACHINE_REFRESH:
            self._machine_read = self._host.now
            limited = workload.memory_limit < math.inf
            self._machine = MachineReading(
                cpus=min(float(workload.cores), workload.quota),
                others=self._host.taken_by_neighbours(),
                memory_limit=workload.memory_limit if limited else None,
                memory_used=self._workers.memory if limited else None,
            )
        return self._machine

    def _pay(self) -> None:
        """Account for the sizes that held until now."""
        passed = self._host.now - self._paid_until
        self._paid_until = self._host.now
        self._outcome.consumer_seconds += passed * max(self._consumers, self._on_loop)
        self._outcome.worker_seconds += passed * (self._workers.ready + self._workers.starting)

    def _note(self) -> None:
        """Draw the course, and see whether the capacity for the step is there."""
        ready, waiting = self._workers.ready, sum(len(queue) for queue in self._queues.values())
        self._outcome.course.append((self._host.now, self._consumers, ready, waiting))
        step = self._workload.step
        if step is None or self._host.now < step or self._outcome.reached is not None:
            return
        on_loop = any(tally.tier is Tier.COROUTINE for tally in self._tallies)
        if ready + (self._consumers if on_loop else 0) >= 0.9 * self._workload.needed:
            self._outcome.reached = self._host.now - step
