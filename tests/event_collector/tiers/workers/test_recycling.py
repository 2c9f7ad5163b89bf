"""Workers that are replaced in time: by events, by age, by memory. No event notices."""

import asyncio
import math
import os
import time
from typing import Any

import psutil
import pytest

from event_collector import Collector, CollectorQueue, ConfigError, Context, Payload
from event_collector_workers import WorkerStartError
from tests.event_collector import sample_handlers as handlers
from tests.event_collector.modes import ask, running, until
from tests.event_collector.tiers.sample_lifecycles import never_opens

_held: list[bytes] = []


def hold(payload: Payload[int], ctx: Context) -> int:
    """Leak that many bytes; return the process's id."""
    _held.append(os.urandom(payload.value))
    return os.getpid()


def nap(payload: Payload[float], ctx: Context) -> int:
    """Sleep for that many seconds; return the process's id."""
    time.sleep(payload.value)
    return os.getpid()


async def pids(queue: CollectorQueue, value: Any, count: int) -> list[int]:
    events = await queue.get_publisher().send_many(Payload(value) for _ in range(count))
    return [(await event.wait()).first().unwrap() for event in events]


@pytest.mark.parametrize("most", [1, 7, 50])
async def test_no_worker_runs_more_events_than_its_share(most: int) -> None:
    """With max_events_per_worker every event has its result, from a worker within its share."""
    collector = Collector("c", handlers.act, mode="process")
    async with running(collector, max_workers=2, max_events_per_worker=most) as queue:
        seen = await pids(queue, ["pid", 0], 200)
    assert max(seen.count(pid) for pid in set(seen)) <= most
    assert len(set(seen)) >= 200 // most


async def test_a_worker_is_replaced_at_its_age() -> None:
    """With max_worker_age other processes answer after a while, without a crash being told."""
    collector = Collector("c", handlers.act, mode="process")
    async with running(collector, min_workers=1, max_worker_age=0.1) as queue:
        first = (await ask(queue, ["pid", 0])).unwrap()
        async with asyncio.timeout(30):
            while (await ask(queue, ["pid", 0])).unwrap() == first:
                await asyncio.sleep(0.01)
        await until(lambda: not psutil.pid_exists(first), "the old one is gone")


async def test_a_worker_that_has_grown_is_replaced() -> None:
    """With max_worker_memory a worker that leaks is replaced, and one that does not is kept."""
    used = psutil.Process().memory_info().rss + 64 * 1024 * 1024
    async with running(Collector("c", hold, mode="process"), min_workers=1, max_worker_memory=used) as queue:
        first = (await ask(queue, 1)).unwrap()
        assert (await ask(queue, 1)).unwrap() == first
        async with asyncio.timeout(30):
            while (await ask(queue, 10_000_000)).unwrap() == first:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("limit", [{"max_worker_age": 0.05}, {"max_events_per_worker": 100}])
async def test_a_successor_is_there_before_its_predecessor_goes(limit: dict[str, Any]) -> None:
    """While workers are replaced again and again, some worker can always take an event."""
    async with running(Collector("c", nap, mode="process"), min_workers=1, max_workers=1, **limit) as queue:
        replaced: set[int] = set()
        async with asyncio.timeout(30):
            while len(replaced) < 5:
                workers = queue._engine._tiers.workers.groups["default"]
                assert workers.pool.statistics().ready
                replaced.add((await ask(queue, 0.005)).unwrap())


async def test_a_worker_that_takes_too_long_to_start_fails_the_start() -> None:
    """worker_startup_timeout bounds the start, and the error says so."""
    collector = Collector("c", handlers.act, mode="process", lifecycle=never_opens)
    queue = CollectorQueue([collector], logging=False, max_workers=1, worker_startup_timeout=0.01)
    with pytest.raises(WorkerStartError, match=r"not ready within 0\.01 s"):
        await queue.init_queue()


@pytest.mark.parametrize("name", ["max_events_per_worker", "max_worker_age", "max_worker_memory"])
@pytest.mark.parametrize("value", [0, -1, math.inf, math.nan, "10", True])
def test_limits_without_sense_are_refused(name: str, value: Any) -> None:
    """A limit that no worker could keep is a ConfigError that names the parameter."""
    options: Any = {name: value}
    with pytest.raises(ConfigError, match=name):
        CollectorQueue([Collector("c", handlers.act)], **options)


@pytest.mark.parametrize("value", [0, -1, math.inf, math.nan, "10", None])
def test_a_startup_timeout_without_sense_is_refused(value: Any) -> None:
    """A worker may take some time to start, and not for ever."""
    with pytest.raises(ConfigError, match="worker_startup_timeout"):
        CollectorQueue([Collector("c", handlers.act)], worker_startup_timeout=value)


@pytest.mark.parametrize("name", ["max_events_per_worker", "max_worker_memory"])
def test_what_is_counted_is_whole(name: str) -> None:
    """1e9 bytes are a whole number, 1.5 events are not."""
    options: Any = {name: 1e9}
    CollectorQueue([Collector("c", handlers.act)], **options)
    options = {name: 1.5}
    with pytest.raises(ConfigError, match="whole number"):
        CollectorQueue([Collector("c", handlers.act)], **options)
