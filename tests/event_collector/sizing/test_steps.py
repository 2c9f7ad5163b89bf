"""Samples of what a handler's steps take, and whose time it was."""

import asyncio
import gc
import inspect
import time
from collections.abc import Callable
from typing import Any

import pytest

from event_collector import Collector, CollectorQueue, Context, Delivery, Error, Payload
from event_collector.sizing.handler_time import TimeAccounts, WorkersTime
from event_collector.sizing.instruments import RealInstruments
from event_collector.sizing.step_samples import StepSampler
from event_collector_workers.environment import DEFAULT_GROUP
from tests.event_collector.modes import BOUND, Log, until
from tests.event_collector.tiers import sample_adaptive
from tests.event_collector.tiers.sample_adaptive import block, spin


async def mixed(payload: Payload[Any], ctx: Context) -> Any:
    """Three steps: computes, waits, sleeps without await, waits, answers."""
    spin(0.01)
    await asyncio.sleep(0.02)
    time.sleep(0.01)
    await asyncio.sleep(0)
    return payload.value


async def test_a_sample_has_the_steps_of_one_event() -> None:
    """CPU time and time on the loop are told apart, and waiting is in neither."""
    collector = Collector("c", mixed)
    sampler = StepSampler(collector)
    sampler.arm(1)
    assert await collector.process(Payload(5)) == 5
    assert await collector.process(Payload(6)) == 6
    (sample,) = sampler.take()
    assert sample.steps == 3
    assert 0.01 <= sample.cpu < sample.held
    assert sample.held >= 0.02
    assert sampler.take() == []
    assert collector.processor is mixed


async def test_sampled_handlers_behave_as_ever() -> None:
    """A sampled event fails, is cancelled, knows its task and its context variables as any other."""

    async def act(payload: Payload[Any], ctx: Context) -> Any:
        if payload.value == "fail":
            raise KeyError("lost")
        if payload.value == "task":
            return asyncio.current_task()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "cancelled"

    collector = Collector("c", act)
    sampler = StepSampler(collector)
    sampler.arm(10)
    assert inspect.iscoroutinefunction(inspect.unwrap(collector.processor))
    assert "act" in collector.processor.__qualname__
    with pytest.raises(KeyError, match="lost"):
        await collector.process(Payload("fail"))
    assert await collector.process(Payload("task")) is asyncio.current_task()
    waiting = asyncio.create_task(collector.process(Payload("wait")))
    await asyncio.sleep(0)
    waiting.cancel()
    assert await waiting == "cancelled"
    assert len(sampler.take()) == 2


def test_sampled_events_that_fail_form_no_cycle() -> None:
    """An exception that was thrown into a sampled handler, or left it, is gone with the last reference to it."""

    async def fail(payload: Payload[Any], ctx: Context) -> None:
        await asyncio.sleep(60)

    async def scenario() -> None:
        collector = Collector("c", fail)
        sampler = StepSampler(collector)
        for _ in range(20):
            sampler.arm(1)
            task = asyncio.create_task(collector.process(Payload(None)))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])

    gc.collect()
    gc.disable()
    try:
        asyncio.run(scenario())
        before = gc.collect()
        asyncio.run(scenario())
        assert gc.collect() <= before + 5
    finally:
        gc.enable()


async def test_two_queues_may_sample_one_collector() -> None:
    """A collector that two queues share has its own handler again when both have had their samples."""
    collector = Collector("c", mixed)
    first = StepSampler(collector)
    first.arm(3)
    second = StepSampler(collector)
    second.arm(1)
    for _ in range(3):
        await collector.process(Payload(1))
    assert len(first.take()) == 3
    second.arm(1)
    await collector.process(Payload(1))
    assert len(second.take()) == 1
    assert collector.processor is mixed


async def test_a_handler_that_was_exchanged_meanwhile_stays() -> None:
    """Whoever sets `processor` while samples are taken has the last word."""

    async def other(payload: Payload[Any], ctx: Context) -> str:
        return "other"

    collector = Collector("c", mixed)
    sampler = StepSampler(collector)
    sampler.arm(5)
    collector.processor = other
    sampler.disarm()
    sampler.arm(5)
    assert await collector.process(Payload(1)) == "other"


async def test_the_one_that_computes_gets_the_cpu_time() -> None:
    """Of two collectors with as many events each, the account of the one that computes has nearly all of it."""

    async def busy(payload: Payload[Any], ctx: Context) -> None:
        spin(0.004)
        await asyncio.sleep(0)

    async def calm(payload: Payload[Any], ctx: Context) -> None:
        await asyncio.sleep(0.004)

    collectors = [Collector("busy", busy), Collector("calm", calm)]
    accounts = TimeAccounts(collectors, None, RealInstruments(None))
    for _ in range(20):
        before = time.monotonic()
        for _ in range(5):
            for collector in collectors:
                await collector.process(Payload(None))
        accounts.look(time.monotonic() - before, 0.02, {})
    took = {key: account.cpu for key, account in accounts.by_key.items()}
    assert took["busy"] > 0.3
    assert took["calm"] < 0.1 * took["busy"]
    accounts.stop()
    assert [collector.processor for collector in collectors] == [busy, calm]


async def test_waiting_for_the_loop_is_delay_and_not_waiting() -> None:
    """What a step has to wait for its turn on a busy loop is told from waiting for anything else."""

    async def steps(payload: Payload[Any], ctx: Context) -> None:
        for _ in range(4):
            await asyncio.sleep(0.02)

    collector = Collector("c", steps)
    accounts = TimeAccounts([collector], None, RealInstruments(None))
    for _ in range(2):
        await collector.process(Payload(None))
        accounts.look(0.1, 0.015, {})
    # The second event was sampled: five steps, before four of which it waited for its turn.
    assert 4 * 0.015 <= accounts.by_key["c"].delay < 0.1


async def test_the_time_of_workers_is_shared_by_the_time_in_them() -> None:
    """CPU time and delay of all workers go to their collectors in proportion to the time of their events."""
    collectors = [Collector("a", mixed, mode="process"), Collector("b", mixed, mode="process")]
    accounts = TimeAccounts(collectors, None, RealInstruments(None))
    collectors[0].usage.took(3.0)
    collectors[1].usage.took(1.0)
    accounts.look(1.0, 0.0, {DEFAULT_GROUP: WorkersTime(2.0, 1.0)})
    accounts.look(1.0, 0.0, {DEFAULT_GROUP: WorkersTime(2.0, 1.0)})
    times = {key: (account.cpu, account.delay) for key, account in accounts.by_key.items()}
    assert times == {"a": (1.5, 0.75), "b": (0.5, 0.25)}


async def test_the_time_of_an_event_that_is_longer_than_a_look_is_not_lost() -> None:
    """What workers used while no event ended belongs to the one that ends later; what they use without one to none."""
    collector = Collector("a", mixed, mode="process")
    accounts = TimeAccounts([collector], None, RealInstruments(None))
    account = accounts.by_key["a"]
    accounts.look(0.05, 0.0, {DEFAULT_GROUP: WorkersTime(5.0, 5.0)})
    assert (account.cpu, account.delay) == (0.0, 0.0)
    collector.usage.began()
    for look in range(1, 5):
        accounts.look(0.05, 0.0, {DEFAULT_GROUP: WorkersTime(5.0 + 0.03 * look, 5.0 + 0.02 * look, running=1)})
    collector.usage.ended(0.2)
    accounts.look(0.05, 0.0, {DEFAULT_GROUP: WorkersTime(5.12, 5.08)})
    assert (account.cpu, account.delay) == (pytest.approx(0.12), pytest.approx(0.08))


async def test_the_programs_own_work_is_not_the_handlers() -> None:
    """CPU time that the loop spends on anything else stays out of a sampled collector's account."""

    async def calm(payload: Payload[Any], ctx: Context) -> None:
        await asyncio.sleep(0.001)

    collector = Collector("c", calm)
    accounts = TimeAccounts([collector], None, RealInstruments(None))
    accounts.look(0.1, 0.1, {})
    for _ in range(10):
        await collector.process(Payload(None))
        spin(0.01)
        accounts.look(0.02, 0.02, {})
    assert accounts.by_key["c"].cpu < 0.02


@pytest.mark.parametrize(
    ("handler", "value", "remedy"), [("work", (0.01, 0.0), "mode='process'"), ("block", 0.01, "mode='thread'")]
)
async def test_a_handler_that_takes_most_of_the_loop_is_reported_once(
    handler: str, value: Any, remedy: str, hurried: Callable[[float], None]
) -> None:
    """With how much of the loop it takes, over time, and what to write instead; the other one is not accused."""
    hurried(0.5)
    log = Log()
    collectors = [Collector("hog", getattr(sample_adaptive, handler)), Collector("calm", sample_adaptive.echo)]
    queue = CollectorQueue(collectors, log=log)

    async def load() -> None:
        while True:
            for key in ("hog", "calm"):
                event = await queue.get_publisher().send(Payload(value, keys=[key], delivery=Delivery.KEY))
                await event.wait()

    async with asyncio.timeout(BOUND), queue:
        loading = asyncio.create_task(load())
        event = "handler takes most of the event loop"
        await until(lambda: log.of(event), "it was reported")
        await asyncio.sleep(1.0)
        loading.cancel()
    (line,) = log.of(event)
    assert (line["level"], line["collector"]) == ("warning", "hog")
    assert 0.5 <= line["share"] <= 1.0
    assert line["milliseconds_per_event"] >= 9
    assert remedy in line["remedy"]


async def test_a_handler_alone_that_takes_most_of_the_loop_is_reported(hurried: Callable[[float], None]) -> None:
    """The shortest way to a handler, of a queue with one collector, is no hiding place; a chosen mode is respected."""
    hurried(0.5)
    reported: dict[str, int] = {}
    for mode in ("auto", "coroutine"):
        log = Log()
        async with asyncio.timeout(BOUND), CollectorQueue([Collector("hog", block, mode=mode)], log=log) as queue:
            end = time.monotonic() + 1.5
            while time.monotonic() < end:
                result = (await (await queue.get_publisher().send(Payload(0.01))).wait()).first()
                assert not isinstance(result, Error)
        reported[mode] = len(log.of("handler takes most of the event loop"))
    assert reported == {"auto": 1, "coroutine": 0}
