"""What a JetStream source asks of its server, takes from it, and refuses: consumers, dead letters, connections."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bench.brokers.server import free_port, nats_server
from event_collector import ConfigError, Context, Payload, Reject, Retry, SourceError
from event_collector.sources import Feed, JetStreamSource
from event_collector.sources.jetstream_consumer import is_subject_in

from .sample_source import BOUND, fetch, opened, queue_of, until
from .servers import running
from .test_jetstream import Stream, anyio_backend, assert_documented, server, stream

__all__ = ["anyio_backend", "server", "stream"]


async def make_consumer(stream: Stream, **config: Any) -> None:
    """Make a consumer with settings that nats-py does not know."""
    request = {"stream_name": stream.name, "config": {"durable_name": "mine", "ack_policy": "explicit", **config}}
    subject = f"$JS.API.CONSUMER.DURABLE.CREATE.{stream.name}.mine"
    answer = json.loads((await stream.client.request(subject, json.dumps(request).encode())).data)
    assert "error" not in answer, answer


class Log:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, event: str, **values: Any) -> None:
        self.lines.append(f"{event} {values}")


async def note(payload: Payload[Any], ctx: Context) -> None: ...


# -- consumers --


@pytest.mark.parametrize(
    "limits",
    [{"max_expires": 1_000_000_000}, {"max_batch": 3}, {"max_waiting": 1}, {"max_ack_pending": 1}, {"max_bytes": 100}],
    ids=lambda limits: next(iter(limits)),
)
async def test_a_consumer_is_asked_for_no_more_than_it_grants(stream: Stream, limits: dict[str, int]) -> None:
    """Its limits slow a feed down at most; none of its requests is refused."""
    await make_consumer(stream, **limits)
    log = Log()
    async with asyncio.timeout(BOUND), queue_of(note) as queue:
        feed = Feed(queue, stream.source(consumer="mine"), log=log)
        run = asyncio.create_task(feed.run())
        await asyncio.sleep(0.1)  # a request is open when messages come
        await stream.publish(*range(50))
        await until(lambda: feed.counts().acknowledged == 50)
        feed.stop()
        await run
    assert log.lines == []


async def test_limits_that_are_set_later_are_found_out(stream: Stream) -> None:
    """A request that is refused has the source look at the consumer again."""
    await make_consumer(stream)
    await stream.publish(*range(20))
    async with opened(stream.source(consumer="mine")) as source:
        await make_consumer(stream, max_batch=2)
        with pytest.raises(SourceError, match="Exceeded MaxRequestBatch"):
            await source.fetch(10)
        assert len(await fetch(source, 10)) > 0


async def test_the_shortest_wait_of_a_consumer_counts(stream: Stream) -> None:
    """With backoff= it gives a message up sooner at one delivery than at another."""
    await make_consumer(stream, backoff=[3_000_000_000, 500_000_000], max_deliver=-1)
    async with opened(stream.source(consumer="mine", ack_wait=30.0)) as source:
        assert source.hold == 0.5


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"headers_only": True}, "without their data"),
        ({"max_deliver": 3}, r"drops a message after 3 deliveries"),
        ({"priority_groups": ["a"], "priority_policy": "overflow"}, "priority groups"),
        ({"filter_subjects": ["SUBJECT.a", "SUBJECT.b"]}, r"is for subject '\w+.a', '\w+.b', not None"),
    ],
)
async def test_a_consumer_that_loses_messages_is_refused(stream: Stream, config: dict[str, Any], words: str) -> None:
    """The error names the setting, and what to do."""
    config = {
        key: [text.replace("SUBJECT", stream.name) for text in value] if key == "filter_subjects" else value
        for key, value in config.items()
    }
    await make_consumer(stream, **config)
    with pytest.raises(SourceError, match=words) as caught:
        await stream.source(consumer="mine").open()
    if "max_deliver" in config:
        assert_documented(str(caught.value).replace(stream.name, "ORDERS").replace("mine", "billing"))


async def test_until_empty_waits_for_what_others_have(stream: Stream) -> None:
    """A message that another program has given up may have to be run here, after its delay."""
    await stream.publish("held", "delayed")
    async with opened(stream.source(ack_wait=2.2)) as other, queue_of(note) as queue:
        _, delayed = await fetch(other, 2)
        await other.retry(delayed, 3.4)
        feed = Feed(queue, stream.source())
        async with asyncio.timeout(BOUND):
            await feed.run(until_empty=True)
        assert feed.counts().acknowledged == 2


# -- messages --


async def test_a_header_of_the_publisher_may_have_any_name(stream: Stream) -> None:
    """Status and Description are those of the protocol only where the server has set them."""
    await stream.publish(b"", Status="409", Description="paid")
    async with opened(stream.source()) as source:
        (message,) = await fetch(source)
        assert (message.data, message.headers["Status"]) == (b"", "409")


async def test_an_id_of_a_publisher_is_no_number_of_the_stream(stream: Stream) -> None:
    """A message without an id is not taken for one whose publisher has chosen its number as an id."""
    await stream.publish("a", Nats_Msg_Id="2")
    await stream.publish("b")
    async with asyncio.timeout(BOUND), queue_of(note) as queue:
        feed = Feed(queue, stream.source())
        await feed.run(until_empty=True)
    assert (feed.counts().acknowledged, feed.counts().duplicates) == (2, 0)


# -- dead letters --


async def refuse(payload: Payload[Any], ctx: Context) -> None:
    raise Reject("no \ud800 good")


async def test_a_dead_letter_has_any_text_and_any_headers(stream: Stream) -> None:
    """Those that cannot be sent are escaped or left out; without that the message would never become one."""
    await stream.publish("bad")
    async with asyncio.timeout(BOUND), queue_of(refuse) as queue:
        await Feed(queue, stream.source()).run(until_empty=True)
    async with opened(stream.source(consumer="other")) as source:
        (message,) = await fetch(source)
        message.headers = {"no/token": "1", "Colour": "red"}
        await source.bury(message, "exhausted", "no \ud800 good")
    first, second = await stream.dead()
    assert first.headers["Event-Collector-Error"] == "Reject: no \\ud800 good"
    assert second.headers["Event-Collector-Error"] == "no \\ud800 good"
    assert (second.headers.get("Colour"), second.headers.get("no/token")) == ("red", None)


async def test_each_consumer_has_its_own_dead_letters(stream: Stream) -> None:
    """A message that fails in two of them is two dead letters, although their ids are made of its number."""
    await stream.publish("bad")
    for consumer in ("one", "two"):
        async with asyncio.timeout(BOUND), queue_of(refuse) as queue:
            await Feed(queue, stream.source(consumer=consumer)).run(until_empty=True)
    assert len(await stream.dead()) == 2


async def test_a_stream_of_dead_letters_that_is_gone_is_made_again(stream: Stream) -> None:
    """Nothing is dropped because it was deleted while the feed runs."""
    async with opened(stream.source()) as source:
        await stream.jetstream.delete_stream(f"{stream.name}_DEAD")
        await stream.publish("bad")
        (message,) = await fetch(source)
        await source.bury(message, "exhausted", "no good")
    assert len(await stream.dead()) == 1


@pytest.mark.parametrize(
    ("subject", "dead_letters", "is_loop"),
    [(None, "NAME.dead", True), ("NAME.*", "NAME.dead", True), ("NAME.new", "NAME.dead", False), (None, None, False)],
)
async def test_dead_letters_do_not_come_back(
    stream: Stream, subject: str | None, dead_letters: str | None, is_loop: bool
) -> None:
    """A subject that the source itself reads is refused."""
    subject, dead_letters = (text and text.replace("NAME", stream.name) for text in (subject, dead_letters))
    source = stream.source(subject=subject, dead_letters=dead_letters)
    if is_loop:
        with pytest.raises(SourceError, match="would come back as its messages") as caught:
            await source.open()
        assert_documented(str(caught.value).replace(stream.name, "ORDERS"))
    else:
        async with opened(source):
            pass


async def test_dead_letters_do_not_come_back_by_a_copy(stream: Stream) -> None:
    """The stream may have the stream of dead letters as one of its origins."""
    await stream.jetstream.add_stream(name=f"{stream.name}_DEAD", subjects=[f"dead.{stream.name}"])
    request = {"name": f"{stream.name}X", "sources": [{"name": f"{stream.name}_DEAD"}]}
    await stream.client.request(f"$JS.API.STREAM.CREATE.{stream.name}X", json.dumps(request).encode())
    with pytest.raises(SourceError, match="would come back"):
        await JetStreamSource(stream.url, f"{stream.name}X", dead_letters=f"dead.{stream.name}").open()


async def test_dead_letters_without_a_stream_are_an_error(stream: Stream) -> None:
    """Their stream is there, and has another subject."""
    await stream.jetstream.add_stream(name=f"{stream.name}_DEAD", subjects=[f"other.{stream.name}"])
    with pytest.raises(SourceError, match="no stream has the subject of dead letters"):
        await stream.source().open()


@pytest.mark.parametrize("name", ["", "a b", "a.*", "a..b", ">"])
def test_dead_letters_have_one_subject(name: str) -> None:
    """Wildcards are for readers."""
    with pytest.raises(ConfigError, match="dead_letters"):
        JetStreamSource("nats://host", "S", dead_letters=name)


@pytest.mark.parametrize(
    ("subject", "pattern", "is_in"),
    [
        ("a.b", None, True), ("a.b", "", True), ("a.b", ">", True), ("a.b", "a.b", True), ("a.b", "a.*", True),
        ("a.b", "*.b", True), ("a.b", "a.>", True), ("a.b", "a", False), ("a", "a.>", False), ("a.b.c", "a.*", False),
        ("a.b", "b.*", False), ("a.b", "a.b.c", False),
    ],
)  # fmt: skip
def test_patterns_include_subjects(subject: str, pattern: str | None, is_in: bool) -> None:
    """As the server takes them."""
    assert is_subject_in(subject, pattern) == is_in


# -- connections --


async def test_one_server_of_several_is_enough(stream: Stream) -> None:
    """Those that do not answer are passed over, also if all others have to be tried first."""
    down = [f"nats://127.0.0.1:{free_port()}" for _ in range(3)]
    source = JetStreamSource([*down, stream.url], stream.name, options={"dont_randomize": True})
    async with opened(source):
        pass


async def test_callbacks_of_the_application_are_called(stream: Stream) -> None:
    """The source has its own, and calls those of options= as well."""
    errors: list[Exception] = []

    async def on_error(exc: Exception) -> None:
        errors.append(exc)

    servers = [f"nats://127.0.0.1:{free_port()}", stream.url]
    options = {"dont_randomize": True, "error_cb": on_error}
    async with opened(JetStreamSource(servers, stream.name, options=options)):
        assert isinstance(errors[0], OSError)


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[Any]:
    """Have a server that only this test uses."""
    with running(nats_server, tmp_path) as server:
        yield server


@pytest.mark.parametrize("options", [{"allow_reconnect": False}, {"max_reconnect_attempts": 1}], ids=str)
async def test_a_client_that_has_given_up_is_replaced(own: Any, options: dict[str, Any]) -> None:
    """Whatever options say of its attempts, the feed goes on when the server is back, and settles what it had."""
    import nats

    seen: list[Any] = []
    gate = asyncio.Event()

    async def wait(payload: Payload[Any], ctx: Context) -> None:
        seen.append(payload.value)
        await gate.wait()

    url = f"nats://127.0.0.1:{own.port}"
    client = await nats.connect(url, reconnect_time_wait=0.1)
    stream = Stream(own, client)
    await stream.make()
    await stream.publish("before")
    async with asyncio.timeout(BOUND), queue_of(wait) as queue:
        source = JetStreamSource(url, stream.name, options={"reconnect_time_wait": 0.1, **options})
        feed = Feed(queue, source, retry=Retry(max_attempts=5, backoff=0.1))
        run = asyncio.create_task(feed.run())
        await until(lambda: seen == ["before"])
        own.stop()
        await until(lambda: source._connection._client is None or source._connection._client.is_closed)
        own.start()
        gate.set()
        await until(lambda: feed.counts().acknowledged == 1)
        await stream.publish("after")
        await until(lambda: feed.counts().acknowledged == 2)
        feed.stop()
        await run
    assert seen == ["before", "after"]
    await client.close()


@pytest.mark.parametrize("subject", ["$JS.ACK.>", "$JS.API.CONSUMER.>"])
async def test_a_permission_that_is_missing_is_told(tmp_path: Path, subject: str) -> None:
    """The server says it to no request: the source asks itself why nothing happens."""
    import nats

    (tmp_path / "conf").write_text(
        "authorization { users = [{user: all, password: p}, {user: few, password: p, permissions: {publish: "
        f'{{allow: ">", deny: "{subject}"}}}}}}] }}'
    )
    with running(lambda folder: nats_server(folder, "-c", str(folder / "conf")), tmp_path) as server:
        client = await nats.connect(f"nats://all:p@127.0.0.1:{server.port}")
        stream = Stream(server, client)
        await stream.make()
        await stream.publish("a")
        source = JetStreamSource(f"nats://few:p@127.0.0.1:{server.port}", stream.name)
        with pytest.raises(SourceError, match=r"(?i)permissions violation for publish to .\$JS"):
            await use_until_refused(source)
        await client.close()


async def use_until_refused(source: JetStreamSource) -> None:
    async with asyncio.timeout(BOUND), opened(source):
        await source.acknowledge(await fetch(source))
        while True:
            await source.fetch(1)
