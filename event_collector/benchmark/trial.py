"""The trial: measures all contenders in turn, until the figures are precise or the time is over."""

import math
from collections.abc import Callable, Sequence
from typing import Protocol

from event_collector.benchmark import concurrency
from event_collector.benchmark.recommendation import FEW_ROUNDS, profile_of
from event_collector.benchmark.trial_figures import Contender, Measured, Readiness, RoundOrder, RoundResult
from event_collector.watching.tables import size

PRECISE = 0.03  # the half-width of the interval of a throughput, as a share of it, that needs no more rounds
SEARCH = 0.3  # the share of the time for the search for the number of events in flight
MIN_ROUNDS = 3  # short rounds that are completed even if they take up to 1.5 times the time
ROUNDS = 8  # rounds among which the rest of the time is divided at first
WORTHWHILE = 0.001  # seconds that an event must take for more workers than CPUs to be tried
GAIN = 1.1  # the rise of the throughput from which the search goes on
MAX_ROUND = 1.0  # seconds of a round
MIN_ROUND = 0.1
MAX_EVENTS = 50_000  # upper limit of the events of one round, whose values are created before it begins
UNLIMITED = 1e9  # seconds of a round that ends by its number of events only
BATCH_SIZES = (1, 4, 16, 64, 256)  # sizes of batches that are compared
MAX_BATCHED = 8192  # upper limit of the events in flight for a batch handler
GRACE = 10.0  # seconds an answer may take after the end of the time


class SubjectFailed(Exception):
    """A contender cannot be measured, or no longer; the text says why."""


class Subject(Protocol):
    """One contender, ready to be measured."""

    readiness: Readiness

    def round(self, order: RoundOrder, timeout: float) -> RoundResult:
        """Run one round; raises SubjectFailed if it does not answer within `timeout` seconds, or has ended."""

    def close(self, *, at_once: bool = False) -> None:
        """End the subject; `at_once` without an orderly end of its queue."""


def contenders_of(*, asynchronous: bool, workers: Sequence[int], modes: Sequence[str] = ()) -> list[Contender]:
    """Return the contenders of a handler, for each of these numbers of workers; only those in `modes`, if not empty."""
    ways = [Contender("coroutine", rewritten=not asynchronous)]
    if not asynchronous:
        ways.append(Contender("thread"))
    ways += [Contender("process", workers=number) for number in workers]
    return [one for one in ways if not modes or one.mode in modes]


def batch_contenders_of(*, mode: str, workers: Sequence[int], modes: Sequence[str] = ()) -> list[Contender]:
    """Return the contenders of a batch handler: one for each size, in its own mode or in `modes`."""
    return [
        Contender(one, workers=number, batch=batch)
        for one in modes or [mode]
        for number in (workers if one == "process" else [0])
        for batch in BATCH_SIZES
    ]


def worker_counts(cpus: int) -> list[int]:
    """Return numbers of worker processes that show how a handler scales: one, a quarter of the CPUs, all of them."""
    return sorted({1, math.ceil(cpus / 4), cpus})


class Trial:
    """Measures contenders for about `seconds`, and at each step shows the contenders so far and the name of the step.

    Args:
        open_subject: prepares a contender; may raise SubjectFailed.
        events: events of each round; None to choose by their duration.
        max_events: upper limit of the events of a round, whose values are in memory.
        max_memory: bytes at which a contender is stopped.
        cpus: CPUs granted. A handler that waits is also measured with more workers than CPUs; 0 to disable this.
    """

    def __init__(
        self,
        open_subject: Callable[[Contender], Subject],
        *,
        seconds: float,
        events: int | None = None,
        max_events: int = MAX_EVENTS,
        max_memory: float = math.inf,
        cpus: int,
        clock: Callable[[], float],
        show: Callable[[Sequence[Measured], str], None] = lambda _field, _doing: None,
    ) -> None:
        self._open_subject = open_subject
        self._events, self._max_events, self._cpus = events, max(1, min(MAX_EVENTS, max_events)), cpus
        self._clock, self._show = clock, show
        self._seconds, self._max_memory = seconds, max_memory
        self._starting = 0.0  # seconds of preparing subjects
        self._asked, self._overhead = 0, 0.0  # rounds, and the seconds they took outside of the measurement
        self._began = clock()
        self._field: list[tuple[Measured, Subject]] = []
        self.found: list[Measured] = []
        """The contenders with what was measured so far."""
        self.settled = False
        """Whether the trial ended because the figures were precise."""

    def run(self, contenders: Sequence[Contender]) -> list[Measured]:
        """Measure the contenders and return the results."""
        is_complete = False
        try:
            for number, contender in enumerate(contenders):
                self._enter(contender, len(contenders) - number)
            self._enter_more_workers()
            self._measure()
            is_complete = True
        finally:
            for _, subject in self._field:
                subject.close(at_once=not is_complete)
        return self.found

    @property
    def used(self) -> float:
        """Seconds since the beginning."""
        return self._clock() - self._began

    def _left(self, share: float = 1.0) -> float:
        return self._seconds * share - self.used

    def _enter(self, contender: Contender, waiting: int) -> None:
        """Prepare a contender and search for the number of events in flight that is enough for it."""
        measured = Measured(contender)
        self.found.append(measured)
        self._show(self.found, f"starting {measured.label}")
        begun = self.used
        try:
            subject = self._open_subject(contender)
        except SubjectFailed as exc:
            measured.refuse(str(exc))
            return
        finally:
            self._starting += self.used - begun
        measured.note_readiness(subject.readiness)
        self._field.append((measured, subject))
        try:
            self._search(measured, subject, max(0.0, self._left(SEARCH) + self._starting) / waiting)
        except SubjectFailed as exc:
            self._drop(measured, str(exc))

    def _search(self, measured: Measured, subject: Subject, seconds: float) -> None:
        end = self.used + seconds
        first = self._ask(subject, RoundOrder(1, 1, 0.0))  # a warm-up
        pause = max(0.02, min(0.15, seconds / 6))
        alone = self._ask(subject, RoundOrder(1, self._number(first.rate, 1, pause), pause))
        alone = self._ask(subject, RoundOrder(1, self._number(alone.rate, 1, pause), pause))
        busy = min(1.0, (alone.own_cpu + alone.worker_cpu) / alone.seconds)
        measured.note_alone(alone, busy)
        if measured.profile is not None and measured.profile.wall:  # blocking steps run one at a time
            busy = max(busy, min(1.0, measured.profile.block / measured.profile.wall))
        contender, idle = measured.contender, 0
        calls = concurrency.numbers_to_try(contender.mode, contender.workers, alone.p50, busy, end - self.used)
        for number in concurrency.of_batches(calls, contender.batch, MAX_BATCHED):
            self._show(self.found, f"{measured.label}, {number} at once")
            rate = max(measured.tries.values())
            # At least twice the events in flight: the first and the last events of a round are not typical.
            events = max(2 * number, self._number(rate, number, pause))
            tried = measured.note_try(self._ask(subject, RoundOrder(number, events, MAX_ROUND)))
            idle = idle + 1 if tried < GAIN * rate else 0
            if idle == 2:  # a single one may be noise
                break

    def _number(self, rate: float, in_flight: int, seconds: float) -> int:
        return max(in_flight, min(self._max_events, math.ceil(1.2 * rate * seconds)))

    def _ask(self, subject: Subject, order: RoundOrder) -> RoundResult:
        begun = self.used
        result = subject.round(order, max(0.0, self._left()) + GRACE)
        self._asked += 1
        self._overhead += max(0.0, self.used - begun - result.seconds)
        memory = result.own_memory + result.worker_memory
        if memory > self._max_memory:
            raise SubjectFailed(f"stopped when its memory had reached {size(memory)}")
        return result

    def _drop(self, measured: Measured, reason: str) -> None:
        measured.refuse(reason)
        for entry in [entry for entry in self._field if entry[0] is measured]:
            self._field.remove(entry)
            entry[1].close()

    def _enter_more_workers(self) -> None:
        """Add a contender with more workers than CPUs if workers wait for most of their time."""
        full = next((one for one, _ in self._field if one.contender.workers == self._cpus), None)
        if full is None or self._left(SEARCH) + self._starting <= 0:
            return
        profile = profile_of(self.found)
        # Without a profile: a worker that always has an event is idle while its handler waits.
        busy = full.busy_alone if profile is None or not profile.wall else profile.cpu / profile.wall
        workers = concurrency.saturating_workers(self._cpus, busy)
        if workers > 1.5 * self._cpus and full.alone > WORTHWHILE:
            self._enter(Contender("process", workers=workers), 1)

    def _measure(self) -> None:
        share = max(0.0, self._left()) / ROUNDS / max(1, len(self._field)) - self._overhead / max(1, self._asked)
        pause, number = max(MIN_ROUND, min(MAX_ROUND, share)), 0
        while self._field and not self._is_done(pause, number):
            turn = number % len(self._field)
            for measured, subject in [*self._field[turn:], *self._field[:turn]]:
                self._show(self.found, f"round {number + 1}")
                try:
                    measured.add_round(self._ask(subject, self._order(measured, pause)))
                except SubjectFailed as exc:
                    self._drop(measured, str(exc))
            number += 1

    def _order(self, measured: Measured, seconds: float) -> RoundOrder:
        contender = measured.contender
        number = concurrency.knee(measured.tries, least=max(1, contender.workers) * max(1, contender.batch))
        events = self._events or max(2 * number, self._number(max(measured.tries.values()), number, seconds))
        return RoundOrder(number, events, UNLIMITED if self._events else seconds)

    def _is_done(self, pause: float, number: int) -> bool:
        if number == 0:
            return False
        # A round is expected to take as long as the last one.
        longest = sum(one.rounds[-1].seconds for one, _ in self._field if one.rounds)
        if number < MIN_ROUNDS and longest < self._seconds / 2 and self._left() > -self._seconds / 2:
            return False  # on a busy machine the search takes long; a few more rounds are worth the time
        if self._left() < max(longest, pause * len(self._field) / 2):
            return True
        self.settled = number > FEW_ROUNDS and all(one.rate.half_width <= PRECISE for one, _ in self._field)
        return self.settled
