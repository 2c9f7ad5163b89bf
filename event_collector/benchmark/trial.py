"""The trial: all contenders, measured in turn, until the figures are sure or the time is over."""

import math
from collections.abc import Callable, Sequence
from typing import Protocol

from event_collector.benchmark import concurrency
from event_collector.benchmark.figures import Contender, Opening, Order, Round
from event_collector.benchmark.measured import Measured
from event_collector.benchmark.recommendation import FEW_ROUNDS, profile_of

__all__ = ["Subject", "SubjectFailed", "Trial", "contenders_of", "crews"]

SURE = 0.03
"""The half-width of the interval of a throughput, as a share of it, from which on more rounds are not needed."""
SEARCH = 0.3
"""The share of the time that may be spent on finding how many events at once are enough."""
LEAST_ROUNDS = 3
"""Rounds for which half as much time again is taken, if they are short."""
ROUNDS = 8
"""Rounds that the rest of the time is shared out to, at first."""
WORTHWHILE = 0.001
"""Seconds that an event must take for workers to be worth their waiting."""
GAIN = 1.1
"""By how much the throughput must rise for even more events at once to be tried."""
LONGEST = 1.0
SHORTEST = 0.1
MAX_EVENTS = 50_000
"""Events of one round: their values are made before it begins."""
UNLIMITED = 1e9
"""Seconds of a round that only its number of events ends."""
GRACE = 10.0
"""Seconds an answer may take beyond the end of the time."""


class SubjectFailed(Exception):
    """A contender cannot be measured, or no more; the text says why."""


class Subject(Protocol):
    """One contender, ready to be measured."""

    opening: Opening

    def round(self, order: Order, timeout: float) -> Round:
        """Run one round.

        Raises:
            SubjectFailed: there is no answer within `timeout` seconds, or an end instead.

        """

    def close(self, *, at_once: bool = False) -> None:
        """End it."""


def contenders_of(
    *, asynchronous: bool, workers: Sequence[int], modes: Sequence[str] = ()
) -> list[Contender]:
    """Return the ways a handler can run.

    Args:
        asynchronous: whether it is an `async def`.
        workers: numbers of worker processes.
        modes: only these; none for all.

    """
    ways = [Contender("coroutine", rewritten=not asynchronous)]
    if not asynchronous:
        ways.append(Contender("thread"))
    ways += [Contender("process", workers=number) for number in workers]
    return [one for one in ways if not modes or one.mode in modes]


def crews(cpus: int) -> list[int]:
    """Return numbers of worker processes that show how the handler scales: one, a quarter of the CPUs, all."""
    return sorted({1, math.ceil(cpus / 4), cpus})


class Trial:
    """Measures contenders.

    Args:
        open_subject: makes one ready; may raise SubjectFailed.
        seconds: how long it may take.
        events: events of each round; None for as many as take a while.
        max_events: at most so many, since their values have to be in memory.
        max_memory: bytes at which a contender is stopped, before it hurts the machine.
        cpus: CPUs granted. A handler that waits in its worker is measured with more workers than these as well.
            0: only as told.
        clock: tells the seconds.
        show: is called now and then with the contenders so far and a word on what is done.

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
        self._seconds = seconds
        self._max_memory = max_memory
        self._starting = 0.0  # seconds for which subjects became ready
        self._asked, self._beside = 0, 0.0  # rounds, and the seconds that they took beside what they measured
        self._began = clock()
        self._field: list[tuple[Measured, Subject]] = []
        self._found: list[Measured] = []
        self.settled = False
        """Whether it ended because the figures were sure."""

    @property
    def found(self) -> list[Measured]:
        """The contenders, with what was measured so far."""
        return self._found

    def run(self, contenders: Sequence[Contender]) -> list[Measured]:
        """Measure them and return what was found."""
        try:
            for number, contender in enumerate(contenders):
                self._enter(contender, len(contenders) - number)
            self._enter_crowd()
            self._measure()
        except BaseException:
            self._close(at_once=True)
            raise
        self._close()
        return self._found

    def _close(self, *, at_once: bool = False) -> None:
        for _, subject in self._field:
            subject.close(at_once=at_once)

    @property
    def used(self) -> float:
        """Seconds since the beginning."""
        return self._clock() - self._began

    def _left(self, share: float = 1.0) -> float:
        return self._seconds * share - self.used

    def _enter(self, contender: Contender, waiting: int) -> None:
        """Make a contender ready and find out how many events at once are enough for it."""
        measured = Measured(contender)
        self._found.append(measured)
        self._show(self._found, f"starting {measured.label}")
        begun = self.used
        try:
            subject = self._open_subject(contender)
        except SubjectFailed as exc:
            measured.refusal = str(exc)
            return
        finally:
            self._starting += self.used - begun
        measured.profile, measured.freight = subject.opening.profile, subject.opening.freight
        self._field.append((measured, subject))
        try:
            self._search(measured, subject, max(0.0, self._left(SEARCH) + self._starting) / waiting)
        except SubjectFailed as exc:
            self._drop(measured, str(exc))

    def _search(self, measured: Measured, subject: Subject, seconds: float) -> None:
        end = self.used + seconds
        first = self._ask(subject, Order(1, 1, 0.0))  # it warms up what is lazy
        pause = max(0.02, min(0.15, seconds / 6))
        alone = self._ask(subject, Order(1, self._number(first.rate, 1, pause), pause))
        alone = self._ask(subject, Order(1, self._number(alone.rate, 1, pause), pause))
        measured.alone = alone.p50
        measured.tries[1] = alone.rate
        busy = min(1.0, (alone.own_cpu + alone.worker_cpu) / alone.seconds)
        measured.busy_alone = 1.0 if alone.failed else busy
        if measured.profile is not None and measured.profile.wall:  # what blocks the loop runs one at a time
            busy = max(busy, min(1.0, measured.profile.block / measured.profile.wall))
        contender, idle = measured.contender, 0
        for number in concurrency.steps(contender.mode, contender.workers, alone.p50, busy, end - self.used):
            self._show(self._found, f"{measured.label}, {number} at once")
            rate = max(measured.tries.values())
            # Twice as many as are in flight at once, at least: the first and the last are not like the others.
            events = max(2 * number, self._number(rate, number, pause))
            measured.tries[number] = self._ask(subject, Order(number, events, LONGEST)).rate
            idle = idle + 1 if measured.tries[number] < GAIN * rate else 0
            if idle == 2:  # one alone may be bad luck
                break

    def _number(self, rate: float, in_flight: int, seconds: float) -> int:
        return max(in_flight, min(self._max_events, math.ceil(1.2 * rate * seconds)))

    def _ask(self, subject: Subject, order: Order) -> Round:
        begun = self.used
        found = subject.round(order, max(0.0, self._left()) + GRACE)
        self._asked += 1
        self._beside += max(0.0, self.used - begun - found.seconds)
        memory = found.own_memory + found.worker_memory
        if memory > self._max_memory:
            raise SubjectFailed(f"stopped when its memory had reached {memory / 1e6:,.0f} MB")
        return found

    def _drop(self, measured: Measured, reason: str) -> None:
        measured.refusal = reason
        for entry in [entry for entry in self._field if entry[0] is measured]:
            self._field.remove(entry)
            entry[1].close()

    def _enter_crowd(self) -> None:
        """Add more workers than CPUs where workers wait for most of their time."""
        full = next((one for one, _ in self._field if one.contender.workers == self._cpus), None)
        if full is None or self._left(SEARCH) + self._starting <= 0:
            return
        profile = profile_of(self._found)
        # Without a look at the handler: a worker that has an event all the time is idle while that waits.
        busy = full.busy_alone if profile is None or not profile.wall else profile.cpu / profile.wall
        workers = concurrency.crowd(self._cpus, busy)
        if workers > 1.5 * self._cpus and full.alone > WORTHWHILE:
            self._enter(Contender("process", workers=workers), 1)

    def _measure(self) -> None:
        share = max(0.0, self._left()) / ROUNDS / max(1, len(self._field)) - self._beside / max(
            1, self._asked
        )
        pause, number = max(SHORTEST, min(LONGEST, share)), 0
        while self._field and not self._is_done(pause, number):
            turn = number % len(self._field)
            for measured, subject in [*self._field[turn:], *self._field[:turn]]:
                self._show(self._found, f"round {number + 1}")
                try:
                    measured.rounds.append(self._ask(subject, self._order(measured, pause)))
                except SubjectFailed as exc:
                    self._drop(measured, str(exc))
            number += 1

    def _order(self, measured: Measured, seconds: float) -> Order:
        number = concurrency.knee(measured.tries, least=max(1, measured.contender.workers))
        events = self._events or max(2 * number, self._number(max(measured.tries.values()), number, seconds))
        return Order(number, events, UNLIMITED if self._events else seconds)

    def _is_done(self, pause: float, number: int) -> bool:
        if number == 0:
            return False
        # A round takes as long as the last one did, unless it is cut short.
        longest = sum(one.rounds[-1].seconds for one, _ in self._field if one.rounds)
        if number < LEAST_ROUNDS and longest < self._seconds / 2 and self._left() > -self._seconds / 2:
            return False  # a busy machine made the search long: a little more time makes the difference
        if self._left() < max(longest, pause * len(self._field) / 2):
            return True
        self.settled = number > FEW_ROUNDS and all(one.rate.half_width <= SURE for one, _ in self._field)
        return self.settled
