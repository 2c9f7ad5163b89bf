"""JetStreamSource with a real server: what it makes, what it refuses, how messages come, come again, are done with."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.js.api import AckPolicy, ConsumerConfig

from bench.brokers.server import free_port, nats_server
from event_collector import Context, Payload, Retry, SourceError
from event_collector.sources import Feed, FeedCounts, JetStreamSource, Message
from tests.docs.pages import ROOT, matches, section

from .sample_source import BOUND, fetch, opened, queue_of, until
from .servers import Server, running

numbers = itertools.count(1)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Run on the event loop of the command only: real servers take their time."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(nats_server, tmp_path_factory.mktemp("nats")) as server:
        yield server


class Stream:
    """A stream of its own for a test."""

    def __init__(self, server: Server, client: Any) -> None:
        self.url = f"nats://127.0.0.1:{server.port}"
        self.name = f"S{next(numbers)}"
        self.client, self.jetstream = client, client.jetstream()

    async def make(self) -> None:
        await self.jetstream.add_stream(name=self.name, subjects=[f"{self.name}.>"])

    async def publish(self, *values: Any, subject: str = "new", **headers: str) -> None:
        for value in values:
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            named = {key.replace("_", "-"): text for key, text in headers.items()}
            await self.jetstream.publish(f"{self.name}.{subject}", data, headers=named or None)

    def source(self, **options: Any) -> JetStreamSource:
        return JetStreamSource(self.url, self.name, **{"ack_wait": 1.0, **options})

    async def info(self, consumer: str = "event-collector") -> Any:
        return await self.jetstream.consumer_info(self.name, consumer)

    async def dead(self) -> list[Any]:
        name = await self.jetstream.find_stream_name_by_subject(f"dead.{self.name}")
        state = (await self.jetstream.stream_info(name)).state
        return [await self.jetstream.get_msg(name, number) for number in range(1, state.messages + 1)]


@pytest.fixture
async def stream(server: Server) -> AsyncIterator[Stream]:
    async with asyncio.timeout(BOUND):
        client = await nats.connect(f"nats://127.0.0.1:{server.port}")
        made = Stream(server, client)
        await made.make()
    # No bound around the test: it would cancel the task that runs all fixtures, and so fail the tests after this one.
    yield made
    await client.close()


async def echo(payload: Payload[Any], ctx: Context) -> Any:
    return payload.value


def assert_documented(text: str) -> None:
    """docs/errors.md has a message that fits this one."""
    messages = [block.text for block in section(ROOT / "docs/errors.md", "`SourceError`")]
    assert any(matches(message, text) for message in messages), text


# -- messages --


async def test_messages_are_what_was_published(stream: Stream) -> None:
    """Data, subject, headers, the number in the stream, and the publisher's id where there is one."""
    await stream.publish({"n": 1}, Nats_Msg_Id="order-1", Colour="red")
    await stream.publish(b"raw", subject="old")
    async with opened(stream.source()) as source:
        first, second = await fetch(source)
        assert (first.id, first.place, first.data, first.deliveries) == ("order-1", "1", b'{"n": 1}', 1)
        assert (first.subject, first.headers["Colour"]) == (f"{stream.name}.new", "red")
        assert (second.id, second.place, second.data) == ("2", "2", b"raw")
        await source.acknowledge([first, second])
        await until_async(lambda: settled(stream))


async def settled(stream: Stream) -> bool:
    info = await stream.info()
    return bool(info.num_ack_pending == 0 and info.num_pending == 0)


async def until_async(condition: Any) -> None:
    async with asyncio.timeout(BOUND):
        while not await condition():
            await asyncio.sleep(0.01)


async def test_the_first_message_does_not_wait_for_others(stream: Stream) -> None:
    """With a request for many messages under way, one that comes is handed on at once, and the next one as well."""
    async with opened(stream.source(ack_wait=30.0)) as source:
        assert await source.fetch(100) == []
        for number in range(3):
            fetching = asyncio.create_task(fetch(source, 100))
            await stream.publish(number)
            async with asyncio.timeout(BOUND):
                (message,) = await fetching
            assert json.loads(message.data) == number
        # All three came by the one request: no more is asked for while enough is on its way.
        assert source._puller is not None
        assert source._puller._asked == 97


async def test_no_more_come_than_were_asked_for(stream: Stream) -> None:
    """What is not asked for stays with the server, for others."""
    await stream.publish(*range(10))
    async with opened(stream.source()) as first, opened(stream.source()) as second:
        mine = await fetch(first, 3)
        theirs = await fetch(second, 100)
        await until_async(lambda: pending(stream, 10))
        while len(theirs) < 7:
            theirs += await fetch(second, 100)
    assert (len(mine), len(theirs)) == (3, 7)


async def pending(stream: Stream, number: int) -> bool:
    return bool((await stream.info()).num_ack_pending == number)


async def test_only_messages_under_the_subject(stream: Stream) -> None:
    """subject= has the consumer skip the others."""
    await stream.publish("a", subject="one")
    await stream.publish("b", subject="two")
    async with opened(stream.source(subject=f"{stream.name}.two", consumer="two")) as source:
        (message,) = await fetch(source)
        assert message.data == b'"b"'


# -- what becomes of them --


async def test_a_message_is_held_as_long_as_it_is_extended(stream: Stream) -> None:
    """It comes again ack_wait after the last word of it, and tells how often it came."""
    await stream.publish("a")
    async with opened(stream.source(ack_wait=0.5)) as source:
        (message,) = await fetch(source)
        for _ in range(8):
            await source.extend([message])
            await asyncio.sleep(0.1)
        assert (await stream.info()).num_redelivered == 0
        (again,) = await fetch(source)
        assert (again.place, again.deliveries) == ("1", 2)


async def test_a_message_that_is_retried_comes_again_after_the_delay(stream: Stream) -> None:
    """Not before, though another program waits for it."""
    await stream.publish("a")
    loop = asyncio.get_running_loop()
    async with opened(stream.source(ack_wait=30.0)) as source:
        (message,) = await fetch(source)
        begun = loop.time()
        await source.retry(message, 0.5)
        (again,) = await fetch(source)
        assert loop.time() - begun >= 0.45
        assert again.deliveries == 2
        await source.retry(again, 0.0)
        assert (await fetch(source))[0].deliveries == 3


async def test_a_dead_letter_has_all_of_the_message(stream: Stream) -> None:
    """Its data and headers, why and how it failed; two deliveries of one message make one of it."""
    await stream.publish({"n": 1}, Nats_Msg_Id="order-1", Colour="red")
    async with opened(stream.source()) as source:
        (message,) = await fetch(source)
        await source.bury(message, "exhausted", "ValueError: two\nlines " + "x" * 5000)
        await source.bury(message, "exhausted", "again")  # as if the server had not heard the end of it
        (letter,) = await stream.dead()
        await until_async(lambda: settled(stream))
    assert letter.data == b'{"n": 1}'
    error = letter.headers.pop("Event-Collector-Error")
    assert error.startswith("ValueError: two lines xxx")
    assert len(error) == 1000
    assert letter.headers == {
        "Colour": "red",
        "Nats-Msg-Id": f"{stream.name}:event-collector:1:{message.born}",
        "Event-Collector-Reason": "exhausted",
        "Event-Collector-Stream": stream.name,
        "Event-Collector-Sequence": "1",
        "Event-Collector-Subject": f"{stream.name}.new",
        "Event-Collector-Deliveries": "1",
    }


async def test_a_dead_letter_may_be_as_long_as_a_message(stream: Stream) -> None:
    """Where there is no room for headers, the data is kept all the same."""
    await stream.publish(b"x" * stream.client.max_payload)
    async with opened(stream.source()) as source:
        (message,) = await fetch(source)
        await source.bury(message, "malformed", "no JSON")
        (letter,) = await stream.dead()
        assert len(letter.data) == stream.client.max_payload


async def test_what_was_delivered_and_not_fetched_is_given_back(stream: Stream) -> None:
    """Others need not wait for ack_wait to pass, and nothing more comes here."""
    await stream.publish(*range(10))
    first = stream.source(ack_wait=30.0)
    await first.open()
    await fetch(first, 1)
    asked = asyncio.create_task(first.fetch(9))
    await asyncio.sleep(0)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    await until_async(lambda: pending(stream, 10))
    await first.hand_back()
    got: list[Message] = []
    async with opened(stream.source()) as second:
        while len(got) < 9:
            got += await fetch(second, 10)
    assert len(got) == 9
    await first.close()
    await first.close()


# -- with a feed --


async def test_a_feed_settles_a_stream(stream: Stream) -> None:
    """Success, failure for good, failure that passes, malformed: each as it should be, in several programs at once."""
    failed_once: set[Any] = set()

    async def handle(payload: Payload[Any], ctx: Context) -> Any:
        if payload.value % 10 == 7:
            raise ValueError("seven")
        if payload.value % 10 == 3 and payload.attempt == 1:
            failed_once.add(payload.value)
            raise ConnectionError("at first")
        return payload.value

    await stream.publish(*range(100), b"nope")
    policy = Retry(max_attempts=2, backoff=0.05)
    async with queue_of(handle) as one, queue_of(handle) as two:
        feeds = [Feed(queue, stream.source(), retry=policy) for queue in (one, two)]
        async with asyncio.timeout(BOUND):
            await asyncio.gather(*(feed.run(until_empty=True) for feed in feeds))
        assert await settled(stream)
        first, second = (feed.counts() for feed in feeds)
    sums = {name: getattr(first, name) + getattr(second, name) for name in FeedCounts.__struct_fields__}
    assert sums == {
        "fetched": 121, "acknowledged": 90, "retried": 20, "buried": 11,
        "held": 0, "released": 0, "duplicates": 0, "unsettled": 0,
    }  # fmt: skip
    assert len(failed_once) == 10
    reasons = sorted(letter.headers["Event-Collector-Reason"] for letter in await stream.dead())
    assert reasons == ["exhausted"] * 10 + ["malformed"]


async def test_a_handler_may_take_longer_than_ack_wait(stream: Stream) -> None:
    """The feed extends its message; it is not delivered to another program meanwhile."""
    await stream.publish("slow")
    done = asyncio.Event()

    async def slow(payload: Payload[Any], ctx: Context) -> None:
        await asyncio.sleep(1.5)
        done.set()

    async with queue_of(slow) as queue, queue_of(echo) as idle:
        feeds = [Feed(queue, stream.source(ack_wait=0.5))]
        runs = [asyncio.create_task(feeds[0].run())]
        await until(lambda: feeds[0].counts().held == 1)
        feeds.append(Feed(idle, stream.source(ack_wait=0.5)))
        runs.append(asyncio.create_task(feeds[1].run()))
        async with asyncio.timeout(BOUND):
            await done.wait()
            for feed in feeds:
                feed.stop()
            await asyncio.gather(*runs)
    assert [feed.counts() for feed in feeds] == [FeedCounts(fetched=1, acknowledged=1), FeedCounts()]


async def test_a_server_that_is_restarted_loses_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A feed goes on when its server is back, and every message is processed."""
    seen: set[int] = set()

    async def note(payload: Payload[int], ctx: Context) -> None:
        await asyncio.sleep(0.001)
        seen.add(payload.value)

    with running(nats_server, tmp_path_factory.mktemp("nats-restart")) as server:
        async with asyncio.timeout(BOUND):
            client = await nats.connect(f"nats://127.0.0.1:{server.port}", reconnect_time_wait=0.1)
            stream = Stream(server, client)
            await stream.make()
            await stream.publish(*range(300))
            async with queue_of(note, max_consumers=2) as queue:
                feed = Feed(queue, stream.source())
                run = asyncio.create_task(feed.run())
                await until(lambda: len(seen) > 100)
                server.stop()
                await asyncio.sleep(0.3)
                server.start()
                await until(lambda: len(seen) == 300)
                await until_async(lambda: settled(stream))
                feed.stop()
                await run
            await client.close()


async def test_a_consumer_that_was_deleted_is_made_again(stream: Stream) -> None:
    """A feed whose durable consumer is gone has it again, and goes on from the beginning of the stream."""
    seen: list[Any] = []

    async def note(payload: Payload[Any], ctx: Context) -> None:
        seen.append(payload.value)

    async with queue_of(note) as queue:
        feed = Feed(queue, stream.source(), duplicate_window=0)
        run = asyncio.create_task(feed.run())
        await stream.publish("a")
        await until(lambda: seen == ["a"])
        await stream.jetstream.delete_consumer(stream.name, "event-collector")
        await until(lambda: seen == ["a", "a"])
        feed.stop()
        await run


# -- what it makes and refuses --


async def test_the_consumer_lets_many_programs_share_the_stream(stream: Stream) -> None:
    """It is durable, acknowledges explicitly, and bounds neither deliveries, nor what is pending, nor programs."""
    async with opened(stream.source(ack_wait=7.0)):
        config = (await stream.info()).config
    assert (config.durable_name, config.ack_policy, config.ack_wait) == ("event-collector", "explicit", 7.0)
    assert (config.max_deliver, config.max_ack_pending, config.max_waiting) == (-1, -1, 20_000)
    async with opened(stream.source(ack_wait=3.0)) as other:
        assert other.hold == 7.0  # it is as it is


@pytest.mark.parametrize(
    ("config", "options", "words"),
    [
        (ConsumerConfig(durable_name="mine", ack_policy=AckPolicy.NONE), {}, "not one of pull requests"),
        (ConsumerConfig(durable_name="mine", deliver_subject="push"), {}, "not one of pull requests"),
        (ConsumerConfig(durable_name="mine"), {"subject": "other"}, "is for subject None, not"),
    ],
)
async def test_a_consumer_of_another_kind_is_refused(
    stream: Stream, config: ConsumerConfig, options: dict[str, Any], words: str
) -> None:
    """The error says what to do, and nothing stays open."""
    await stream.jetstream.add_consumer(stream.name, config)
    with pytest.raises(SourceError, match=words) as caught:
        await stream.source(consumer="mine", **options).open()
    if "subject" not in options:
        assert_documented(str(caught.value).replace(stream.name, "ORDERS").replace("mine", "billing"))


async def test_a_stream_that_is_not_there_is_refused(server: Server) -> None:
    """The error names the stream, and how to make it."""
    with pytest.raises(SourceError, match="no stream 'NONE': make it first, for example with `nats stream add"):
        await JetStreamSource(f"nats://127.0.0.1:{server.port}", "NONE").open()


async def test_a_server_that_is_not_there_is_told_at_once() -> None:
    """With the reason; nats-py alone would try for ever."""
    async with asyncio.timeout(BOUND):
        with pytest.raises(SourceError) as caught:
            await JetStreamSource(f"nats://127.0.0.1:{free_port()}", "ORDERS").open()
    assert_documented(str(caught.value))


async def test_a_server_that_refuses_the_password_is_told(tmp_path: Path) -> None:
    """The error says so, and has no password. What the server said may be lost with the reset of each connection."""

    def refusing(folder: Path) -> Server:
        return nats_server(folder, "--user", "me", "--pass", "right")

    with running(refusing, tmp_path) as server:
        async with asyncio.timeout(BOUND):
            with pytest.raises(SourceError, match=r"(?i)authorization|refuses the credentials") as caught:
                await JetStreamSource(f"nats://me:wrong@127.0.0.1:{server.port}", "S").open()
        assert "wrong" not in str(caught.value)


async def test_a_source_that_is_not_open_says_so() -> None:
    """Fetching from it is an error, closing it is none."""
    source = JetStreamSource("nats://127.0.0.1:1", "S")
    with pytest.raises(SourceError, match="not open"):
        await source.fetch(1)
    await source.close()
