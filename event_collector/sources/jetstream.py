"""Messages of a NATS JetStream stream, through a durable consumer that any number of programs share."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from event_collector.sources.jetstream_connection import NatsConnection
from event_collector.sources.jetstream_consumer import NANOSECONDS, ConsumerPlan
from event_collector.sources.jetstream_pull import Puller
from event_collector.sources.source import (
    ANSWER_TIMEOUT,
    PATIENCE,
    BrokerMessage,
    check_hold,
    check_names,
    encodable,
    translate_errors,
)
from event_collector.values.errors import ConfigError, SourceError
from event_collector.values.extras import import_extra

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

MAX_TEXT: Final = 1000
"""Characters of an error in a header."""
_NAME: Final = re.compile(r"[^\s.*>/\\]+")
_HEADER: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


class JetStreamSource:
    """Messages of a JetStream stream.

    The stream must exist: its retention and its replicas are not for its readers to decide. If it is deleted and made
    again, it is read from the beginning. The durable consumer is created if it does not exist, with explicit
    acknowledgement and without limits on deliveries and on pending messages, because feeds enforce these; an existing
    consumer is not changed, and refused if it would lose messages. Dead letters are published to a separate subject,
    with all headers of the message and `Event-Collector-Reason`, `-Error`, `-Stream`, `-Sequence`, `-Subject` and
    `-Deliveries`. If no stream has that subject, one is created.

    The id of a message is its `Nats-Msg-Id`, by which the server also drops copies within the `duplicate_window` of
    the stream; without that header it is the sequence number in the stream.

    Args:
        servers: URLs such as "nats://host:4222" or "tls://host:4222", of one server or of several in a cluster.
        stream: name of the stream.
        consumer: name of the durable consumer; programs with the same consumer share its messages.
        subject: only messages under this subject, wildcards allowed; None for all. It must match that of an existing
            consumer.
        ack_wait: seconds without an extension after which the server delivers a message to another program, at least
            0.1. A program that is killed, or whose event loop is blocked for longer, loses its messages to others.
        dead_letters: the subject of dead letters; `dead.STREAM` if not given.
        options: arguments of `nats.connect()`: `user_credentials`, `tls`, `token` and others.

    Raises:
        ConfigError: nats-py is not installed, or a name or number is invalid.
    """

    def __init__(
        self,
        servers: str | Sequence[str],
        stream: str,
        *,
        consumer: str = "event-collector",
        subject: str | None = None,
        ack_wait: float = 30.0,
        dead_letters: str | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        self._missing = import_extra("nats.js.errors", "nats").NoStreamResponseError
        names: dict[str, Any] = {"stream": stream, "consumer": consumer}
        for what, name in names.items():
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise ConfigError(
                    f"JetStreamSource: the name of a {what} has no spaces, dots, '*' and '>': not {name!r}"
                )
        check_hold("JetStreamSource(ack_wait=...)", ack_wait)
        check_names("JetStreamSource", options, subject=subject, dead_letters=dead_letters)
        given: Any = servers
        if not isinstance(given, (str, list, tuple)) or not given or not all(isinstance(url, str) for url in given):
            raise ConfigError(f"JetStreamSource takes the URL of a server, or a list of URLs, not {servers!r}")
        dead_letters = f"dead.{stream}" if dead_letters is None else dead_letters
        if not all(map(_NAME.fullmatch, dead_letters.split("."))):
            raise ConfigError(
                f"JetStreamSource(dead_letters=...) takes a subject without wildcards, not {dead_letters!r}"
            )
        self._plan = ConsumerPlan(stream, consumer, subject, float(ack_wait), dead_letters)
        urls = [servers] if isinstance(servers, str) else list(servers)
        self._connection = NatsConnection(urls, stream, options or {}, self._on_lost)
        self.name = f"{stream} ({consumer})"
        self.hold = float(ack_wait)
        self._mending = asyncio.Lock()
        self._is_open = False
        self._is_checked = False  # the server was asked for stream and consumer since the connection was lost
        self._created: str | None = None  # when the stream was made
        self._puller: Puller | None = None

    async def open(self) -> None:
        """Connect; create the durable consumer and the stream of dead letters if they do not exist.

        Raises:
            SourceError: no server can be reached, the stream does not exist, the server refuses, the consumer is of
                another kind, or dead letters would become messages of the same source.
        """
        self._is_open = True
        try:
            async with self._using("cannot be read"):
                pass
        except BaseException:
            await self.close()
            raise

    async def fetch(self, most: int) -> list[BrokerMessage]:
        """Return up to `most` messages as soon as there is one; an empty list after a second."""
        async with self._using("gives no messages") as (client, puller):
            taken = await puller.take(most, PATIENCE)
            if not taken and not client.is_connected:
                await self._connection.client()  # raises the reason
            if not taken and puller.problem is not None:
                raise SourceError(f"the server answered: {puller.problem}")
            return [self._message(msg) for msg in taken]

    def _message(self, msg: "Msg") -> BrokerMessage:
        metadata, headers = msg.metadata, msg.headers or {}
        place = str(metadata.sequence.stream)
        return BrokerMessage(
            id=headers.get("Nats-Msg-Id") or place, place=place, data=msg.data, deliveries=metadata.num_delivered,
            born=metadata.timestamp.isoformat(), subject=msg.subject, headers=headers,
            handle=(msg.reply, self._created),
        )  # fmt: skip

    async def count_unsettled(self) -> int:
        """Return the number of messages that wait, or are delivered and not settled, here or elsewhere."""
        async with self._using("cannot be read") as (client, _):
            return await self._plan.count_messages(client)

    async def extend(self, messages: Sequence[BrokerMessage]) -> None:
        """Restart the ack_wait of the messages."""
        async with self._using("cannot be updated") as (client, _):
            for message in messages:
                await self._answer(client, message, b"+WPI")

    async def acknowledge(self, messages: Sequence[BrokerMessage]) -> None:
        """Acknowledge the messages."""
        async with self._using("cannot be updated") as (client, _):
            for message in messages:
                await self._answer(client, message, b"+ACK")

    async def retry(self, message: BrokerMessage, delay: float) -> None:
        """Have the server deliver the message again in `delay` seconds."""
        async with self._using("cannot be updated") as (client, _):
            if not await self._answer(client, message, b'-NAK {"delay": %d}' % (delay * NANOSECONDS)):
                raise SourceError(f"message {message.place} is gone with its stream, and is not delivered again")

    async def _answer(self, client: "Client", message: BrokerMessage, answer: bytes) -> bool:
        """Settle or extend a delivery. Return False if its stream is gone: a new one gives its number to another.

        The client need not be the one that has received the message.
        """
        reply, created = message.handle
        is_there = bool(created == self._created)
        if is_there:
            await client.publish(reply, answer)
        return is_there

    async def bury(self, message: BrokerMessage, reason: str, error: str) -> None:
        """Publish the message as a dead letter, then terminate its delivery."""
        plan = self._plan
        # The server interprets headers that begin with "Nats-". nats-py refuses to send some that others may send.
        headers = {
            key: value for key, value in message.headers.items()
            if _HEADER.fullmatch(key) and not key.lower().startswith("nats-")
        }  # fmt: skip
        # Two deliveries of a message to programs of one consumer make one dead letter.
        headers["Nats-Msg-Id"] = f"{plan.stream}:{plan.consumer}:{message.place}:{message.born}"
        details = {
            "Reason": reason, "Error": " ".join(encodable(error).split())[:MAX_TEXT], "Stream": plan.stream,
            "Sequence": message.place, "Subject": message.subject, "Deliveries": str(message.deliveries),
        }  # fmt: skip
        headers |= {f"Event-Collector-{name}": value for name, value in details.items()}
        async with self._using("takes no dead letter") as (client, _):
            # The server closes the connection at a larger message.
            fits = len(message.data) + _size(headers) <= client.max_payload
            letter = plan.dead_letters, message.data, None, None, headers if fits else None
            try:
                await client.jetstream().publish(*letter)
            except self._missing:  # the stream of dead letters is gone
                await plan.find_dead_letters(client)
                await client.jetstream().publish(*letter)
            await self._answer(client, message, b"+TERM")

    def interrupt(self) -> None:
        """Make a running `fetch()` return at once."""
        if self._puller is not None:
            self._puller.interrupt()

    async def hand_back(self) -> None:
        """Stop deliveries, and have what was delivered and not fetched delivered to others at once."""
        async with self._using("cannot be updated") as (client, puller):
            for msg in await puller.close():
                await self._answer(client, self._message(msg), b"-NAK")

    async def close(self) -> None:
        """Flush the connection, then disconnect."""
        self._is_open, self._puller = False, None
        await self._connection.close()

    @asynccontextmanager
    async def _using(self, what: str) -> "AsyncIterator[tuple[Client, Puller]]":
        if not self._is_open:
            raise SourceError("the source is not open")
        with translate_errors(f"stream {self._plan.stream!r} {what}"):
            try:
                async with self._mending:
                    ready = await self._make_ready()
                async with asyncio.timeout(PATIENCE + ANSWER_TIMEOUT):
                    yield ready
            except TimeoutError:
                self._connection.check()  # raises the reason
                raise

    async def _make_ready(self) -> "tuple[Client, Puller]":
        """Return a connected client, and a puller for a consumer that was looked at since the last trouble."""
        client, puller, plan = await self._connection.client(), self._puller, self._plan
        if puller is None or puller.client is not client:
            puller = Puller(client, plan.stream, plan.consumer)
            await puller.open()
            self._puller, self._is_checked = puller, False
        if puller.problem is not None or not self._is_checked:
            # The consumer may have been deleted, its leader may be gone, or the server may have lost its data.
            terms = await plan.carry_out(client)
            puller.adapt(terms.max_batch, terms.max_expires, is_new=terms.created != self._created)
            self.hold, self._created, self._is_checked = terms.hold, terms.created, True
        return client, puller

    def _on_lost(self) -> None:
        self._is_checked = False
        if self._puller is not None:
            self._puller.forget_requests()


def _size(headers: dict[str, str]) -> int:
    """Return the size of headers in a message, in bytes."""
    return len("NATS/1.0\r\n\r\n") + sum(len(f"{key}: {value}\r\n".encode()) for key, value in headers.items())
