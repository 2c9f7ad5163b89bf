"""The rig: a handler in a queue of its own, run one way, a round whenever one is asked for."""

import asyncio
import contextlib
import gc
from collections.abc import Callable, Sequence
from statistics import quantiles
from time import perf_counter
from typing import Any

from event_collector.benchmark.figures import Contender, Freight, Opening, Order, Profile, Round
from event_collector.benchmark.freight import weigh
from event_collector.benchmark.gauge import Gauge
from event_collector.benchmark.load import Lag, Load
from event_collector.benchmark.profiler import Profiler
from event_collector.events.event import CollectorEvent
from event_collector.handlers.collector import COROUTINE, PROCESS, Collector, Processor
from event_collector.queue import CollectorQueue
from event_collector.values.context import Context
from event_collector.values.payload import Payload
from event_collector.values.results import Error

__all__ = ["Rig", "as_contender"]

NANOSECONDS = 1e9
MAX_CONSUMERS = 8192
MAX_THREADS = 256
PROFILED = 200
PROFILE_SECONDS = 0.2
WEIGHED = 50


def as_contender(given: Collector, contender: Contender) -> Collector:
    """Return a collector like the one given that runs as the contender says.

    Raises:
        ConfigError: its handler cannot run so.

    """
    processor = _awaitable(given.processor) if contender.rewritten else given.handler
    return Collector(
        given.key,
        processor,
        topics=given.topics,
        ctx=given.ctx,
        lifecycle=given.lifecycle,
        mode=contender.mode,
        payload_type=given.payload_type if given.payload_type is not Any else None,
        result_type=given.result_type if given.result_type is not Any else None,
        timeout=given.timeout,
    )


def _awaitable(processor: Processor) -> Processor:
    async def rewritten(payload: Payload[Any], ctx: Context) -> Any:
        return processor(payload, ctx)

    return rewritten


class Rig:
    """Measures one contender.

    Args:
        given: the collector that the contender is made from.
        contender: how it runs.
        values: returns so many values for payloads, fresh ones each time.

    """

    def __init__(
        self, given: Collector, contender: Contender, values: Callable[[int], Sequence[Any]]
    ) -> None:
        self._given, self._contender, self._values = given, contender, values
        self._collector = as_contender(given, contender)
        self._gauge = Gauge()
        self._queue = self._make_queue(self._collector)

    def _make_queue(self, collector: Collector) -> CollectorQueue:
        workers = self._contender.workers or 1
        # As large as it will be asked for, from the first event on: how pools grow is not the question.
        return CollectorQueue(
            [collector], autoscale=False, max_consumers=MAX_CONSUMERS, max_threads=MAX_THREADS,
            min_workers=workers, max_workers=workers, logging=False,
        )  # fmt: skip

    async def open(self) -> Opening:
        """Start the queue, after a look at the handler by itself where it runs on the event loop.

        Raises:
            Exception: it does not start.

        """
        profile = await self._profile() if self._contender.mode == COROUTINE else None
        await self._queue.init_queue()
        freight = await self._weigh() if self._contender.mode == PROCESS else None
        return Opening(profile=profile, freight=freight)

    async def close(self) -> None:
        """End the queue."""
        await self._queue.shut_down_queue()

    async def _profile(self) -> Profile | None:
        collector = as_contender(self._given, self._contender)
        profiler = Profiler(collector.processor)
        collector.replace_processor(collector.processor, profiler)
        async with self._make_queue(collector) as queue:
            await Load(queue.get_publisher(), 1).run(self._values(PROFILED), PROFILE_SECONDS)
        return await profiler.profile()

    async def _weigh(self) -> Freight | None:
        values = self._values(WEIGHED)
        events = await Load(self._queue.get_publisher(), self._contender.workers).run(values, PROFILE_SECONDS)
        results = [(event.get_result() or [Error("no result")])[0] for event in events]
        return weigh(self._collector, list(zip(values, results, strict=False)))

    async def round(self, order: Order) -> Round:
        """Run one round."""
        values = self._values(order.events)
        gc.collect()
        lag = Lag()
        watch = asyncio.create_task(lag.watch())
        await asyncio.sleep(0)
        before = self._gauge.read()
        begun = perf_counter()
        events = await Load(self._queue.get_publisher(), order.in_flight).run(values, order.seconds)
        seconds = perf_counter() - begun
        spent = self._gauge.read() - before
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch
        times, (failed, error) = (
            sorted(event.wait_time() / NANOSECONDS for event in events),
            _failures(events),
        )
        del events, values
        gc.collect()
        own_memory, worker_memory = self._gauge.memory()
        return Round(
            in_flight=order.in_flight, events=len(times), failed=failed, seconds=seconds,
            p50=times[len(times) // 2], p99=_p99(times),
            own_cpu=spent.own_cpu, worker_cpu=spent.worker_cpu,
            own_queued=spent.own_queued, worker_queued=spent.worker_queued,
            own_memory=own_memory, worker_memory=worker_memory, lag=lag.longest, error=error,
        )  # fmt: skip


def _p99(times: list[float]) -> float:
    return quantiles(times, n=100, method="inclusive")[98] if len(times) > 1 else times[0]


def _failures(events: list[CollectorEvent]) -> tuple[int, str | None]:
    """Return how many events failed, and what the first failure says."""
    failed, first = 0, None
    for event in events:
        for result in event.get_result() or ():
            if isinstance(result, Error):
                failed += 1
                first = first or _words(result.err)
                break
    return failed, first


def _words(err: Any) -> str:
    try:
        text = str(err).strip().partition("\n")[0]
    except Exception:  # a broken __str__
        text = "(its text could not be made)"
    return f"{type(err).__name__}: {text}" if isinstance(err, BaseException) else text
