"""Several events in workers, and everything that may happen to workers, in every order: the queue works afterwards.

Dispatcher, worker tier and pool are real. The processes are simulated, so each takes its next step when told so.
"""

from itertools import permutations, product
from random import Random
from typing import Any

import pytest

from event_collector import Collector, CollectorEvent, Payload, QueueType, Retry, SimpleRouter, WorkerCrashed
from event_collector.dispatch.dispatcher import Dispatcher
from event_collector.dispatch.permits import ConsumerLimits
from event_collector.events.dead_letters import DeadLetters
from event_collector.handlers.delivery import DeliveryPlan
from event_collector.publisher import EventPublisher
from event_collector.tiers.workers.pool_factory import pool_factory
from event_collector.tiers.workers.worker_tier import WorkerTier
from event_collector.values.clock import TimeSource, clock
from event_collector.watching.metrics import Meter
from event_collector_workers.environment import DEFAULT_GROUP
from tests.event_collector.dispatch.simulation import JumpingLoop, Silence, turns
from tests.event_collector.sample_attempts import echo
from tests.workers.simulated_processes import SimulatedPool, SimulatedProcess

EVENTS = 9
"""More than the workers get at once after a slow one."""
LATER = 4
"""Events that are sent when all is over."""
TIMEOUT = 10.0
AGE = 100.0
FAULTS = ("crash", "timeout", "resize", "recycle")
"""Beside cancellations: of the first event that is left, or of many."""
CANCELLATIONS = ("cancel first", "cancel last", "cancel all")
STEPS = (*FAULTS, *CANCELLATIONS, "wait", "finish")
NO_RETRY: Retry | None = None
WITH_RETRY = Retry(max_attempts=3, backoff=0.5, on=(WorkerCrashed,))


class LoopTime(TimeSource):
    """The time of a loop that jumps."""

    def __init__(self, loop: JumpingLoop) -> None:
        self.monotonic = self.wall = loop.time


class Run:
    """One order of steps."""

    def __init__(self, workers: int, retry: Retry | None) -> None:
        self.loop = JumpingLoop(1000.0)
        self._time = clock.using(LoopTime(self.loop))
        self._time.__enter__()
        self._collector = Collector("p", echo, mode="process", timeout=TIMEOUT, retry=retry)
        collectors = {"p": self._collector}
        self.dispatcher = Dispatcher(
            queue_type=QueueType.FIFO, default_priority=1000, max_queue_size=0, overflow="wait",
            letters=DeadLetters(9, self._resend, lambda _: None, Silence()), limits=ConsumerLimits(1, 99, False),
            meter=Meter(events=10, rate_window=1, load_window=1, warmup=0, history=10),
            now=self.loop.time, chance=Random(1).random,
        )  # fmt: skip
        with pool_factory.making(self._make_pool):
            self.tier = WorkerTier(
                [self._collector], self.dispatcher, may_overtake=False, limits=None, log=Silence(),
                min_workers=0, max_workers=2, max_worker_age=AGE, startup_timeout=1e9,
            )  # fmt: skip
        starting = self.loop.create_task(self.tier.start(workers))
        self.turn()
        self.wait()
        assert starting.done()
        self._collector.attach(self.tier)
        plan = DeliveryPlan(SimpleRouter(collectors), collectors)
        self.dispatcher.open(self.loop, plan, {DEFAULT_GROUP: self.tier}, lambda: None)
        self.publisher = EventPublisher(self.dispatcher)
        self._size = workers
        self.ends: dict[CollectorEvent, Any] = {}
        self.events = self.send(EVENTS)
        self.turn()
        self.finish()  # a slow one: the workers hold more than they would get from now on
        self.turn()

    def _make_pool(self, *args: Any, **options: Any) -> SimulatedPool:
        self.pool = SimulatedPool(*args, **options)
        return self.pool

    async def _resend(self, letter: Any) -> CollectorEvent:
        return await self.publisher.resend(letter)

    def send(self, count: int) -> list[CollectorEvent]:
        return self.loop.run_until_complete(self.publisher.send_many(Payload(number) for number in range(count)))

    # Time

    def turn(self) -> None:
        """Have everything happen that takes no time, but for the start and the end of processes."""
        for _ in range(2):
            self.loop.run_until_complete(turns(3))
            for process in self.alive():
                if not process.is_killed:
                    process.proceed()
        self.loop.run_until_complete(turns(3))

    def advance(self, seconds: float) -> None:
        self.loop.now += seconds
        self.turn()

    def alive(self) -> list[SimulatedProcess]:
        return [process for process in self.pool.processes if process.is_alive]

    def busy(self) -> list[SimulatedProcess]:
        return [process for process in self.alive() if process.current is not None and not process.is_killed]

    # Steps

    def take(self, step: str) -> None:
        """Take a step, if it is possible."""
        what, _, which = step.partition(" ")
        getattr(self, what)(*which.split())
        self.turn()
        self.check()

    def crash(self) -> None:
        """End a process in its job."""
        for process in self.busy()[:1]:
            process.exit(-11)

    def finish(self) -> None:
        """Have a job end."""
        for process in self.busy()[:1]:
            process.finish()

    def timeout(self) -> None:
        """Have a job exceed its timeout."""
        for process in self.busy()[:1]:
            process.grow_old()
            self.advance(TIMEOUT + 1)

    def cancel(self, which: str) -> None:
        """Cancel the first of the events, or all but the first two, or all."""
        left = [event for event in self.events if not event.is_done()]
        chosen = {"first": left[:1], "last": left[2:], "all": left}[which]
        for event in chosen:
            event.cancel()

    def resize(self) -> None:
        """Have one worker in place of two, or two in place of one."""
        self._size = 3 - self._size
        self.tier.resize(self._size)

    def recycle(self) -> None:
        """Have the workers reach their age."""
        self.advance(AGE)

    def wait(self) -> bool:
        """Have processes end that were killed, and those become ready that were started."""
        waiting = [process for process in self.alive() if process.is_killed or not process.is_open]
        for process in waiting:
            if process.is_killed:
                process.exit(-9)
            else:
                process.open()
        self.turn()
        return bool(waiting)

    # What holds

    def check(self) -> None:
        """See that each event is in one place, or has ended once."""
        count = self.dispatcher.figures.accounting()
        assert count.accepted == sum(count[1:]), count
        assert min(count) >= 0, count
        for event in self.events:
            if event.is_done():
                assert self.ends.setdefault(event, event.get_result()) is event.get_result()
                assert len(event.get_result() or ()) == 1

    def drain(self, events: list[CollectorEvent]) -> None:
        """Let everything go on as it does in a program, until these events are done."""
        for _ in range(100):
            if all(event.is_done() for event in events):
                return
            self.wait()
            for process in self.busy():
                process.finish()
            self.advance(1.0)
        states = [event.place for event in events if not event.is_done()]
        raise AssertionError(
            f"{len(states)} events never end: {self.pool!r} {self.dispatcher!r}, e.g. in {states[0]!r}"
        )

    def end(self) -> None:
        """See that all events end, that later ones are processed, and that nothing is left."""
        self.drain(self.events)
        self.check()
        later = self.send(LATER)
        self.drain(later)
        assert [event.get_result().first().unwrap() for event in later] == list(range(LATER))  # type: ignore[union-attr]
        while self.wait():
            pass
        self.advance(1.0)
        count = self.dispatcher.figures.accounting()
        assert count.accepted == count.finished + count.dead == EVENTS + LATER
        assert (self.dispatcher.permits.busy, self._collector.usage.running) == (0, 0)
        assert (self.pool.outstanding, self.pool.backlog) == (0, 0)
        assert self.tier.room > 0
        assert self.tier.is_idle
        assert self.pool.statistics().ready == self._size

    def close(self) -> None:
        closing = self.loop.create_task(self.tier.abort())
        self.turn()
        while self.wait():
            pass
        try:
            assert closing.done()
        finally:
            self.dispatcher.close()
            self.turn()
            self.loop.close()
            self._time.__exit__(None, None, None)


def see(workers: int, retry: Retry | None, order: tuple[str, ...]) -> None:
    """Take the steps as far as they are possible, and see that the queue works afterwards."""
    run = Run(workers, retry)
    try:
        for step in order:
            run.take(step)
        run.end()
    except BaseException as exc:
        exc.add_note(f"workers: {workers}, retry: {retry}, order: {order}")
        raise
    finally:
        run.close()


def with_waits(order: tuple[str, ...], after: set[int]) -> tuple[str, ...]:
    """Return an order in which processes start and end after some of the steps."""
    return tuple(step for index, one in enumerate(order) for step in ((one, "wait") if index in after else (one,)))


ALWAYS, NEVER, MIDWAY = set(range(5)), set[int](), {2}
"""Steps of an order after which processes start and end."""


@pytest.mark.parametrize(
    ("workers", "retry", "after", "last"),
    [
        (1, NO_RETRY, ALWAYS, "cancel all"),
        (1, NO_RETRY, ALWAYS, "cancel last"),
        (1, NO_RETRY, MIDWAY, "cancel all"),
        (2, NO_RETRY, ALWAYS, "cancel first"),
        (2, NO_RETRY, NEVER, "cancel first"),
        (2, NO_RETRY, MIDWAY, "cancel last"),
        (2, WITH_RETRY, MIDWAY, "cancel last"),
    ],
)
def test_every_order_of_the_five_faults(workers: int, retry: Retry | None, after: set[int], last: str) -> None:
    """Whatever comes first, with time for the processes after each step, after none, and in between."""
    for order in permutations((last, *FAULTS)):
        see(workers, retry, with_waits(order, after))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("last", CANCELLATIONS)
@pytest.mark.parametrize("retry", [NO_RETRY, WITH_RETRY], ids=["no retry", "retry"])
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("first", range(5))
def test_every_order_of_the_five_faults_with_time_anywhere(
    first: int, workers: int, retry: Retry | None, last: str
) -> None:
    """Each order, with time for the processes after any of the steps, and one or many events cancelled."""
    faults = (last, *FAULTS)
    for others in permutations(faults[:first] + faults[first + 1 :]):
        for mask in range(32):
            order = with_waits((faults[first], *others), {index for index in range(5) if mask >> index & 1})
            see(workers, retry, order)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("depth", [1, pytest.param(3, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
@pytest.mark.parametrize("first", STEPS)
def test_every_sequence_of_few_steps(first: str, depth: int, workers: int) -> None:
    """Any step may follow any other, also the same one again."""
    for others in product(STEPS, repeat=depth):
        see(workers, NO_RETRY, (first, *others))
