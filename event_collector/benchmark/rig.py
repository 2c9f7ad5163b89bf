"""The measurement of one contender: its handler in a queue, run in rounds."""

import asyncio
import contextlib
import gc
from collections.abc import Callable, Iterable, Sequence
from statistics import quantiles
from time import perf_counter
from typing import Any

from event_collector.benchmark.gauge import Gauge
from event_collector.benchmark.profiler import Profiler, measure_transfer
from event_collector.benchmark.trial_figures import (
    Contender,
    HandlerProfile,
    Readiness,
    RoundOrder,
    RoundResult,
    TransferCost,
)
from event_collector.events.event import CollectorEvent
from event_collector.handlers.batch import Batch
from event_collector.handlers.collector import COROUTINE, PROCESS, Collector, Processor
from event_collector.publisher import EventPublisher
from event_collector.queue import CollectorQueue
from event_collector.values.context import Context
from event_collector.values.payload import Payload
from event_collector.values.results import Error
from event_collector_workers.error_texts import error_text
from event_collector_workers.machine import granted_cpus

NANOSECONDS = 1e9
MAX_CONSUMERS = 8192
MAX_THREADS = 256
PROFILED_EVENTS = 200
PROFILE_SECONDS = 0.2
TRANSFERRED_EVENTS = 50
TICK = 0.02  # seconds between two measurements of the lag; each costs about 50 microseconds


def as_contender(collector: Collector, contender: Contender) -> Collector:
    """Return a copy of a collector that runs in the mode of the contender; raises ConfigError if it cannot."""
    processor: Any = _awaitable(collector.processor) if contender.rewritten else collector.handler
    batch: Any = None
    if collector.batch is not None and contender.batch:
        batch = Batch(contender.batch, collector.batch.max_wait)
    return Collector(
        collector.key, processor, topics=collector.topics, ctx=collector.ctx, lifecycle=collector.lifecycle,
        mode=contender.mode, timeout=collector.timeout, heartbeat=collector.heartbeat, batch=batch,
        payload_type=collector.payload_type if collector.payload_type is not Any else None,
        result_type=collector.result_type if collector.result_type is not Any else None,
    )  # fmt: skip


def _awaitable(processor: Processor) -> Processor:
    async def rewritten(payload: Payload[Any], ctx: Context) -> Any:
        return processor(payload, ctx)

    return rewritten


class Rig:
    """Measures one contender of a collector; `values` returns a number of new values for payloads."""

    def __init__(self, collector: Collector, contender: Contender, values: Callable[[int], Sequence[Any]]) -> None:
        self._original, self._contender, self._values = collector, contender, values
        self._collector = as_contender(collector, contender)
        self._gauge = Gauge()
        self._queue = self._make_queue(self._collector)

    def _make_queue(self, collector: Collector) -> CollectorQueue:
        workers = self._contender.workers or 1
        # The pools have their full size from the first event on: how they grow is not measured.
        return CollectorQueue(
            [collector], autoscale=False, max_consumers=MAX_CONSUMERS, max_threads=MAX_THREADS,
            min_workers=workers, max_workers=workers, logging=False,
        )  # fmt: skip

    async def open(self) -> Readiness:
        """Start the queue; raises its error if it does not start. A handler on the event loop is profiled before."""
        # The profile is that of an event; a batch handler has calls.
        is_profiled = self._contender.mode == COROUTINE and not self._contender.batch
        profile = await self._profile() if is_profiled else None
        await self._queue.init_queue()
        transfer = await self._measure_transfer() if self._contender.mode == PROCESS else None
        share = int(granted_cpus() // max(1, self._contender.workers))
        return Readiness(profile=profile, transfer=transfer, threads=max(1, share))

    async def close(self) -> None:
        """End the queue."""
        await self._queue.shut_down_queue()

    async def _profile(self) -> HandlerProfile | None:
        collector = as_contender(self._original, self._contender)
        profiler = Profiler(collector.processor)
        collector.replace_processor(collector.processor, profiler)
        async with self._make_queue(collector) as queue:
            await LoadGenerator(queue.get_publisher(), 1).run(self._values(PROFILED_EVENTS), PROFILE_SECONDS)
        return await profiler.profile()

    async def _measure_transfer(self) -> TransferCost | None:
        values, publisher = self._values(TRANSFERRED_EVENTS), self._queue.get_publisher()
        events = await LoadGenerator(publisher, self._contender.workers).run(values, PROFILE_SECONDS)
        results = [(event.get_result() or [Error("no result")])[0] for event in events]
        return measure_transfer(self._collector, list(zip(values, results, strict=False)))

    async def round(self, order: RoundOrder) -> RoundResult:
        """Run one round."""
        values = self._values(order.events)
        gc.collect()
        lag = LagProbe()
        watch = asyncio.create_task(lag.watch())
        await asyncio.sleep(0)
        before = self._gauge.read()
        begun = perf_counter()
        events = await LoadGenerator(self._queue.get_publisher(), order.in_flight).run(values, order.seconds)
        seconds = perf_counter() - begun
        spent = self._gauge.read() - before
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch
        times = sorted(event.wait_time() / NANOSECONDS for event in events)
        failed, error = _failures(events)
        del events, values
        gc.collect()
        own_memory, worker_memory = self._gauge.memory()
        return RoundResult(
            in_flight=order.in_flight, events=len(times), failed=failed, seconds=seconds,
            p50=times[len(times) // 2], p99=_p99(times),
            own_cpu=spent.own_cpu, worker_cpu=spent.worker_cpu,
            own_queued=spent.own_queued, worker_queued=spent.worker_queued,
            own_memory=own_memory, worker_memory=worker_memory, lag=lag.longest, error=error,
        )  # fmt: skip


class LoadGenerator:
    """Keeps `in_flight` events in flight: sends an event whenever one has ended."""

    def __init__(self, publisher: EventPublisher, in_flight: int) -> None:
        self._publisher, self._in_flight = publisher, in_flight
        self._running = 0
        self._end: asyncio.Future[None] | None = None  # of any event

    async def run(self, values: Iterable[Any], seconds: float) -> list[CollectorEvent]:
        """Send values until there are no more or the time is over; return the events, all of them finished."""
        events: list[CollectorEvent] = []
        deadline = perf_counter() + seconds
        for value in values:
            await self._wait_until_below(self._in_flight)
            if events and perf_counter() >= deadline:
                break
            event = await self._publisher.send(Payload(value))
            events.append(event)
            if not event.is_done():
                self._running += 1
                event.on_done(self._on_done)
        await self._wait_until_below(1)
        return events

    async def _wait_until_below(self, number: int) -> None:
        while self._running >= number:
            self._end = asyncio.get_running_loop().create_future()
            await self._end

    def _on_done(self, _event: CollectorEvent) -> None:
        self._running -= 1
        if self._end is not None and not self._end.done():
            self._end.set_result(None)


class LagProbe:
    """A task of the event loop that measures how late it is woken."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self) -> None:
        """Measure until cancelled."""
        due = perf_counter() + TICK
        try:
            while True:
                await asyncio.sleep(TICK)
                self._note(due)
                due = perf_counter() + TICK
        except asyncio.CancelledError:
            self._note(due)
            raise

    def _note(self, due: float) -> None:
        self.longest = max(self.longest, perf_counter() - due)


def _p99(times: list[float]) -> float:
    return quantiles(times, n=100, method="inclusive")[98] if len(times) > 1 else times[0]


def _failures(events: list[CollectorEvent]) -> tuple[int, str | None]:
    """Return how many events failed, and the first line of the first failure."""
    failed, first = 0, None
    for event in events:
        for result in event.get_result() or ():
            if isinstance(result, Error):
                failed += 1
                first = first or error_text(result.err).partition("\n")[0]
                break
    return failed, first
