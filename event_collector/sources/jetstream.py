"""Messages of a NATS JetStream stream, through a durable consumer that any number of programs share."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from event_collector.sources.jetstream_pull import Puller
from event_collector.sources.source import (
    PATIENCE,
    BrokerMessage,
    check_hold,
    check_names,
    describe_error,
    translate_errors,
)
from event_collector.values.errors import ConfigError, SourceError
from event_collector.values.extras import import_extra

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

CONNECT_TIMEOUT: Final = 10.0
MAX_WAITING: Final = 20_000
"""Pull requests that the consumer keeps, about one per program. The server's default of 512 would limit the number of
programs, and it cannot be changed later."""
NO_LIMIT: Final = -1
MAX_TEXT: Final = 1000
"""Characters of an error in a header."""
_NAME: Final = re.compile(r"[^\s.*>/\\]+")


class JetStreamSource:
    """Messages of a JetStream stream.

    The stream must exist: its retention and its replicas are not for its readers to decide. The durable consumer is
    created if it does not exist, with explicit acknowledgement and without limits on deliveries and on pending
    messages, because feeds enforce these; an existing consumer is not changed. Dead letters are published to a
    separate subject, with all headers of the message and `Event-Collector-Reason`, `-Error`, `-Stream`, `-Sequence`,
    `-Subject` and `-Deliveries`. If no stream has that subject, one is created.

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
        self._nats = import_extra("nats", "nats")
        self._errors = (self._nats.errors.Error, OSError)
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
        self._servers = [servers] if isinstance(servers, str) else list(servers)
        self._stream, self._consumer, self._subject = stream, consumer, subject
        self._dead_letters = dead_letters or f"dead.{stream}"
        self._options = options or {}
        self.name = f"{stream} ({consumer})"
        self.hold = float(ack_wait)
        self._client: Client | None = None
        self._puller: Puller | None = None
        self._failed: asyncio.Future[Exception] | None = None
        self._last_error: Exception | None = None

    async def open(self) -> None:
        """Connect; create the durable consumer and the stream of dead letters if they do not exist.

        Raises:
            SourceError: no server can be reached, the stream does not exist, or the server refuses.
        """
        self._client = await self._connect()
        self._puller = Puller(self._client, self._stream, self._consumer)
        try:
            with self._using("cannot be read") as (client, puller):
                jetstream = client.jetstream()
                self.hold = await self._find_consumer(jetstream)
                try:
                    await jetstream.find_stream_name_by_subject(self._dead_letters)
                except self._nats.js.errors.NotFoundError:
                    await jetstream.add_stream(name=f"{self._stream}_DEAD", subjects=[self._dead_letters])
                await puller.open()
        except BaseException:
            await self.close()
            raise

    async def _connect(self) -> "Client":
        """Connect to any of the servers within `CONNECT_TIMEOUT`; nats-py itself would try for ever."""
        client: Client = self._nats.NATS()
        self._failed = asyncio.get_running_loop().create_future()
        settings = {"name": "event-collector", "max_reconnect_attempts": -1, "reconnect_time_wait": 0.5}
        callbacks = {"error_cb": self._on_error, "disconnected_cb": self._on_disconnected}
        connecting = asyncio.create_task(client.connect(self._servers, **{**settings, **self._options, **callbacks}))
        try:
            both: set[asyncio.Future[Any]] = {connecting, self._failed}
            await asyncio.wait(both, timeout=CONNECT_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
            if connecting.done():
                connecting.result()
                return client
            reason: object = self._failed.result() if self._failed.done() else f"no answer within {CONNECT_TIMEOUT:g} s"
        except Exception as exc:
            reason = exc
        finally:
            self._failed.cancel()
            if not connecting.done():
                connecting.cancel()
                await asyncio.wait({connecting})
        with suppress(Exception):
            await client.close()
        raise SourceError(
            f"the NATS server of stream {self._stream!r} cannot be reached: {describe_error(reason)}. "
            f"Is it running, and are address and credentials right?"
        )

    async def _find_consumer(self, jetstream: "JetStreamContext") -> float:
        """Create the durable consumer, or check the existing one; return its ack_wait."""
        from nats.js.api import AckPolicy, ConsumerConfig

        try:
            found = (await jetstream.consumer_info(self._stream, self._consumer)).config
        except self._nats.js.errors.NotFoundError as exc:
            if exc.err_code == 10059:  # stream not found
                raise SourceError(
                    f"there is no stream {self._stream!r}: make it first, for example with "
                    f"`nats stream add {self._stream}`"
                ) from None
            found = ConsumerConfig(
                durable_name=self._consumer, ack_policy=AckPolicy.EXPLICIT, ack_wait=self.hold,
                filter_subject=self._subject, max_deliver=NO_LIMIT, max_ack_pending=NO_LIMIT, max_waiting=MAX_WAITING,
            )  # fmt: skip
            await jetstream.add_consumer(self._stream, found)
        if found.deliver_subject or found.ack_policy != AckPolicy.EXPLICIT:
            raise SourceError(
                f"consumer {self._consumer!r} of stream {self._stream!r} is not one of pull requests with explicit "
                f"acknowledgement: give this program a consumer of another name"
            )
        if (found.filter_subject or None) != self._subject:
            raise SourceError(
                f"consumer {self._consumer!r} of stream {self._stream!r} is for subject {found.filter_subject!r}, not "
                f"{self._subject!r}: give this program a consumer of another name"
            )
        return float(found.ack_wait or self.hold)

    async def fetch(self, most: int) -> list[BrokerMessage]:
        """Return up to `most` messages as soon as there is one; an empty list after a second."""
        with self._using("gives no messages") as (client, puller):
            if puller.problem is not None:
                # The consumer may have been deleted, or its leader may be gone.
                await self._find_consumer(client.jetstream())
                puller.problem = None
            taken = await puller.take(most, PATIENCE)
            if not taken and not client.is_connected:
                raise SourceError(f"there is no connection to the server: {describe_error(self._last_error)}")
            if not taken and puller.problem is not None:
                raise SourceError(f"the server answered: {puller.problem}")
            return [_message(msg) for msg in taken]

    async def extend(self, messages: Sequence[BrokerMessage]) -> None:
        """Restart the ack_wait of the messages."""
        with self._using("cannot be updated"):
            for message in messages:
                await message.handle.in_progress()

    async def acknowledge(self, messages: Sequence[BrokerMessage]) -> None:
        """Acknowledge the messages."""
        with self._using("cannot be updated"):
            for message in messages:
                await message.handle.ack()

    async def retry(self, message: BrokerMessage, delay: float) -> None:
        """Have the server deliver the message again in `delay` seconds."""
        with self._using("cannot be updated"):
            await message.handle.nak(delay)

    async def bury(self, message: BrokerMessage, reason: str, error: str) -> None:
        """Publish the message as a dead letter, then terminate its delivery."""
        # The server interprets headers that begin with "Nats-".
        headers = {key: value for key, value in message.headers.items() if not key.lower().startswith("nats-")}
        headers["Nats-Msg-Id"] = f"{self._stream}:{message.place}"  # two deliveries of a message make one dead letter
        details = {
            "Reason": reason, "Error": " ".join(error.split())[:MAX_TEXT], "Stream": self._stream,
            "Sequence": message.place, "Subject": message.subject, "Deliveries": str(message.deliveries),
        }  # fmt: skip
        headers |= {f"Event-Collector-{name}": value for name, value in details.items()}
        with self._using("takes no dead letter") as (client, _):
            # The server closes the connection at a larger message.
            fits = len(message.data) + _size(headers) <= client.max_payload
            await client.jetstream().publish(self._dead_letters, message.data, headers=headers if fits else None)
            await message.handle.term()

    def interrupt(self) -> None:
        """Make a running `fetch()` return at once."""
        if self._puller is not None:
            self._puller.interrupt()

    async def hand_back(self) -> None:
        """Stop deliveries, and have what was delivered and not fetched delivered to others at once."""
        with self._using("cannot be updated") as (_, puller):
            for msg in await puller.close():
                await msg.nak()

    async def close(self) -> None:
        """Flush the connection, then disconnect."""
        client, self._client, self._puller = self._client, None, None
        if client is None:
            return
        with suppress(*self._errors):
            if client.is_connected:
                await client.flush(timeout=2)
        with suppress(*self._errors):
            await client.close()

    @contextmanager
    def _using(self, what: str) -> "Iterator[tuple[Client, Puller]]":
        if self._client is None or self._puller is None:
            raise SourceError("the source is not open")
        with translate_errors(self._errors, f"stream {self._stream!r} {what}"):
            yield self._client, self._puller

    async def _on_error(self, exc: Exception) -> None:
        self._last_error = exc
        if self._failed is not None and not self._failed.done():
            self._failed.set_result(exc)

    async def _on_disconnected(self) -> None:
        if self._puller is not None:
            self._puller.forget_requests()


def _message(msg: "Msg") -> BrokerMessage:
    metadata, headers = msg.metadata, msg.headers or {}
    place = str(metadata.sequence.stream)
    return BrokerMessage(
        id=headers.get("Nats-Msg-Id") or place, place=place, data=msg.data, deliveries=metadata.num_delivered,
        subject=msg.subject, headers=headers, handle=msg,
    )  # fmt: skip


def _size(headers: dict[str, str]) -> int:
    """Return the size of headers in a message, in bytes."""
    return len("NATS/1.0\r\n\r\n") + sum(len(f"{key}: {value}\r\n".encode()) for key, value in headers.items())
