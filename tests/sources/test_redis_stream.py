"""RedisStreamSource with a real server: the same promises as with JetStream, so that the protocol holds for both."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis.asyncio

from bench.brokers.server import free_port, redis_server
from event_collector import Context, Payload, Retry, SourceError
from event_collector.sources import Feed, FeedCounts, Message, RedisStreamSource

from .sample_source import BOUND, fetch, opened, queue_of, until
from .servers import Server, running

numbers = itertools.count(1)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Run on the event loop of the command only."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(redis_server, tmp_path_factory.mktemp("redis")) as server:
        yield server


class Stream:
    """A stream of its own for a test."""

    def __init__(self, server: Server) -> None:
        self.url = f"redis://127.0.0.1:{server.port}/0"
        self.name = f"stream-{next(numbers)}"
        self.client = redis.asyncio.Redis.from_url(self.url)

    async def publish(self, *values: Any, **fields: str) -> None:
        for value in values:
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            named: dict[Any, Any] = {key.replace("_", "-"): text for key, text in fields.items()}
            await self.client.xadd(self.name, {"data": data, **named})

    def source(self, **options: Any) -> RedisStreamSource:
        return RedisStreamSource(self.url, self.name, **{"claim_after": 1.0, **options})

    async def pending(self) -> int:
        found: Any = await self.client.xpending(self.name, "event-collector")
        return int(found["pending"])

    async def dead(self) -> list[dict[bytes, bytes]]:
        found: Any = await self.client.xrange(f"{self.name}:dead")
        return [fields for _, fields in found]


@pytest.fixture
async def stream(server: Server) -> AsyncIterator[Stream]:
    made = Stream(server)
    yield made
    await made.client.aclose()


async def test_messages_are_what_was_added(stream: Stream) -> None:
    """The data, the other fields, and the id: the writer's where there is one. Without data, the fields are it."""
    await stream.publish({"n": 1}, message_id="order-1", colour="red")
    await stream.client.xadd(stream.name, {"n": "2", "colour": "blue"})
    async with opened(stream.source()) as source:
        first, second = await fetch(source)
        assert (first.id, first.data, first.deliveries) == ("order-1", b'{"n": 1}', 1)
        assert (first.subject, first.headers["colour"]) == (stream.name, "red")
        assert second.id == second.place
        assert json.loads(second.data) == {"n": "2", "colour": "blue"}
        await source.acknowledge([first, second])
        assert await stream.pending() == 0


async def test_no_more_come_than_were_asked_for(stream: Stream) -> None:
    """The rest is for others."""
    await stream.publish(*range(10))
    async with opened(stream.source()) as first, opened(stream.source()) as second:
        assert len(await fetch(first, 3)) == 3
        assert len(await fetch(second, 100)) == 7


async def test_an_entry_is_held_as_long_as_it_is_extended(stream: Stream) -> None:
    """Another program claims it when nothing was heard of it, and learns how often it was delivered."""
    await stream.publish("a", "b")
    async with opened(stream.source(claim_after=0.5)) as first, opened(stream.source(claim_after=0.5)) as second:
        mine, _ = await fetch(first)
        heart = asyncio.create_task(extend_for_ever(first, mine))
        (claimed,) = await fetch(second)
        assert claimed.data == b'"b"'
        await second.acknowledge([claimed])
        heart.cancel()
        (claimed,) = await fetch(second)
        assert (claimed.place, claimed.deliveries) == (mine.place, 2)


async def extend_for_ever(source: RedisStreamSource, message: Message) -> None:
    while True:
        await source.extend([message])
        await asyncio.sleep(0.1)


async def test_an_entry_that_is_retried_comes_again_after_the_delay(stream: Stream) -> None:
    """Not before, and counted."""
    await stream.publish("a")
    loop = asyncio.get_running_loop()
    async with opened(stream.source(claim_after=30.0)) as source:
        (message,) = await fetch(source)
        begun = loop.time()
        await source.retry(message, 0.5)
        (again,) = await fetch(source)
        assert loop.time() - begun >= 0.45
        assert again.deliveries == 2


async def test_a_dead_letter_has_all_of_the_entry(stream: Stream) -> None:
    """Its fields, why and how it failed."""
    await stream.publish({"n": 1}, colour="red")
    async with opened(stream.source()) as source:
        (message,) = await fetch(source)
        await source.bury(message, "exhausted", "ValueError: no good")
        assert await stream.pending() == 0
    assert await stream.dead() == [
        {
            b"data": b'{"n": 1}',
            b"colour": b"red",
            b"event-collector-reason": b"exhausted",
            b"event-collector-error": b"ValueError: no good",
            b"event-collector-stream": stream.name.encode(),
            b"event-collector-id": message.place.encode(),
            b"event-collector-deliveries": b"1",
        }
    ]


async def test_a_feed_settles_a_stream(stream: Stream) -> None:
    """Success, failure for good, failure that passes, malformed: each as it should be, in several programs at once."""

    async def handle(payload: Payload[Any], ctx: Context) -> Any:
        if payload.value % 10 == 7:
            raise ValueError("seven")
        if payload.value % 10 == 3 and payload.attempt == 1:
            raise ConnectionError("at first")
        return payload.value

    await stream.publish(*range(100), b"nope")
    policy = Retry(max_attempts=2, backoff=0.05)
    async with queue_of(handle) as one, queue_of(handle) as two:
        feeds = [Feed(queue, stream.source(claim_after=5.0), retry=policy) for queue in (one, two)]
        async with asyncio.timeout(BOUND):
            await asyncio.gather(*(feed.run(until_empty=True) for feed in feeds))
        while await stream.pending():  # what one has given back after the other had ended
            feeds.append(Feed(one, stream.source(claim_after=5.0), retry=policy))
            await feeds[-1].run(until_empty=True)
    sums = {name: sum(getattr(feed.counts(), name) for feed in feeds) for name in FeedCounts.__struct_fields__}
    assert sums == {
        "fetched": 121, "acknowledged": 90, "retried": 20, "buried": 11,
        "held": 0, "released": 0, "duplicates": 0, "unsettled": 0,
    }  # fmt: skip
    reasons = sorted(letter[b"event-collector-reason"] for letter in await stream.dead())
    assert reasons == [b"exhausted"] * 10 + [b"malformed"]


async def test_a_server_that_is_restarted_loses_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A feed goes on when its server is back; what was acknowledged meanwhile comes again and is a duplicate."""
    seen: list[int] = []

    async def note(payload: Payload[int], ctx: Context) -> None:
        await asyncio.sleep(0.001)
        seen.append(payload.value)

    with running(redis_server, tmp_path_factory.mktemp("redis-restart")) as server:
        async with asyncio.timeout(BOUND):
            stream = Stream(server)
            await stream.publish(*range(300))
            async with queue_of(note, max_consumers=2) as queue:
                feed = Feed(queue, stream.source())
                run = asyncio.create_task(feed.run())
                await until(lambda: len(seen) > 100)
                server.stop()
                await asyncio.sleep(0.3)
                server.start()
                await stream.client.connection_pool.disconnect()
                await until(lambda: len(seen) == 300)
                while await stream.pending():
                    await asyncio.sleep(0.05)
                feed.stop()
                await run
            await stream.client.aclose()
    assert sorted(seen) == list(range(300))


async def test_a_stream_that_was_deleted_is_read_again(stream: Stream) -> None:
    """The group is made again, and what is added from then on is delivered."""
    async with opened(stream.source()) as source:
        await stream.client.delete(stream.name)
        await source.fetch(1)
        await stream.publish("a")
        assert (await fetch(source))[0].data == b'"a"'


async def test_a_program_leaves_no_name_behind(stream: Stream) -> None:
    """The consumer of a program that has settled everything is gone with it; with open entries it stays, with them."""
    await stream.publish("a")
    async with opened(stream.source()) as source:
        await source.acknowledge(await fetch(source))
    assert await stream.client.xinfo_consumers(stream.name, "event-collector") == []
    await stream.publish("b")
    async with opened(stream.source()) as source:
        await fetch(source)
    (left,) = await stream.client.xinfo_consumers(stream.name, "event-collector")
    assert left["pending"] == 1


async def test_a_server_that_is_not_there_is_an_error() -> None:
    """It is raised at once, with the reason."""
    with pytest.raises(SourceError, match=r"'s' cannot be reached: .*refused"):
        await RedisStreamSource(f"redis://127.0.0.1:{free_port()}", "s").open()
    with pytest.raises(SourceError, match="none of a Redis server"):
        await RedisStreamSource("http://host", "s").open()


async def test_a_source_that_is_not_open_says_so() -> None:
    """Fetching from it is an error, closing it is none."""
    source = RedisStreamSource("redis://127.0.0.1:1", "s")
    with pytest.raises(SourceError, match="not open"):
        await source.fetch(1)
    await source.close()
