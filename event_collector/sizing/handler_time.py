"""Whose time it was: what each collector's handler has taken of the CPUs and of the event loop, and had to wait."""

from collections.abc import Sequence
from functools import partial
from threading import get_native_id
from time import thread_time
from typing import Final

from event_collector.handlers.collector import ADAPTIVE, COROUTINE, PROCESS, Collector
from event_collector.sizing.step_samples import Sample, StepSampler
from event_collector.tiers.adaptive import AdaptiveTier
from event_collector_workers.machine import run_delay

__all__ = ["Account", "TimeAccounts"]

EVENTS_A_LOOK: Final = 8
"""Events of a collector that are sampled from one look of the monitor to the next. More follow a changed handler
sooner, and cost more."""

MEMORY: Final = 10.0
"""Samples that the mean for the events in between is averaged over, as a rule."""

WORTH_SAMPLING: Final = 0.25
"""Busy share of the loop above which it matters which collector it is busy with."""

LATE: Final = 0.002
"""Seconds that what is due has to wait on the loop, above which it matters as well: blocking shows here."""

OVERHEAD: Final = 0.0001
"""Seconds of the queue's own work that may be counted for a sampled event. What the loop does beyond that is the
program's."""


class Account:
    """One collector; seconds in all so far."""

    def __init__(self, collector: Collector, sampler: StepSampler | None) -> None:
        self.collector = collector
        self.cpu = 0.0
        self.delay = 0.0
        """Ready to run, but not running: behind other work on the loop, or on the machine's CPUs."""
        self.fresh = 0
        """Events that have ended since the last look."""
        self.fresh_wall = 0.0
        self.sampled: Sample | None = None
        """What the fresh events took together; None where no samples are taken."""
        self.preempted = 0.0
        """How much of their time in steps the loop's thread had no CPU, although it was ready to run."""
        self._sampler = sampler
        self._place = collector.place
        self._completions, self._wall = collector.usage.completions, collector.usage.wall
        self._mean: Sample | None = None
        self._weight = 0.0
        if collector.mode == ADAPTIVE and sampler is not None:
            sampler.arm(EVENTS_A_LOOK)

    def observe(self, *, worthwhile: bool) -> None:
        """Count what has ended since the last look, and have samples of what follows taken where it is worthwhile."""
        usage, collector, sampler = self.collector.usage, self.collector, self._sampler
        # They fall when another queue, whose counters begin anew, goes on with a collector.
        self.fresh, self._completions = max(0, usage.completions - self._completions), usage.completions
        self.fresh_wall, self._wall = max(0.0, usage.wall - self._wall), usage.wall
        if self._place != collector.place:
            self._place, self._mean, self._weight = collector.place, None, 0.0
        self.sampled = None
        if sampler is None or collector.place == PROCESS:
            return
        self.sampled = self._estimate(sampler.take())
        if worthwhile or collector.mode == ADAPTIVE:
            sampler.arm(EVENTS_A_LOOK)
        else:
            self.stop()
            self._mean, self._weight = None, 0.0

    def add(self, cpu: float, delay: float) -> None:
        """Note what the fresh events took; no more than they lasted."""
        cpu = min(max(0.0, cpu), self.fresh_wall)
        self.cpu += cpu
        self.delay += min(max(0.0, delay), self.fresh_wall - cpu)

    def stop(self) -> None:
        """Have no more samples taken."""
        if self._sampler is not None:
            self._sampler.disarm()

    def _estimate(self, samples: list[Sample]) -> Sample | None:
        """Return what the fresh events took: the sampled ones as measured, the others as the mean says."""
        for sample in samples:
            self._weight = min(MEMORY, self._weight + 1.0)
            self._mean = _mixed(self._mean or sample, sample, 1.0 / self._weight)
        if self._mean is None:
            return None
        total = Sample(0.0, 0.0, 0.0)
        for sample in samples[: self.fresh]:
            total = _sum(total, sample, 1)
        return _sum(total, self._mean, self.fresh - min(len(samples), self.fresh))


class TimeAccounts:
    """The accounts of a queue's collectors, kept by the monitor at each of its looks.

    Args:
        collectors: of the queue.
        adaptive: where the adaptive ones are; None when there are none.

    """

    def __init__(self, collectors: Sequence[Collector], adaptive: AdaptiveTier | None) -> None:
        self.by_key = {collector.key: _open(collector, adaptive) for collector in collectors}
        self.loop_busy = 0.0
        """Seconds for which the interpreter was busy: its loop, and adaptive handlers in its threads.

        A loop that has work and no CPU is as full as one that has both.
        """
        self._thread = get_native_id()
        self._loop_cpu = thread_time()
        self._loop_delay = run_delay(self._thread) or 0.0
        self._workers_cpu = self._workers_delay = 0.0
        # Of events that have not ended yet: many are longer than from one look to the next.
        self._pending_cpu = self._pending_delay = 0.0

    def look(self, elapsed: float, lag: float, workers_cpu: float, workers_delay: float) -> None:
        """Bring all accounts up to date.

        Args:
            elapsed: seconds since the last look.
            lag: seconds that what is due waits on the loop for its turn.
            workers_cpu: seconds that all workers have been on a CPU so far.
            workers_delay: seconds that they were ready to be.

        """
        cpu = thread_time()
        spent, self._loop_cpu = max(0.0, cpu - self._loop_cpu), cpu
        worthwhile = lag > LATE or spent > WORTH_SAMPLING * elapsed
        for account in self.by_key.values():
            account.observe(worthwhile=worthwhile)
        delay = run_delay(self._thread) or 0.0
        preempted, self._loop_delay = max(0.0, delay - self._loop_delay), delay
        self.loop_busy += spent + preempted + self._share_threads()
        self._share_loop(spent, preempted, lag)
        self._pending_cpu += max(0.0, workers_cpu - self._workers_cpu)
        self._pending_delay += max(0.0, workers_delay - self._workers_delay)
        self._workers_cpu, self._workers_delay = workers_cpu, workers_delay
        self._share_workers()

    def stop(self) -> None:
        """Have no more samples taken."""
        for account in self.by_key.values():
            account.stop()

    def _share_loop(self, spent: float, preempted: float, lag: float) -> None:
        """Share the loop's CPU time out: to sampled collectors what is known, to the others by number of events."""
        here = [account for account in self.by_key.values() if account.collector.place == COROUTINE]
        known = sum(account.sampled.cpu for account in here if account.sampled is not None)
        held = sum(account.sampled.held for account in here if account.sampled is not None)
        preempted = min(preempted, max(0.0, held - known))
        events = sum(account.fresh for account in here)
        if events <= 0:
            return
        scale = min(1.0, spent / known) if known else 1.0
        rest = max(0.0, spent - known)
        unknown = [one for one in here if one.sampled is None and one.collector.mode != ADAPTIVE]
        for account in unknown:
            account.add(rest * account.fresh / max(1, sum(one.fresh for one in unknown)), 0.0)
        for account in here:
            if account.sampled is None:
                continue
            overhead = min(OVERHEAD, rest / events) * account.fresh
            account.preempted = preempted * account.sampled.held / held if held else 0.0
            # The first step of an event begins when its service does; before each other one it waits for its turn.
            turns = max(0.0, account.sampled.steps - account.fresh)
            account.add(scale * account.sampled.cpu + overhead, turns * lag + account.preempted)

    def _share_threads(self) -> float:
        """Count the CPU time of adaptive handlers in threads, and return it: they share one interpreter."""
        total = 0.0
        for account in self.by_key.values():
            if account.sampled is not None and account.collector.place != COROUTINE:
                account.add(account.sampled.cpu, 0.0)
                total += account.sampled.cpu
        return total

    def _share_workers(self) -> None:
        """Share the workers' time out by the time that ended events spent there, where they run one at a time."""
        there = [account for account in self.by_key.values() if account.collector.place == PROCESS]
        wall = sum(account.fresh_wall for account in there)
        cpu = min(self._pending_cpu, wall)
        delay = min(self._pending_delay, wall - cpu)
        for account in there:
            if wall > 0.0:
                part = account.fresh_wall / wall
                account.add(cpu * part, delay * part)
        if any(account.collector.usage.running for account in there):
            self._pending_cpu, self._pending_delay = self._pending_cpu - cpu, self._pending_delay - delay
        else:
            self._pending_cpu = self._pending_delay = 0.0


def _open(collector: Collector, adaptive: AdaptiveTier | None) -> Account:
    if collector.mode == ADAPTIVE and adaptive is not None:
        return Account(collector, StepSampler(collector, partial(adaptive.examine, collector)))
    return Account(collector, StepSampler(collector) if collector.mode == COROUTINE else None)


def _mixed(mean: Sample, sample: Sample, weight: float) -> Sample:
    return _sum(_sum(Sample(0.0, 0.0, 0.0), mean, 1.0 - weight), sample, weight)


def _sum(total: Sample, sample: Sample, times: float) -> Sample:
    return Sample(
        total.cpu + times * sample.cpu, total.held + times * sample.held, total.steps + times * sample.steps
    )
