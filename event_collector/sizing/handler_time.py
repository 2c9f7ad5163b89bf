"""CPU time and waiting time of each collector's handler."""

from collections.abc import Mapping, Sequence
from itertools import compress
from operator import attrgetter, ne
from typing import TYPE_CHECKING, Final, NamedTuple

from event_collector.handlers.collector import ADAPTIVE, COROUTINE, PROCESS, Collector
from event_collector.handlers.usage import Usage
from event_collector.sizing.step_samples import NO_TIME, Sample
from event_collector.tiers.adaptive import AdaptiveTier

if TYPE_CHECKING:
    from event_collector.sizing.instruments import Instruments, Sampler

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


MOST_AT_ONCE: Final = 2.0
"""Maximum CPU time that is attributed to events in workers at once, as a multiple of their time in the handler."""

_COMPLETIONS, _RUNNING = attrgetter("completions"), attrgetter("running")


class Account:
    """The times of one collector, in seconds.

    Attributes:
        completions, wall: events that have ended where the collector runs now or ran then, and their time in the
            handler. Events that a move has left behind are not among them: what they took says nothing of the new
            place.
        cpu: CPU time of these events.
        delay: time in which their handlers were ready to run, but waited for the event loop or for a CPU.
        fresh: events that have ended in this process since the last look.
        fresh_wall: time of these events in the handler.
        remote_wall: the same of those that have ended in workers.
        sampled: sum of the samples of the fresh events, those without a sample estimated; None without sampling.
        is_sampled: whether events are sampled for as long as that is worthwhile.
        preempted: time in their steps in which the thread of the loop had no CPU.
    """

    def __init__(self, collector: Collector, sampler: "Sampler | None") -> None:
        self.collector = collector
        self.completions = 0
        self.wall = self.cpu = self.delay = self.fresh_wall = self.remote_wall = self.preempted = 0.0
        self.fresh = 0
        self.sampled: Sample | None = None
        self._sampler = sampler
        self._place = collector.place
        self._seen = _totals(collector.usage)
        self._seen_remote = _totals(collector.remote_usage)
        self._mean: Sample | None = None
        self._weight = 0.0
        self.is_sampled = False
        if collector.mode == ADAPTIVE and sampler is not None:
            sampler.arm(EVENTS_A_LOOK)

    @property
    def remote_running(self) -> int:
        """Events that workers have."""
        usage = self.collector.remote_usage
        return 0 if usage is None else usage.running

    def rest(self) -> None:
        """Forget the events that had ended at the last look."""
        self.fresh, self.fresh_wall, self.remote_wall, self.sampled = 0, 0.0, 0.0, None

    def observe(self, *, worthwhile: bool) -> None:
        """Count the events that have ended since the last look, and sample the next ones if it is worthwhile."""
        collector, sampler = self.collector, self._sampler
        is_remote = self._count()
        if self._place != collector.place:
            self._place, self._mean, self._weight = collector.place, None, 0.0
        self.sampled = None
        if sampler is None or is_remote:
            return
        self.sampled = self._estimate(sampler.take())
        self.is_sampled = worthwhile
        if worthwhile or collector.mode == ADAPTIVE:
            sampler.arm(EVENTS_A_LOOK)
        else:
            self.stop()
            self._mean, self._weight = None, 0.0

    def _count(self) -> bool:
        """Divide the events that have ended between this process and the workers. Return whether it runs in workers."""
        there = 0
        if self.collector.remote_usage is not None:
            seen_there, seen_there_wall = self._seen_remote
            self._seen_remote = _totals(self.collector.remote_usage)
            there = max(0, self._seen_remote[0] - seen_there)
            self.remote_wall = max(0.0, self._seen_remote[1] - seen_there_wall)
        seen, seen_wall = self._seen
        self._seen = _totals(self.collector.usage)
        # The counters decrease when another queue, which starts at zero, continues with the collector.
        self.fresh = max(0, self._seen[0] - seen - there)
        self.fresh_wall = max(0.0, self._seen[1] - seen_wall - self.remote_wall)
        is_remote = self.collector.place == PROCESS
        self.completions += there if is_remote else self.fresh
        self.wall += self.remote_wall if is_remote else self.fresh_wall
        return is_remote

    def add(self, cpu: float, delay: float) -> None:
        """Add times of the events that ended in this process, up to their time in the handler."""
        if self.collector.place != PROCESS:
            cpu = min(max(0.0, cpu), self.fresh_wall)
            self.cpu += cpu
            self.delay += min(max(0.0, delay), self.fresh_wall - cpu)

    def add_remote(self, cpu: float, delay: float) -> None:
        """Add times of the events that ended in workers."""
        if self.collector.place == PROCESS:
            self.cpu += cpu
            self.delay += delay

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


class WorkersTime(NamedTuple):
    """The workers of one group, with times in seconds.

    Attributes:
        cpu, delay: CPU time of all of them so far, and the time for which they were ready to run but had no CPU.
        running: events in their handlers now.
        service: mean time of an event there.
    """

    cpu: float = 0.0
    delay: float = 0.0
    running: int = 0
    service: float = 0.0


class TimeAccounts:
    """The accounts of a queue's collectors. The monitor updates them with `look()`."""

    def __init__(
        self, collectors: Sequence[Collector], adaptive: AdaptiveTier | None, instruments: "Instruments"
    ) -> None:
        self.by_key = {one.key: Account(one, instruments.sampler(one, adaptive)) for one in collectors}
        self.fresh: list[Account] = []
        """The accounts in which anything has happened since the look before the last one."""
        self._usages = [one.usage for one in collectors]
        self._completions = list(map(_COMPLETIONS, self._usages))
        self._adaptive = [self.by_key[one.key] for one in collectors if one.mode == ADAPTIVE]
        self._remote_usages: dict[str, list[Usage]] = {}  # of each worker group
        for one in collectors:
            if one.remote_usage is not None:
                self._remote_usages.setdefault(one.worker_group, []).append(one.remote_usage)
        self.loop_busy = 0.0
        """Seconds for which the event loop, or adaptive handlers in threads, were on a CPU or ready to be."""
        self._instruments = instruments
        self._loop_cpu, self._loop_delay = instruments.loop_time(), instruments.loop_delay()
        self._groups = {name: _GroupTimes() for name in self._remote_usages}

    def look(self, elapsed: float, lag: float, workers: Mapping[str, WorkersTime]) -> None:
        """Update all accounts.

        `elapsed` is the time since the last look, and `lag` the time that a callback of the event loop waits for its
        turn, both in seconds. `workers` has the worker groups by name.
        """
        cpu = self._instruments.loop_time()
        spent, self._loop_cpu = max(0.0, cpu - self._loop_cpu), cpu
        worthwhile = lag > LATE or spent > WORTH_SAMPLING * elapsed
        self._observe(worthwhile=worthwhile)
        delay = self._instruments.loop_delay()
        preempted, self._loop_delay = max(0.0, delay - self._loop_delay), delay
        self.loop_busy += spent + preempted + self._share_threads()
        self._share_loop(spent, preempted, lag)
        there: dict[str, list[Account]] = {}
        for account in self.fresh:
            if account.remote_wall > 0.0:
                there.setdefault(account.collector.worker_group, []).append(account)
        for name, group in workers.items():
            if name in self._groups:
                self._groups[name].share(elapsed, group, there.get(name, []))

    def _observe(self, *, worthwhile: bool) -> None:
        """Observe the accounts in which anything has happened. Most of many collectors are quiet."""
        sampled = [] if worthwhile else [account for account in self.fresh if account.is_sampled]
        for account in self.fresh:
            account.rest()
        completions = list(map(_COMPLETIONS, self._usages))
        changed = compress(self.by_key.values(), map(ne, completions, self._completions))
        self._completions = completions
        self.fresh = list(dict.fromkeys([*changed, *self._adaptive, *sampled]))
        for account in self.fresh:
            account.observe(worthwhile=worthwhile)

    def remote_running(self, group: str) -> int:
        """Return the number of events that the workers of a group have."""
        return sum(map(_RUNNING, self._remote_usages.get(group, ())))

    def stop(self) -> None:
        """Stop sampling."""
        for account in self.by_key.values():
            account.stop()

    def _share_loop(self, spent: float, preempted: float, lag: float) -> None:
        """Attribute the loop's CPU time: by samples, or by number of events for collectors without samples."""
        here = [account for account in self.fresh if account.collector.home == COROUTINE]
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
        for account in self.fresh:
            if account.sampled is not None and account.collector.home != COROUTINE:
                account.add(account.sampled.cpu, 0.0)
                total += account.sampled.cpu
        return total


class _GroupTimes:
    """The times of one worker group that belong to no event yet: many take longer than from one look to the next."""

    def __init__(self) -> None:
        self._workers = WorkersTime()
        self._pending_cpu = self._pending_delay = self._pending_wall = 0.0

    def share(self, elapsed: float, workers: WorkersTime, there: list[Account]) -> None:
        """Attribute the time of the workers in proportion to the handler time of the events that ended there.

        A part is kept for the events that still run. Otherwise the first events of a batch would be given all of it,
        and the last ones nothing.
        """
        before, self._workers = self._workers, workers
        self._pending_cpu += max(0.0, workers.cpu - before.cpu)
        self._pending_delay += max(0.0, workers.delay - before.delay)
        self._pending_wall += 0.5 * (before.running + workers.running) * elapsed
        wall = sum(account.remote_wall for account in there)
        # The number of running events is a sample, so their time is limited to what such events may have taken.
        running = min(max(0.0, self._pending_wall - wall), 2.0 * workers.running * workers.service)
        ended = wall / (wall + running) if wall else 0.0
        # More than the time in the handler may be due to an earlier look: only the average must be right. Much more
        # is due to something else that the workers did.
        cpu = min(ended * self._pending_cpu, MOST_AT_ONCE * wall)
        delay = min(ended * self._pending_delay, MOST_AT_ONCE * wall)
        for account in there:
            part = account.remote_wall / wall
            account.add_remote(cpu * part, delay * part)
        if workers.running:
            self._pending_cpu -= cpu
            self._pending_delay -= delay
            self._pending_wall = running
        else:
            self._pending_cpu = self._pending_delay = self._pending_wall = 0.0


def _totals(usage: Usage | None) -> tuple[int, float]:
    return (0, 0.0) if usage is None else (usage.completions, usage.wall)
