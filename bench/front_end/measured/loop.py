"""What a queue does to its event loop: waiting handlers at once, gaps for other tasks, and wake-ups when idle."""

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from time import perf_counter, process_time
from typing import Any

from event_collector import EventPublisher, Ok, Payload

from .queues import check, no_op, running_queue, sizes

__all__ = ["idle", "lag", "sleepers", "turns"]

NAP = 0.01


class Nap:
    """A handler that sleeps for 10 ms and counts how many do so at once."""

    def __init__(self) -> None:
        self.asleep = 0
        self.peak = 0

    async def __call__(self, payload: Payload, _ctx: Any) -> Ok:
        self.asleep += 1
        self.peak = max(self.peak, self.asleep)
        await asyncio.sleep(NAP)
        self.asleep -= 1
        return Ok(payload.value)


async def sleepers(events: int, autoscale: bool, bare: bool) -> dict[str, float]:
    """Return the seconds until a burst of sleeping handlers is done; bare: until as many sleeping tasks are."""
    nap = Nap()
    if bare:
        begin = perf_counter()
        tasks = [asyncio.create_task(nap(Payload(number), None)) for number in range(events)]
        results: list[Any] = [await task for task in tasks]
        elapsed = perf_counter() - begin
        check([result.value for result in results], list(range(events)))
        return {"seconds": elapsed, "at once": nap.peak}
    async with running_queue(nap.__call__, **sizes(autoscale, events)) as publisher:
        begin = perf_counter()
        sent = [await publisher.send(Payload(number)) for number in range(events)]
        results = [await event.wait() for event in sent]
        elapsed = perf_counter() - begin
    check([result.first().value for result in results], list(range(events)))
    return {"seconds": elapsed, "at once": nap.peak}


class Assembly:
    """A handler whose events all wait for the last one to begin, and a count of the loop's turns meanwhile."""

    def __init__(self, expected: int) -> None:
        self.missing = expected
        self.complete = asyncio.Event()
        self.turns = 0
        self.completed_at = 0.0

    async def __call__(self, _payload: Payload, _ctx: Any) -> Ok:
        self.missing -= 1
        if not self.missing:
            self.completed_at = perf_counter()
            self.complete.set()
        await self.complete.wait()
        return Ok(None)

    def count_turns(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.missing:
            self.turns += 1
            loop.call_soon(self.count_turns, loop)


async def turns(events: int, autoscale: bool) -> dict[str, float]:
    """Return turns of the loop, and seconds, from the last send until all handlers of a burst have begun."""
    assembly = Assembly(events)
    async with running_queue(assembly.__call__, **sizes(autoscale, events)) as publisher:
        for number in range(events):
            await publisher.send(Payload(number))
        sent_at = perf_counter()
        assembly.count_turns(asyncio.get_running_loop())
        async with asyncio.timeout(60):
            await publisher.wait()
    return {"turns": assembly.turns, "seconds": max(0.0, assembly.completed_at - sent_at)}


class Gaps:
    """Another task of the loop, ready all the time, which notes for how long it was kept from running."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.runs = 0

    async def watch(self) -> None:
        last = perf_counter()
        while True:
            await asyncio.sleep(0)
            now = perf_counter()
            self.longest = max(self.longest, now - last)
            self.runs += 1
            last = now

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.watch())
        await asyncio.sleep(0)
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


async def _spin(payload: Payload, _ctx: Any) -> Ok:
    end = perf_counter() + 0.0001
    while perf_counter() < end:
        pass
    return Ok(payload.value)


async def _send_all(publisher: EventPublisher, events: int) -> None:
    for number in range(events):
        await publisher.send(Payload(number))


async def _one_at_a_time(publisher: EventPublisher, events: int) -> None:
    for number in range(events):
        await (await publisher.send(Payload(number))).wait()


async def _many_senders(publisher: EventPublisher, events: int) -> None:
    await asyncio.gather(*(_one_at_a_time(publisher, events // 1000) for _ in range(1000)))


async def _nothing(_publisher: EventPublisher, _events: int) -> None:
    await asyncio.sleep(0.1)


_FLOODS: dict[str, tuple[Callable[[Any, Any], Awaitable[Any]], Callable[[EventPublisher, int], Awaitable[None]]]]
_FLOODS = {
    "nothing": (no_op, _nothing),
    "burst": (no_op, _send_all),
    "one-at-a-time": (no_op, _one_at_a_time),
    "senders-1000": (no_op, _many_senders),
    "busy": (_spin, _send_all),
}


async def lag(flood: str, events: int, autoscale: bool) -> dict[str, float]:
    """Return the longest time that another task waits for its turn during a flood of events."""
    handler, send = _FLOODS[flood]
    gaps, served = Gaps(), 0

    async def count(payload: Payload, ctx: Any) -> Any:
        nonlocal served
        served += 1
        return await handler(payload, ctx)

    async with running_queue(count, **sizes(autoscale, 64)) as publisher, gaps.watching():
        await send(publisher, events)
        await publisher.wait()
    check(served, 0 if flood == "nothing" else events)
    return {"seconds": gaps.longest, "runs": gaps.runs}


async def idle(seconds: float, settle: float, autoscale: bool, bare: bool) -> dict[str, float]:
    """Return CPU seconds and wake-ups, each per second, of the whole process while a queue has nothing to do."""
    if bare:
        return await _rest(seconds, settle)
    async with running_queue(Nap().__call__, **sizes(autoscale, 64)) as publisher:
        sent = [await publisher.send(Payload(number)) for number in range(1000)]
        check([(await event.wait()).first().value for event in sent], list(range(1000)))
        return await _rest(seconds, settle)


async def _rest(seconds: float, settle: float) -> dict[str, float]:
    await asyncio.sleep(settle)
    cpu, switches = process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
    await asyncio.sleep(seconds)
    woken = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - switches - 1  # the last one was this function's own
    return {"cpu": (process_time() - cpu) / seconds, "wake-ups": woken / seconds}
