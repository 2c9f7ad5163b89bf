"""What a Redis source makes of options, of entries and of keys as users have them."""

import asyncio
from typing import Any

import pytest

from event_collector import ConfigError, Context, Payload, Reject, SourceError
from event_collector.sources import Feed, FeedCounts, RedisStreamSource

from .sample_source import BOUND, fetch, opened, queue_of, until
from .test_redis_stream import Stream, anyio_backend, server, stream

__all__ = ["anyio_backend", "server", "stream"]


async def work(payload: Payload[Any], ctx: Context) -> Any:
    if payload.value == "bad":
        raise Reject("no \ud800 good")
    return payload.value


@pytest.mark.parametrize(
    "options",
    [
        {"decode_responses": True}, {"encoding": "utf-16"}, {"protocol": 2}, {"protocol": 3}, {"socket_timeout": 0.3},
        {"max_connections": 1}, {"single_connection_client": True}, {"health_check_interval": 1},
    ],
    ids=str,
)  # fmt: skip
async def test_options_of_the_client_change_nothing(stream: Stream, options: dict[str, Any]) -> None:
    """Entries, dead letters, retries and claims are the same with each of them."""
    await stream.publish("fine", "bad", colour="red")
    async with opened(RedisStreamSource(stream.url, stream.name, claim_after=0.3)) as gone:
        await stream.publish("left")
        assert len(await fetch(gone, 1)) == 1  # and it does not settle it
    async with asyncio.timeout(BOUND), queue_of(work) as queue:
        feed = Feed(queue, RedisStreamSource(stream.url, stream.name, claim_after=0.3, options=options))
        run = asyncio.create_task(feed.run())
        await until(lambda: feed.counts().acknowledged + feed.counts().buried == 3)
        await stream.publish("late")  # while a read waits for it
        await until(lambda: feed.counts().acknowledged == 3)
        feed.stop()
        await run
    assert feed.counts() == FeedCounts(fetched=4, acknowledged=3, buried=1)
    (letter,) = await stream.dead()
    assert (letter[b"data"], letter[b"colour"]) == (b'"bad"', b"red")
    assert letter[b"event-collector-error"] == b"Reject: no \\ud800 good"


async def test_options_in_a_url_change_nothing(stream: Stream) -> None:
    """They are options as well."""
    await stream.publish("a")
    async with opened(RedisStreamSource(f"{stream.url}?decode_responses=True", stream.name)) as source:
        (message,) = await fetch(source)
        assert message.data == b'"a"'


async def test_a_read_ends_before_the_client_gives_it_up(stream: Stream) -> None:
    """A socket_timeout= below a second is no error while nothing comes; an answer that is given up would be lost."""
    async with opened(RedisStreamSource(stream.url, stream.name, options={"socket_timeout": 0.4})) as source:
        assert await source.fetch(1) == []
        assert source._block == 200


async def test_a_dead_letter_has_any_text(stream: Stream) -> None:
    """What cannot be encoded is escaped."""
    await stream.publish("bad")
    async with opened(stream.source()) as source:
        (message,) = await fetch(source)
        await source.bury(message, "rejected", "no \ud800 good")
    assert (await stream.dead())[0][b"event-collector-error"] == b"no \\ud800 good"


async def test_an_empty_id_is_no_id(stream: Stream) -> None:
    """Two entries with an empty message-id are two messages."""
    await stream.publish("a", "b", message_id="")
    async with opened(stream.source()) as source:
        first, second = await fetch(source, 2)
        assert (first.id, second.id) == (first.place, second.place)


async def test_a_dead_letter_that_cannot_be_stored_is_not_settled(stream: Stream) -> None:
    """The key is of another type: the entry stays, and is delivered again."""
    await stream.client.set(f"{stream.name}:dead", "a string")
    await stream.publish("bad")
    async with opened(stream.source()) as source:
        (message,) = await fetch(source)
        with pytest.raises(SourceError, match=r"takes no dead letter: .*wrong kind of value"):
            await source.bury(message, "rejected", "no good")
        assert await stream.pending() == 1


def test_dead_letters_do_not_come_back() -> None:
    """Their key is another one."""
    with pytest.raises(ConfigError, match="would be read again"):
        RedisStreamSource("redis://host", "s", dead_letters="s")


async def test_until_empty_waits_for_what_others_have(stream: Stream) -> None:
    """An entry of a program that has died is claimed and run before the end."""
    await stream.publish("a", "b")
    async with opened(stream.source()) as other:
        await fetch(other, 1)
    async with asyncio.timeout(BOUND), queue_of(work) as queue:
        feed = Feed(queue, stream.source())
        await feed.run(until_empty=True)
    assert feed.counts().acknowledged == 2


async def test_until_empty_does_not_wait_for_what_is_gone(stream: Stream) -> None:
    """An entry that was trimmed while a program held it can never be run."""
    await stream.publish("a")
    async with opened(stream.source(claim_after=1000.0)) as other:
        await fetch(other, 1)
        await stream.client.xtrim(stream.name, maxlen=0)
        async with asyncio.timeout(BOUND), queue_of(work) as queue:
            feed = Feed(queue, stream.source(claim_after=1000.0))
            await feed.run(until_empty=True)
    assert feed.counts() == FeedCounts()
    assert await stream.pending() == 0
