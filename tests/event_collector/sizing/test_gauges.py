"""What the law is told of a queue: where events run, what they need, and at which price for many collectors."""

import sys
from collections.abc import Callable
from types import CodeType
from typing import Any

import pytest

from event_collector import Collector, Context, Payload
from event_collector.dispatch.permits import ConsumerLimits, Permits
from event_collector.handlers.collector import PROCESS
from event_collector.sizing.gauges import MANY, Gauges
from event_collector.sizing.sizes import Sizes
from event_collector.watching.metrics import Counts
from event_collector_workers.autoscaler import Autoscaler, MachineReading, Plan, ScalingLimits, Tier
from event_collector_workers.machine import Machine
from tests.event_collector.modes import Log


async def handler(payload: Payload[Any], ctx: Context) -> None:
    raise NotImplementedError


class Ground:
    """A queue with permits, and instruments that say what a test sets."""

    def __init__(self, *collectors: Collector) -> None:
        self.collectors = collectors
        self.permits = Permits(ConsumerLimits(1, 1000, autoscale=True))
        self.figures = self.gate = self
        self.refusal = None
        self.ready = self.ready_remote = self.attempts = 0
        self.service_total = self.cpu = self.now = 0.0
        self.sizes: list[int] = []

    busy = property(lambda self: self.permits.busy)
    size = property(lambda self: self.permits.size)
    active = property(lambda self: self.ready + self.permits.busy)

    def counts(self) -> Counts:
        raise NotImplementedError

    def rest(self, idle: bool) -> None:
        raise NotImplementedError

    def resize(self, size: int) -> None:
        self.permits.resize(size)

    def call_later(self, delay: float, callback: Callable[[], Any]) -> Any:
        raise NotImplementedError

    def call_soon(self, callback: Callable[[], Any]) -> None:
        raise NotImplementedError

    def process_time(self) -> float:
        return self.cpu

    def loop_time(self) -> float:
        return self.cpu

    def loop_delay(self) -> float:
        return 0.0

    def machine(self, now: float, own_cpu: float) -> MachineReading:
        return MachineReading(cpus=16.0)

    def sampler(self, collector: Collector, adaptive: Any) -> None:
        return None

    def gauges(self, *, in_groups: bool = True) -> Gauges:
        return Gauges(self, self.collectors, None, None, None, self, in_groups=in_groups)

    def read(self, gauges: Gauges) -> Any:
        self.now += 0.05
        return gauges.read(self.now, 0.05, 0.0)


def test_events_that_a_move_left_behind_are_not_those_of_the_new_place() -> None:
    """Events that end on the loop after the move, after long waiting there, do not look like waiting in workers."""
    collector = Collector("moving", handler, mode="adaptive")
    here, there = collector.usage, collector.remote_usage
    assert there is not None
    ground = Ground(collector)
    gauges = ground.gauges()
    for _ in range(40):
        here.began()
    (before,) = ground.read(gauges).collectors
    assert (before.tier, before.arrivals, before.running) == (Tier.COROUTINE, 40, 40)
    collector.move_to(PROCESS)
    for usage in (here, there):
        usage.began()
        usage.ended(0.02)
    for _ in range(30):
        here.ended(3.0)
    (after,) = ground.read(gauges).collectors
    assert (after.tier, after.completions, after.running) == (Tier.PROCESS, 1, 0)
    assert after.wall == pytest.approx(0.02)
    assert after.arrivals == 41


def test_what_a_move_left_behind_starts_no_workers() -> None:
    """With these readings the law starts as many workers as the events in workers need."""
    collector = Collector("moving", handler, mode="adaptive")
    here, there = collector.usage, collector.remote_usage
    assert there is not None
    ground = Ground(collector)
    gauges, law = ground.gauges(), Autoscaler(ScalingLimits(max_workers=512))
    for _ in range(100):
        here.began()
    collector.move_to(PROCESS)
    workers = []
    for _ in range(40):
        for _ in range(2):
            here.ended(3.0)
        for usage in (here, there):
            usage.began()
            usage.ended(0.02)
        workers.append(law.decide(ground.read(gauges)).workers)
    assert 1 <= max(workers) <= 8


def test_a_peak_of_events_in_workers_is_no_need_for_consumers() -> None:
    """Events that came and went in workers between two looks are not taken for coroutines."""
    collector = Collector("there", lambda payload, ctx: None, mode="process")
    ground = Ground(collector)
    gauges = ground.gauges()
    ground.read(gauges)
    for _ in range(5):
        assert ground.permits.take()
        collector.usage.began()
    for _ in range(5):
        ground.permits.give_back()
        collector.usage.ended(0.01)
    assert ground.read(gauges).consumers.busy == 0


def test_events_that_workers_hold_in_advance_are_queued() -> None:
    """An event that waits for a worker to start, or behind another one, does not run and does not grow old."""
    collector = Collector("there", lambda payload, ctx: None, mode="process")
    ground = Ground(collector)
    for _ in range(3):
        collector.usage.began()
    (reading,) = ground.read(ground.gauges()).collectors
    assert (reading.arrivals, reading.running, reading.queued) == (3, 0, 3)


def plan(consumers: int, ceiling: int) -> Plan:
    return Plan(consumers=consumers, workers=0, consumer_ceiling=ceiling)


def test_a_cap_acts_on_events_that_are_running() -> None:
    """With more events in handlers than a plan allows, those that end are not replaced until enough have ended."""
    ground = Ground(Collector("call", handler))
    gauges, sizes = ground.gauges(), Sizes(ground, None, None, lambda change: None, Log())
    sizes.follow(plan(366, 366), gauges)
    while ground.permits.take():
        pass
    assert ground.permits.busy == 366
    sizes.follow(plan(58, 58), gauges)
    for _ in range(366 - 58):
        ground.permits.give_back()
        assert not ground.permits.take()
    ground.permits.give_back()
    assert ground.permits.take()


def test_the_machine_counts_the_memory_of_workers_when_it_reads_the_others() -> None:
    """Both numbers are of one moment, and as old as each other afterwards."""
    in_workers = [100]
    machine = Machine(lambda: 0.0, lambda: in_workers[0], refresh=2.0)
    assert machine.read(0.0).memory_workers == 100
    in_workers[0] = 900
    assert machine.read(0.1).memory_workers == 100
    assert machine.read(0.3).memory_workers == 900


def many(number: int) -> list[Collector]:
    return [Collector(f"c{n}", handler, mode="coroutine") for n in range(number)]


def test_many_collectors_are_added_up() -> None:
    """Above a number of collectors the law gets one reading for each tier, with the sums of all."""
    ground = Ground(*many(1000))
    gauges = ground.gauges()
    for number, collector in enumerate(ground.collectors):
        collector.usage.began()
        if number % 2:
            collector.usage.ended(0.01)
    (sums,) = ground.read(gauges).collectors
    assert (sums.arrivals, sums.completions, sums.running) == (1000, 500, 500)
    assert sums.wall == pytest.approx(5.0)
    assert len(ground.read(ground.gauges(in_groups=False)).collectors) == 1000


def test_few_collectors_are_read_one_by_one() -> None:
    """Up to that number each has its own reading."""
    ground = Ground(*many(MANY))
    assert len(ground.read(ground.gauges()).collectors) == MANY


@pytest.mark.skipif(sys.version_info < (3, 12), reason="bytecodes are counted with sys.monitoring")
def test_a_decision_for_a_thousand_collectors_is_cheap() -> None:
    """A look at a thousand collectors, twenty of which had an event, and the decision of the law.

    Reading each of them took more than a hundred bytecodes for each, and deciding some three hundred.
    """
    ground = Ground(*many(1000))
    gauges, law = ground.gauges(), Autoscaler()
    counts = []
    for _ in range(5):
        for collector in ground.collectors[::50]:
            collector.usage.began()
            collector.usage.ended(0.01)
        counts.append(bytecodes(lambda: law.decide(ground.read(gauges))))
    assert max(counts[1:]) < 13_000


def bytecodes(call: Callable[[], Any]) -> int:
    """Return how many bytecodes run within a call."""
    counted = 0

    def count(code: CodeType, offset: int) -> None:
        nonlocal counted
        counted += 1

    monitoring = sys.monitoring  # type: ignore[attr-defined, unused-ignore]
    monitoring.use_tool_id(3, "test")
    try:
        monitoring.register_callback(3, monitoring.events.INSTRUCTION, count)
        monitoring.set_events(3, monitoring.events.INSTRUCTION)
        call()
    finally:
        monitoring.set_events(3, 0)
        monitoring.free_tool_id(3)
    return counted
