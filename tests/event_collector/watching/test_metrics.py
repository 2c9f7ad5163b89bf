"""The metrics that get_metrics() and collector_metrics() return."""

import asyncio
import dataclasses
import datetime
import random
from collections.abc import Callable
from typing import Any

import pytest

from event_collector import Collector, CollectorQueue, Context, Delivery, Payload
from event_collector.queue import Metrics
from event_collector.watching.collector_times import CollectorTimes, PercentileMemo
from event_collector.watching.metrics import percentiles
from tests.event_collector.sample_handlers import act

BOUND = 10.0

NUMBERS = (
    "qsize busy consumers load avg_load service_time wait_time arrival_rate departure_rate wip t_delta event_count"
).split()


TARGETS = ("target_consumers", "workers", "target_workers")


async def echo(payload: Payload[Any], ctx: Context) -> Any:
    return payload.value


async def nap(payload: Payload[Any], ctx: Context) -> None:
    await asyncio.sleep(0.02)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(BOUND):
        while not condition():
            await asyncio.sleep(0.005)


def queue_of(handler: Any = echo, **options: Any) -> CollectorQueue:
    return CollectorQueue([Collector("a", handler)], logging=False, **options)


async def send_all(queue: CollectorQueue, count: int) -> None:
    """Send so many events and wait until they are done."""
    for value in range(count):
        await queue.get_publisher().send(Payload(value))
    await queue.get_publisher().wait()


def test_before_the_start_everything_is_zero() -> None:
    """There is a snapshot even then, with a time in UTC."""
    metrics = queue_of().get_metrics()
    assert isinstance(metrics, Metrics)
    assert [getattr(metrics, name) for name in NUMBERS] == [0] * len(NUMBERS)
    assert metrics.timestamp.utcoffset() == datetime.timedelta(0)


async def test_a_snapshot_cannot_be_changed() -> None:
    """It is frozen, and later events do not alter it."""
    async with queue_of() as queue:
        metrics = queue.get_metrics()
        with pytest.raises(AttributeError):
            metrics.qsize = 5  # type: ignore[misc]
        await send_all(queue, 3)
        await until(lambda: queue.get_metrics().event_count == 3)
        assert metrics.event_count == 0


async def test_a_snapshot_becomes_a_dict() -> None:
    """dataclasses.asdict() gives all thirteen fields, as programs that export metrics need them, and the targets."""
    async with queue_of() as queue:
        fields = dataclasses.asdict(queue.get_metrics())
    assert set(fields) == {"timestamp", *NUMBERS, *TARGETS, "changes"}


async def test_a_snapshot_has_a_current_time_in_utc() -> None:
    """The timestamp is aware, and is taken while the queue runs."""
    started = datetime.datetime.now(datetime.UTC)
    async with queue_of() as queue:
        await until(lambda: queue.get_metrics().timestamp >= started)
        metrics = queue.get_metrics()
        assert metrics.timestamp.utcoffset() == datetime.timedelta(0)
        assert metrics.timestamp <= datetime.datetime.now(datetime.UTC)


async def test_counts_are_ints_and_measures_are_floats() -> None:
    """Each field has its type, before and after the first event."""
    async with queue_of() as queue:
        await send_all(queue, 2)
        await until(lambda: queue.get_metrics().event_count == 2)
        metrics = queue.get_metrics()
    counts = {"qsize", "busy", "consumers", "event_count"}
    for name in NUMBERS:
        assert type(getattr(metrics, name)) is (int if name in counts else float), name


async def test_a_busy_queue_shows_where_its_events_are() -> None:
    """Those that wait, those in handlers, the consumers, and the load they make."""
    opened = asyncio.Event()

    async def hold(payload: Payload[Any], ctx: Context) -> None:
        await opened.wait()

    async with queue_of(hold, max_consumers=2) as queue:
        for value in range(5):
            await queue.get_publisher().send(Payload(value))
        await until(lambda: queue.get_metrics().busy == 2 and queue.get_metrics().qsize == 3)
        metrics = queue.get_metrics()
        assert (metrics.consumers, metrics.load, metrics.event_count) == (2, 2.5, 0)
        await until(lambda: 0 < queue.get_metrics().avg_load <= 5)
        opened.set()
        await until(lambda: queue.get_metrics().event_count == 5)
        await until(lambda: queue.get_metrics().load == 0)
        assert (queue.get_metrics().qsize, queue.get_metrics().busy) == (0, 0)


async def test_event_count_counts_what_is_finished() -> None:
    """Failed events count as well."""

    async def fail(payload: Payload[Any], ctx: Context) -> None:
        raise ValueError("boom")

    async with queue_of(fail) as queue:
        await send_all(queue, 10)
        await until(lambda: queue.get_metrics().event_count == 10)


async def test_service_time_and_wait_time_are_means_in_seconds() -> None:
    """The one is spent in handlers, the other from send to result."""
    async with queue_of(nap, max_consumers=1) as queue:
        await send_all(queue, 5)
        await until(lambda: queue.get_metrics().event_count == 5)
        metrics = queue.get_metrics()
    assert 0.015 < metrics.service_time < 1
    assert metrics.wait_time > 2 * metrics.service_time


async def test_the_means_agree_with_the_events() -> None:
    """service_time and wait_time are the averages of what the events themselves report."""
    async with queue_of(nap) as queue:
        events = [await queue.get_publisher().send(Payload(i)) for i in range(10)]
        await queue.get_publisher().wait()
        await until(lambda: queue.get_metrics().event_count == 10)
        metrics = queue.get_metrics()
    served = sum(event.service_time() for event in events) / 10e9
    waited = sum(event.wait_time() for event in events) / 10e9
    assert metrics.service_time == pytest.approx(served, rel=0.02, abs=1e-4)
    assert metrics.wait_time == pytest.approx(waited, rel=0.02, abs=1e-4)


async def test_the_means_are_those_of_the_last_events() -> None:
    """event_service_data_window_size says how many of the newest events are averaged."""

    async def sleep(payload: Payload[float], ctx: Context) -> None:
        await asyncio.sleep(payload.value)

    async with queue_of(sleep, event_service_data_window_size=20) as queue:
        for seconds in [0.5] + [0.0] * 20:
            event = await queue.get_publisher().send(Payload(seconds))
            await event.wait()
            if seconds:
                await until(lambda: queue.get_metrics().service_time > 0.4)
        await until(lambda: queue.get_metrics().event_count == 21)
        assert queue.get_metrics().service_time < 0.02


async def test_rates_are_zero_during_the_warm_up() -> None:
    """Until metrics_warmup_interval has passed, arrivals and departures make no rate."""
    async with queue_of(metrics_warmup_interval=60.0) as queue:
        await send_all(queue, 20)
        await until(lambda: queue.get_metrics().event_count == 20)
        metrics = queue.get_metrics()
        assert (metrics.arrival_rate, metrics.departure_rate, metrics.wip) == (0, 0, 0)


async def test_after_the_warm_up_there_are_rates() -> None:
    """Events a second, arriving and leaving, over the last t_delta seconds."""
    async with queue_of(nap, metrics_warmup_interval=0.05) as queue:

        async def feed() -> None:
            while True:
                await send_all(queue, 1)

        feeder = asyncio.ensure_future(feed())
        await until(lambda: queue.get_metrics().departure_rate > 0 and queue.get_metrics().event_count > 10)
        metrics = queue.get_metrics()
        feeder.cancel()
        await asyncio.wait([feeder])
    assert 1 < metrics.arrival_rate < 75
    assert metrics.departure_rate == pytest.approx(metrics.arrival_rate, rel=0.3)
    assert 0 < metrics.t_delta < BOUND


async def test_arrivals_and_departures_are_told_apart() -> None:
    """Events that only arrive make an arrival rate; the departure rate stays 0 until they leave."""
    opened = asyncio.Event()

    async def hold(payload: Payload[Any], ctx: Context) -> None:
        await opened.wait()

    async with queue_of(hold, metrics_warmup_interval=0.05) as queue:
        await asyncio.sleep(0.06)
        for value in range(10):
            await queue.get_publisher().send(Payload(value))
        await until(lambda: queue.get_metrics().arrival_rate > 0)
        assert queue.get_metrics().departure_rate == 0
        opened.set()
        await until(lambda: queue.get_metrics().departure_rate > 0)


async def test_work_in_progress_follows_from_arrivals_and_service() -> None:
    """By Little's law: wip = arrival_rate x service_time."""
    async with queue_of(nap, metrics_warmup_interval=0.05) as queue:
        await send_all(queue, 50)
        await until(lambda: queue.get_metrics().wip > 0)
        metrics = queue.get_metrics()
    assert metrics.wip == pytest.approx(metrics.arrival_rate * metrics.service_time, rel=0.02, abs=0.01)


async def test_consumers_follow_the_pool() -> None:
    """The number of consumers is the pool's."""
    async with queue_of(autoscale=False, max_consumers=4) as queue:
        await until(lambda: queue.get_metrics().consumers == 4 == queue.consumer_count())


async def test_metrics_can_be_read_in_a_loop() -> None:
    """A monitor sees time and counts go forward only."""
    seen: list[Metrics] = []
    async with queue_of(nap, max_consumers=4) as queue:
        for value in range(40):
            await queue.get_publisher().send(Payload(value))
        while not seen or seen[-1].event_count < 40:
            seen.append(queue.get_metrics())
            await asyncio.sleep(0.005)
    assert [metrics.timestamp for metrics in seen] == sorted(metrics.timestamp for metrics in seen)
    assert [metrics.event_count for metrics in seen] == sorted(metrics.event_count for metrics in seen)
    assert all(metrics.busy <= 4 for metrics in seen)


async def test_the_metrics_show_what_the_law_decided_and_why() -> None:
    """Targets of both pools, the workers there are, and the last changes with their reasons; after the end as well."""
    opened = asyncio.Event()

    async def hold(payload: Payload[Any], ctx: Context) -> None:
        await opened.wait()

    async with queue_of(hold) as queue:
        for value in range(200):
            await queue.get_publisher().send(Payload(value))
        await until(lambda: queue.get_metrics().changes and queue.get_metrics().target_consumers >= 200)
        opened.set()
        metrics = queue.get_metrics()
        assert (metrics.workers, metrics.target_workers) == (0, 0)
        assert metrics.changes
        assert metrics.changes == tuple(queue.changes()[-5:])
        assert all(change.reason for change in metrics.changes)
    last = queue.get_metrics()
    assert last.changes == tuple(queue.changes()[-5:])
    assert (last.target_consumers, last.workers, last.target_workers) == (0, 0, 0)


async def test_the_metrics_show_the_workers() -> None:
    """Of a queue with worker processes: how many are ready, and how many there should be."""
    collector = Collector("w", act, mode="process")
    async with CollectorQueue([collector], autoscale=False, max_workers=2, logging=False) as queue:
        assert queue.get_metrics().workers == 2
        await until(lambda: queue.get_metrics().target_workers == 2)


def test_percentiles_are_the_nearest_rank() -> None:
    """The smallest time that so many percent of the events do not exceed, whatever their order."""
    times = [number / 1000 for number in range(1, 1001)]
    random.Random(3).shuffle(times)
    assert percentiles(times) == (0.5, 0.95, 0.99)
    assert percentiles([7.0]) == (7.0, 7.0, 7.0)
    assert percentiles([2.0, 1.0]) == (1.0, 2.0, 2.0)
    assert percentiles([]) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("alone", [True, False])
async def test_each_collector_has_percentiles_of_its_own(alone: bool) -> None:
    """Service and wait times are told apart by collector, and those of one alone are those of its queue."""

    async def quick(payload: Payload[Any], ctx: Context) -> None:
        await asyncio.sleep(0)

    collectors = [Collector("nap", nap)] + ([] if alone else [Collector("quick", quick)])
    async with CollectorQueue(collectors, max_consumers=2, logging=False) as queue:
        empty = queue.collector_metrics()["nap"]
        assert (empty.event_count, empty.service_time.p99, empty.wait_time.p99) == (0, 0.0, 0.0)
        for key in ("nap", "quick"):
            for _ in range(10):
                await queue.get_publisher().send(Payload(None, Delivery.KEY, keys=[key]))
            if alone:
                break
            await queue.get_publisher().wait()
        await queue.get_publisher().wait()
        found = queue.collector_metrics()
    assert found == queue.collector_metrics()
    assert list(found) == [collector.key for collector in collectors]
    naps = found["nap"]
    assert (naps.key, naps.place, naps.event_count, naps.running) == ("nap", "coroutine", 10, 0)
    assert 0.015 < naps.service_time.p50 <= naps.service_time.p95 <= naps.service_time.p99
    assert naps.wait_time.p95 > 3 * naps.service_time.p50  # two at a time
    if not alone:
        assert found["quick"].event_count == 10
        assert found["quick"].service_time.p50 < naps.service_time.p50
        assert found["quick"].wait_time.p50 < naps.wait_time.p50


async def test_the_memory_of_percentiles_is_bounded() -> None:
    """No more times are kept than event_service_data_window_size, for each collector."""
    collectors = [Collector(key, echo) for key in "ab"]
    async with CollectorQueue(collectors, event_service_data_window_size=10, logging=False) as queue:
        await send_all(queue, 50)
        assert [len(c.usage.times or ()) for c in collectors] == [10, 10]
        assert [len(c.usage.waits or ()) for c in collectors] == [10, 10]
        assert queue.collector_metrics()["a"].event_count == 50


def test_a_memo_sorts_so_many_times_in_a_look_the_oldest_first() -> None:
    """New collectors are always sorted, unchanged ones never, and changed ones take turns."""
    memo = PercentileMemo()

    def look(events: int, seconds: float, most: float) -> list[float]:
        memo.allow(most)
        memo.renew({key: CollectorTimes(events, 0, 0.0, [seconds] * 10, [seconds] * 10) for key in "abcd"})
        return [memo.of(key)[0].p50 for key in "abcd"]

    assert look(10, 1.0, most=0) == [1.0, 1.0, 1.0, 1.0]
    assert look(10, 2.0, most=1000) == [1.0, 1.0, 1.0, 1.0]
    assert look(20, 2.0, most=40) == [2.0, 2.0, 1.0, 1.0]
    assert look(30, 3.0, most=40) == [2.0, 2.0, 3.0, 3.0]
    assert look(40, 4.0, most=20) == [4.0, 2.0, 3.0, 3.0]
