"""How many worker processes there really are: ahead of need, within the budget, none when idle. On a fixed machine."""

import asyncio
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from event_collector import Collector, CollectorQueue, Context, Payload
from event_collector_workers.autoscaler import Autoscaler, MachineReading, Plan, Readings, ScalingLimits, Tuning
from event_collector_workers.machine import Machine
from tests.event_collector.modes import BOUND, CountingSelector, Log, hurry, until
from tests.event_collector.sample_handlers import act_async
from tests.event_collector.sizing.sample_scaling import BALLAST, compute, slow_start, takes_memory


@pytest.fixture
def grant(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have the machine grant what a test says, whatever else runs on it."""

    def say(reading: Callable[[], MachineReading]) -> None:
        monkeypatch.setattr(Machine, "read", lambda self, now: reading())

    return say


async def most_workers(queue: CollectorQueue, events: int, seconds: float) -> int:
    """Have so many events computed, and return the most workers that there were meanwhile, or should have been."""
    for _ in range(events):
        await queue.get_publisher().send(Payload(seconds))
    most = 0
    while queue.accounting().finished < events:
        metrics = queue.get_metrics()
        most = max(most, metrics.workers, metrics.target_workers)
        await asyncio.sleep(0.01)
    return most


@pytest.mark.parametrize("lifecycle", [slow_start, None])
async def test_workers_that_start_slowly_are_started_ahead_of_need(lifecycle: Any, grant: Callable[..., None]) -> None:
    """Before the first event some are ready, and stay although nothing happens; where it is quick there are none."""
    grant(lambda: MachineReading(cpus=8.0))
    law = Autoscaler(ScalingLimits(max_workers=4), Tuning(slow_start=0.45, warm_startup=0.5, idle=0.1))
    if lifecycle is None:
        # How long a worker stays depends on how long it took to start, which may be long on a busy machine.
        tuning = Tuning(slow_start=60.0, idle=0.1, worker_calm=0.5, worker_hold_startups=0.0)
        law = Autoscaler(ScalingLimits(max_workers=4), tuning)
    queue = CollectorQueue([Collector("c", compute, lifecycle=lifecycle)], law=law, max_workers=4, logging=False)
    wanted = 3 if lifecycle is not None else 0
    async with asyncio.timeout(BOUND), queue:
        await until(lambda: queue.get_metrics().workers == wanted, "workers are as many as they should be")
        await asyncio.sleep(0.3)
        metrics = queue.get_metrics()
    assert (metrics.workers, metrics.target_workers, metrics.event_count) == (wanted, wanted, 0)


async def test_a_burst_starts_no_more_workers_than_the_cpus_can_feed(grant: Callable[..., None]) -> None:
    """On two cores a rush of events that compute has a few workers, not the sixteen that are allowed."""
    grant(lambda: MachineReading(cpus=2.0))
    queue = CollectorQueue([Collector("c", compute)], max_workers=16, logging=False)
    async with asyncio.timeout(2 * BOUND), queue:
        most = await most_workers(queue, 60, 0.05)
    assert 2 <= most <= 6


async def test_a_burst_starts_no_more_workers_than_fit_into_the_memory(grant: Callable[..., None]) -> None:
    """With room for three workers there are three, however long the queue and however many cores."""
    base, worker = 1 << 30, BALLAST + (30 << 20)
    queue = CollectorQueue([Collector("c", compute, lifecycle=takes_memory)], max_workers=8, logging=False)

    def reading() -> MachineReading:
        in_workers = queue.get_metrics().workers * worker
        limit = int((base + 3.7 * worker) / 0.95)
        return MachineReading(cpus=16.0, memory_limit=limit, memory_used=base + in_workers, memory_workers=in_workers)

    grant(reading)
    async with asyncio.timeout(2 * BOUND), queue:
        most = await most_workers(queue, 200, 0.02)
    assert 1 <= most <= 5  # one more while another one leaves


def children() -> set[int]:
    """The processes below this one."""
    return {process.pid for process in psutil.Process().children(recursive=True)}


def test_an_idle_queue_has_no_workers_and_is_silent() -> None:
    """After a rush the processes go, the loop sleeps, and nothing was logged that a user would have to read."""
    log, selector = Log(), CountingSelector()
    before = children()

    async def scenario() -> int:
        collectors = [Collector("c", compute), Collector("a", compute, mode="adaptive")]
        # Where the machine is so busy that a worker takes seconds to start, one would be kept.
        law = Autoscaler(ScalingLimits(max_workers=2, patience=1 / 60), Tuning(slow_start=60.0))
        queue = CollectorQueue(collectors, max_workers=2, law=law, log=log)
        async with asyncio.timeout(BOUND), queue:
            for _ in range(50):
                await queue.get_publisher().send(Payload(0.0))
            await queue.get_publisher().wait()
            await until(lambda: queue.get_metrics().workers == 0, "the workers are gone")
            await until(lambda: queue.consumer_count() == 1, "the consumers are gone")
            # What is left is the process that forks workers, and the standard library's own beside it.
            await until(lambda: len(children() - before) <= 2, "the processes are gone")
            turns = selector.turns
            await asyncio.sleep(0.5)
            return selector.turns - turns

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        assert runner.run(scenario()) < 20
    assert [line for line in log.lines if line[0] != "debug"] == []


class Told:
    """A law that wants what a test says."""

    def __init__(self, consumers: int) -> None:
        self.consumers = consumers
        self.asked_for = 0

    def decide(self, readings: Readings) -> Plan:
        self.asked_for = self.consumers
        return Plan(consumers=self.consumers, workers=0, consumer_ceiling=self.consumers)


async def test_a_law_that_wants_fewer_consumers_than_are_busy_gets_them() -> None:
    """With a backlog, events that end make no room for others until no more run than the law wants."""
    law, doors, running = Told(10), [], 0

    async def wait(payload: Payload[Any], ctx: Context) -> None:
        nonlocal running
        running += 1
        door = asyncio.Event()
        doors.append(door)
        await door.wait()
        running -= 1

    queue = CollectorQueue([Collector("c", wait)], law=law, max_consumers=10, logging=False)
    async with asyncio.timeout(BOUND), queue:
        for _ in range(40):
            await queue.get_publisher().send(Payload(None))
        await until(lambda: running == 10, "as many run as the law wants")
        law.consumers = 3
        await until(lambda: queue.consumer_count() == 3, "the law was followed")
        while queue.accounting().finished < 7:
            doors.pop(0).set()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert running == 3
        while queue.accounting().finished < 40:
            assert running <= 3
            for door in doors:
                door.set()
            await asyncio.sleep(0)


class Fails:
    """A law, and a log, of an application that raise whenever they are used."""

    def __init__(self) -> None:
        self.asked = 0

    def decide(self, readings: Readings) -> Plan:
        self.asked += 1
        raise LookupError("no plan")

    def __getattr__(self, level: str) -> Any:
        def fail(event: str, **fields: Any) -> None:
            if level == "error":
                raise BrokenPipeError("nobody reads this log")

        return fail


def test_a_law_and_a_log_that_fail_do_not_end_the_looks() -> None:
    """Whatever of the application's own raises when the queue is looked at, it is looked at again, and events go on."""
    failing, reported = Fails(), []

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, report: reported.append(report))
        queue = CollectorQueue([Collector("c", act_async)], law=failing, log=failing)
        async with asyncio.timeout(BOUND), queue:
            await until(lambda: failing.asked >= 3, "the third look")
            await (await queue.get_publisher().send(Payload(["echo", 1]))).wait()

    with hurry(0.01):
        asyncio.run(scenario())
    assert {type(report["exception"]) for report in reported} == {BrokenPipeError}
