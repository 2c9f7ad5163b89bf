"""The contestants: each has a number of events processed, from its own program, or from a broker that has them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil

from event_collector import Collector, CollectorQueue, Context, Payload
from event_collector.sources import Feed, JetStreamSource, RedisStreamSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from bench.brokers.server import Server
    from event_collector.sources import Source

__all__ = ["Broker", "Jetstream", "Redis", "Sample", "fed", "local"]

_names = (f"bench-{number}" for number in itertools.count())


class Sample(NamedTuple):
    """What one run took, in seconds for each event."""

    wall: float
    program: float
    """CPU time of this process."""
    broker: float
    """CPU time of the broker, without that of publishing."""
    publishing: float = 0.0
    """CPU time of the broker for that."""


async def echo(payload: Payload[Any], ctx: Context) -> Any:
    return payload.value


def compute(payload: Payload[Any], ctx: Context) -> Any:
    return payload.value


HANDLERS = {"coroutine": echo, "process": compute}


@contextlib.contextmanager
def queue_for(mode: str) -> Iterator[CollectorQueue]:
    yield CollectorQueue(
        [Collector("only", HANDLERS[mode], mode=mode)], logging=False, max_workers=1, max_queue_size=1000
    )


async def local(mode: str, events: int, size: int) -> Sample:
    """Send from this program, and wait for the results."""
    with queue_for(mode) as queue:
        async with queue:
            value = "x" * size
            cpu, begun = time.process_time(), time.perf_counter()
            publisher = queue.get_publisher()
            for _ in range(events):
                await publisher.send(Payload(value))
            await publisher.wait()
            wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
    return Sample(wall / events, cpu / events, 0.0)


async def fed(broker: Broker, mode: str, events: int, size: int) -> Sample:
    """Have a feed process a stream of so many messages, until all are acknowledged."""
    stream = next(_names)
    before = broker.cpu()
    await broker.fill(stream, events, json.dumps("x" * size).encode())
    publishing = broker.cpu() - before
    with queue_for(mode) as queue:
        async with queue:
            feed = Feed(queue, broker.source(stream))
            used, cpu, begun = broker.cpu(), time.process_time(), time.perf_counter()
            run = asyncio.create_task(feed.run())
            while feed.counts().acknowledged < events:
                if run.done():
                    run.result()
                await asyncio.sleep(0.001)
            wall, cpu, used = time.perf_counter() - begun, time.process_time() - cpu, broker.cpu() - used
            feed.stop()
            await run
    await broker.drop(stream)
    return Sample(wall / events, cpu / events, used / events, publishing / events)


class Broker:
    """A broker with its server."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def cpu(self) -> float:
        """Return the CPU time that the server has taken."""
        times = psutil.Process(self.server.pid).cpu_times()
        return float(times.user + times.system)

    def source(self, stream: str) -> Source:
        raise NotImplementedError

    async def fill(self, stream: str, events: int, data: bytes) -> None:
        raise NotImplementedError

    async def drop(self, stream: str) -> None:
        raise NotImplementedError


class Jetstream(Broker):
    """NATS JetStream, one server, the stream in files as it comes."""

    name = "JetStream"

    def source(self, stream: str) -> Source:
        return JetStreamSource(f"nats://127.0.0.1:{self.server.port}", stream)

    @contextlib.asynccontextmanager
    async def _jetstream(self) -> AsyncIterator[Any]:
        import nats

        client = await nats.connect(f"nats://127.0.0.1:{self.server.port}")
        try:
            yield client.jetstream()
        finally:
            await client.close()

    async def fill(self, stream: str, events: int, data: bytes) -> None:
        async with self._jetstream() as jetstream:
            await jetstream.add_stream(name=stream, subjects=[stream])
            for start in range(0, events, 500):
                sent = [
                    await jetstream.publish_async(stream, data, wait_stall=60)
                    for _ in range(start, min(start + 500, events))
                ]
                await asyncio.gather(*sent)

    async def drop(self, stream: str) -> None:
        async with self._jetstream() as jetstream:
            await jetstream.delete_stream(stream)
            await jetstream.delete_stream(f"{stream}_DEAD")


class Redis(Broker):
    """Redis Streams, one server, each write on the disk before the answer."""

    name = "Redis Streams"

    def source(self, stream: str) -> Source:
        return RedisStreamSource(self._url, stream)

    @property
    def _url(self) -> str:
        return f"redis://127.0.0.1:{self.server.port}/0"

    @contextlib.asynccontextmanager
    async def _client(self) -> AsyncIterator[Any]:
        from redis.asyncio import Redis as Client

        client = Client.from_url(self._url)
        try:
            yield client
        finally:
            await client.aclose()

    async def fill(self, stream: str, events: int, data: bytes) -> None:
        async with self._client() as client, client.pipeline(transaction=False) as pipe:
            for _ in range(events):
                pipe.xadd(stream, {"data": data})
            await pipe.execute()

    async def drop(self, stream: str) -> None:
        async with self._client() as client:
            await client.delete(stream)
