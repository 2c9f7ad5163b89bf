"""CPU time and waiting time of each collector's handler."""

from collections.abc import Sequence
from functools import partial
from threading import get_native_id
from time import thread_time
from typing import Final

from event_collector.handlers.collector import ADAPTIVE, COROUTINE, PROCESS, Collector
from event_collector.sizing.step_samples import NO_TIME, Sample, StepSampler
from event_collector.tiers.adaptive import AdaptiveTier
from event_collector_workers.machine import run_delay

EVENTS_A_LOOK: Final = 8
"""Events of a collector that are sampled between two looks of the monitor. More samples detect a changed handler
earlier, and cost more."""

MEMORY: Final = 10.0
"""Number of samples in the moving average that is used for the events without a sample."""

WORTH_SAMPLING: Final = 0.25
"""Minimum busy share of the event loop for which handlers are sampled."""

LATE: Final = 0.002
"""Minimum lag of the event loop, in seconds, for which handlers are sampled even at low CPU time: they may block."""

OVERHEAD: Final = 0.0001
"""Maximum overhead of the queue per sampled event, in seconds. The rest of the loop's time is the program's."""


class Account:
    """The times of one collector, in seconds.

    Attributes:
        cpu: total CPU time.
        delay: total time in which handlers were ready to run, but waited for the event loop or for a CPU.
        fresh: events that have ended since the last look.
        fresh_wall: time of these events in the handler.
        sampled: sum of the samples of these events, those without a sample estimated; None without sampling.
        preempted: time in their steps in which the thread of the loop had no CPU.
    """

    def __init__(self, collector: Collector, sampler: StepSampler | None) -> None:
        self.collector = collector
        self.cpu = self.delay = self.fresh_wall = self.preempted = 0.0
        self.fresh = 0
        self.sampled: Sample | None = None
        self._sampler = sampler
        self._place = collector.place
        self._completions, self._wall = collector.usage.completions, collector.usage.wall
        self._mean: Sample | None = None
        self._weight = 0.0
        if collector.mode == ADAPTIVE and sampler is not None:
            sampler.arm(EVENTS_A_LOOK)

    def observe(self, *, worthwhile: bool) -> None:
        """Count the events that have ended since the last look, and sample the next ones if it is worthwhile."""
        usage, collector, sampler = self.collector.usage, self.collector, self._sampler
        # The counters decrease when another queue, which starts at zero, continues with the collector.
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
        """Add times of the fresh events, up to their time in the handler."""
        cpu = min(max(0.0, cpu), self.fresh_wall)
        self.cpu += cpu
        self.delay += min(max(0.0, delay), self.fresh_wall - cpu)

    def note_preempted(self, seconds: float) -> None:
        """Note for how long the thread of the loop had no CPU in steps of the fresh events."""
        self.preempted = seconds

    def stop(self) -> None:
        """Stop sampling."""
        if self._sampler is not None:
            self._sampler.disarm()

    def _estimate(self, samples: list[Sample]) -> Sample | None:
        """Return the sum for the fresh events: measured for those with a sample, the mean for the others."""
        for sample in samples:
            self._weight = min(MEMORY, self._weight + 1.0)
            share = 1.0 / self._weight
            self._mean = NO_TIME.plus(self._mean or sample, 1.0 - share).plus(sample, share)
        if self._mean is None:
            return None
        total, measured = NO_TIME, samples[: self.fresh]
        for sample in measured:
            total = total.plus(sample)
        return total.plus(self._mean, self.fresh - len(measured))


class TimeAccounts:
    """The accounts of a queue's collectors. The monitor updates them with `look()`."""

    def __init__(self, collectors: Sequence[Collector], adaptive: AdaptiveTier | None) -> None:
        self.by_key = {collector.key: _open(collector, adaptive) for collector in collectors}
        self.loop_busy = 0.0
        """Seconds for which the event loop, or adaptive handlers in threads, were on a CPU or ready to be."""
        self._thread = get_native_id()
        self._loop_cpu, self._loop_delay = thread_time(), run_delay(self._thread) or 0.0
        self._workers_cpu = self._workers_delay = 0.0
        # Times not yet attributed to events: many events take longer than the interval between two looks.
        self._pending_cpu = self._pending_delay = 0.0

    def look(self, elapsed: float, lag: float, workers_cpu: float, workers_delay: float) -> None:
        """Update all accounts. All arguments are in seconds.

        `elapsed` is the time since the last look, and `lag` the time that a callback of the event loop waits for its
        turn. All workers together have spent `workers_cpu` on a CPU, and `workers_delay` waiting for one.
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
        """Stop sampling."""
        for account in self.by_key.values():
            account.stop()

    def _share_loop(self, spent: float, preempted: float, lag: float) -> None:
        """Attribute the loop's CPU time: by samples, or by number of events for collectors without samples."""
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
        fresh = max(1, sum(account.fresh for account in unknown))
        for account in unknown:
            account.add(rest * account.fresh / fresh, 0.0)
        for account in here:
            if account.sampled is None:
                continue
            overhead = min(OVERHEAD, rest / events) * account.fresh
            without_cpu = preempted * account.sampled.held / held if held else 0.0
            # An event waits for the loop before each of its steps except the first.
            turns = max(0.0, account.sampled.steps - account.fresh)
            account.add(scale * account.sampled.cpu + overhead, turns * lag + without_cpu)
            account.note_preempted(without_cpu)

    def _share_threads(self) -> float:
        """Attribute and return the CPU time of adaptive handlers in threads, which share the interpreter."""
        total = 0.0
        for account in self.by_key.values():
            if account.sampled is not None and account.collector.place != COROUTINE:
                account.add(account.sampled.cpu, 0.0)
                total += account.sampled.cpu
        return total

    def _share_workers(self) -> None:
        """Attribute the time of the workers in proportion to the handler time of ended events."""
        there = [account for account in self.by_key.values() if account.collector.place == PROCESS]
        wall = sum(account.fresh_wall for account in there)
        cpu = min(self._pending_cpu, wall)
        delay = min(self._pending_delay, wall - cpu)
        for account in there:
            if wall > 0.0:
                part = account.fresh_wall / wall
                account.add(cpu * part, delay * part)
        if any(account.collector.usage.running for account in there):
            self._pending_cpu -= cpu
            self._pending_delay -= delay
        else:
            self._pending_cpu = self._pending_delay = 0.0


def _open(collector: Collector, adaptive: AdaptiveTier | None) -> Account:
    if collector.mode == ADAPTIVE and adaptive is not None:
        return Account(collector, StepSampler(collector, partial(adaptive.examine, collector)))
    # A call of a batch handler would be taken for an event.
    is_sampled = collector.mode == COROUTINE and collector.batch is None
    return Account(collector, StepSampler(collector) if is_sampled else None)
