"""A feed against a server that is killed, stopped, emptied or recreated, at each step of the feed.

What is published after the fault is processed, what a program holds is neither lost nor taken for something else, and
`run()` ends without an exception, in time, with counts that add up.
"""

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nats
import pytest
import redis.asyncio

from bench.brokers.server import NoServer, nats_server, redis_server
from event_collector import Context, Payload, Retry
from event_collector.sources import Feed, FeedCounts, JetStreamSource, RedisStreamSource
from event_collector.sources.source import Source

from .sample_source import BOUND, queue_of, until
from .servers import Server

AGAIN = Retry(max_attempts=5, backoff=0.05)


LOOPS = {name: ("asyncio", {"use_uvloop": name == "uvloop"}) for name in ("uvloop", "asyncio")}


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Run on the event loop of the command."""
    return LOOPS["uvloop"]


class NatsBroker:
    """A NATS server with one stream."""

    make = staticmethod(nats_server)

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self._data = server, folder / "jetstream"
        self._url = f"nats://127.0.0.1:{server.port}"

    def source(self) -> Source:
        return JetStreamSource(self._url, "S", ack_wait=1.0)

    async def publish(self, *values: Any) -> None:
        async def do(jetstream: Any) -> None:
            await jetstream.add_stream(name="S", subjects=["S"])
            for value in values:
                await jetstream.publish("S", json.dumps(value).encode())

        await self._with_jetstream(do)

    async def delete_stream(self) -> None:
        await self._with_jetstream(lambda jetstream: jetstream.delete_stream("S"))

    async def _with_jetstream(self, do: Callable[[Any], Any]) -> None:
        client = await nats.connect(self._url, allow_reconnect=False)
        await do(client.jetstream())
        await client.close()

    def erase(self) -> None:
        shutil.rmtree(self._data)


class RedisBroker:
    """A Redis server with one stream, whose entries have the numbers 1-1, 1-2 and so on, also when it is recreated."""

    make = staticmethod(redis_server)

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self._folder = server, folder
        self._url = f"redis://127.0.0.1:{server.port}/0"

    def source(self) -> Source:
        return RedisStreamSource(self._url, "S", claim_after=1.0)

    async def publish(self, *values: Any) -> None:
        client = redis.asyncio.Redis.from_url(self._url)
        first = await client.xlen("S") + 1
        for number, value in enumerate(values, first):
            await client.xadd("S", {"data": json.dumps(value)}, id=f"1-{number}")
        await client.aclose()

    async def delete_stream(self) -> None:
        client = redis.asyncio.Redis.from_url(self._url)
        await client.delete("S")
        await client.aclose()

    def erase(self) -> None:
        for path in self._folder.glob("appendonly*"):
            shutil.rmtree(path)


@pytest.fixture(params=[NatsBroker, RedisBroker], ids=["nats", "redis"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    try:
        server = request.param.make(tmp_path)
    except NoServer as exc:
        pytest.skip(str(exc))
    server.start()
    yield request.param(server, tmp_path)
    server.stop()


class Handler:
    """A handler that notes what it has done, fails at first if told to, and waits while it is closed."""

    def __init__(self) -> None:
        self.begun: list[Any] = []
        self.done: list[Any] = []
        self.open = asyncio.Event()
        self.open.set()

    async def handle(self, payload: Payload[Any], ctx: Context) -> None:
        self.begun.append(payload.value)
        await self.open.wait()
        if str(payload.value).startswith("again") and payload.attempt == 1:
            raise ConnectionError("at first")
        self.done.append(payload.value)


async def kill(broker: Any) -> None:
    broker.server.stop()
    await asyncio.sleep(0.2)
    broker.server.start()


async def freeze(broker: Any) -> None:
    broker.server.freeze()
    await asyncio.sleep(0.7)
    broker.server.thaw()


async def empty(broker: Any) -> None:
    broker.server.stop()
    broker.erase()
    await asyncio.sleep(0.2)
    broker.server.start()


async def recreate(broker: Any) -> None:
    await broker.delete_stream()


FAULTS = [kill, freeze, empty, recreate]
LOSING = (empty, recreate)
"""Faults after which the messages of before are gone."""


async def settled(feed: Feed, queue: Any) -> None:
    await until(lambda: feed.counts().held == 0)


def assert_sound(counts: FeedCounts) -> None:
    values = {name: getattr(counts, name) for name in FeedCounts.__struct_fields__}
    assert values.pop("fetched") == sum(values.values())
    assert counts.held == 0


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_feed_that_waits_goes_on_after_a_fault(broker: Any, fault: Any) -> None:
    """It has done some messages, and waits for more: those that come afterwards run, whatever their numbers."""
    handler = Handler()
    await broker.publish("old 1", "old 2")
    async with queue_of(handler.handle) as queue:
        feed = Feed(queue, broker.source(), retry=AGAIN)
        run = asyncio.create_task(feed.run())
        await until(lambda: feed.counts().acknowledged == 2)
        await fault(broker)
        await broker.publish("new 1", "again 2")
        await until(lambda: set(handler.done) >= {"new 1", "again 2"})
        await settled(feed, queue)
        feed.stop()
        async with asyncio.timeout(BOUND):
            await run
    assert_sound(feed.counts())
    assert handler.done.count("new 1") == handler.done.count("again 2") == 1


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_handlers_have_at_a_fault_is_not_mixed_up(broker: Any, fault: Any) -> None:
    """Messages of before end after the fault, at the places of new ones, which run and are retried all the same."""
    handler = Handler()
    await broker.publish("old 1", "old 2")
    async with queue_of(handler.handle) as queue:
        feed = Feed(queue, broker.source(), retry=AGAIN)
        run = asyncio.create_task(feed.run())
        handler.open.clear()
        await until(lambda: len(handler.begun) == 2)
        await fault(broker)
        await broker.publish("new 1", "again 2", "new 3")
        if fault in LOSING:
            await until(lambda: "again 2" in handler.begun)  # while "old 2" is still in a handler
        handler.open.set()
        await until(lambda: set(handler.done) >= {"old 1", "old 2", "new 1", "again 2", "new 3"})
        await settled(feed, queue)
        feed.stop()
        async with asyncio.timeout(BOUND):
            await run
    assert_sound(feed.counts())


# A connection that is closed fails in other ways on each event loop.
@pytest.mark.parametrize("anyio_backend", LOOPS.values(), ids=list(LOOPS))
@pytest.mark.parametrize("step", ["waiting", "handling", "failing", "stopping", "failing, frozen"])
async def test_the_end_does_not_wait_for_a_server_that_is_away(broker: Any, step: str) -> None:
    """run() returns, without an exception, with what it could not settle counted."""
    handler = Handler()
    async with queue_of(handler.handle) as queue:
        feed = Feed(queue, broker.source(), retry=AGAIN)
        await broker.publish("first")
        run = asyncio.create_task(feed.run())
        await until(lambda: feed.counts().acknowledged == 1)
        if step != "waiting":
            handler.open.clear()
            await broker.publish("again 2" if "failing" in step else "second")
            await until(lambda: feed.counts().held == 1)
        if step == "stopping":
            feed.stop()
        if "frozen" in step:
            broker.server.freeze()
        else:
            broker.server.stop()
        if "failing" in step:
            handler.open.set()
            await asyncio.sleep(0.1)
        feed.stop()
        handler.open.set()
        async with asyncio.timeout(BOUND):
            await run
    assert_sound(feed.counts())
