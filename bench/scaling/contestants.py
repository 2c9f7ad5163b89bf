"""The places where the same collector runs, each with as many workers as the others."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager, contextmanager
from time import perf_counter
from typing import Any

from bench.process_tier.handler import process
from event_collector import Collector, CollectorQueue, Payload, dask_workers
from event_collector.data import ResultList

POOL, LOKY, DASK = "worker processes of the queue", "loky", "Dask, a LocalCluster"


@contextmanager
def places(workers: int) -> Iterator[dict[str, str | Executor]]:
    """Start all of them; they stay for the whole run."""
    from distributed import Client, LocalCluster
    from loky import ProcessPoolExecutor

    loky = ProcessPoolExecutor(workers, timeout=3600)
    try:
        with (
            LocalCluster(
                n_workers=workers, threads_per_worker=1, dashboard_address=":0", silence_logs="ERROR"
            ) as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            yield {POOL: "process", LOKY: loky, DASK: dask_workers(client)}
    finally:
        loky.shutdown(kill_workers=True)


@asynccontextmanager
async def queue_of(mode: str | Executor, workers: int) -> AsyncIterator[CollectorQueue]:
    """A queue with one collector, which runs there."""
    collector = Collector("bench", process, mode=mode)
    async with CollectorQueue([collector], logging=False, min_workers=workers, max_workers=workers) as queue:
        yield queue


async def burst(queue: CollectorQueue, value: Any, events: int) -> float:
    """Return events per second when all are sent at once."""
    began = perf_counter()
    sent = await queue.get_publisher().send_many(Payload(value) for _ in range(events))
    for event in sent:
        check(await event.wait(), value)
    return events / (perf_counter() - began)


async def alone(queue: CollectorQueue, value: Any, events: int) -> float:
    """Return the median seconds from sending to result, one event after the other."""
    times = []
    for _ in range(events):
        began = perf_counter()
        check(await (await queue.get_publisher().send(Payload(value))).wait(), value)
        times.append(perf_counter() - began)
        await asyncio.sleep(0)
    return sorted(times)[len(times) // 2]


def check(results: ResultList, value: Any) -> None:
    """Stop a run whose results are wrong."""
    if results.first().unwrap() != value:
        raise RuntimeError(f"a wrong result: {results!r}")
