"""RedisStreamSource: entries of a Redis stream, by a consumer group that any number of programs share."""

import os
import secrets
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from event_collector.sources.source import PATIENCE, Message, check_hold
from event_collector.values.errors import ConfigError, SourceError
from event_collector.values.extras import import_extra

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["RedisStreamSource"]

CLAIM_INTERVAL: Final = 1.0
"""Seconds between two looks for entries that nobody has extended."""
MESSAGE_ID: Final = "message-id"

Entry: TypeAlias = "tuple[bytes, Mapping[bytes, bytes] | None]"


class RedisStreamSource:
    """Entries of a Redis stream (Redis 6.2 or later).

    The consumer group is made if it is not there, from the beginning of the stream. An entry that no program has
    extended for `claim_after` seconds is claimed by another one. Acknowledged entries stay in the stream: to trim it,
    with `XADD ... MAXLEN`, is for who writes it. Dead letters are entries of another stream, with all fields of the
    entry and `event-collector-reason`, `-error`, `-stream`, `-id` and `-deliveries`. Redis keeps its stream in memory
    and may lose the last second of it, or what a replica has not got yet: that depends on how it is set up.

    Args:
        url: such as "redis://host:6379/0" or "rediss://user:password@host:6379".
        stream: its key.
        group: the name of the consumer group: programs with the same one share its entries.
        field: the field with the data. An entry without it is a JSON object of its fields, all of them strings. The
            field `message-id`, if there is one, is the id of the message; otherwise the id of the entry is.
        claim_after: seconds without a word after which an entry goes to another program, at least 0.1. None waits
            longer for being delivered again.
        dead_letters: the key of the stream of dead letters; `STREAM:dead` if not given.
        options: for `redis.asyncio.Redis.from_url()`.

    Raises:
        ConfigError: redis is not installed, or a name or number cannot be.

    """

    def __init__(
        self,
        url: str,
        stream: str,
        *,
        group: str = "event-collector",
        field: str = "data",
        claim_after: float = 60.0,
        dead_letters: str | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        self._redis = import_extra("redis.asyncio", "redis")
        self._errors = import_extra("redis.exceptions", "redis")
        names: dict[str, Any] = {"stream": stream, "group": group, "field": field}
        for what, name in names.items():
            if not isinstance(name, str) or not name:
                raise ConfigError(f"RedisStreamSource: the name of a {what} is a string, not {name!r}")
        check_hold("RedisStreamSource(claim_after=...)", claim_after)
        self._url, self._stream, self._group = url, stream, group
        self._field = field.encode()
        self._dead_letters = dead_letters or f"{stream}:dead"
        self._options = options or {}
        self._consumer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self.name = f"{stream} ({group})"
        self.hold = float(claim_after)
        self._client: Redis | None = None
        self._next_claim = 0.0
        self._cursor: Any = "0-0"

    async def open(self) -> None:
        """Connect, and make the consumer group if it is not there.

        Raises:
            SourceError: the server cannot be reached, or refuses.

        """
        try:
            self._client = self._redis.Redis.from_url(self._url, **self._options)
        except ValueError as exc:
            raise SourceError(
                f"the URL of stream {self._stream!r} is none of a Redis server: {exc}"
            ) from None
        try:
            async with self._translated("cannot be reached"):
                await self._make_group(self._client)
        except BaseException:
            await self.close()
            raise

    async def _make_group(self, client: "Redis") -> None:
        try:
            await client.xgroup_create(self._stream, self._group, id="0", mkstream=True)
        except self._errors.ResponseError as exc:
            if "BUSYGROUP" not in str(exc):
                raise

    async def fetch(self, most: int) -> list[Message]:
        """Return up to `most` entries, at least one, as soon as there are any; none after a second."""
        client = self._opened()
        async with self._translated("gives no entries"):
            try:
                if monotonic() >= self._next_claim and (claimed := await self._claim(client, most)):
                    return claimed
                read = await client.xreadgroup(
                    self._group, self._consumer, {self._stream: ">"}, count=most, block=int(PATIENCE * 1000)
                )
            except self._errors.ResponseError as exc:
                if "NOGROUP" not in str(exc):
                    raise
                await self._make_group(client)  # somebody has deleted the stream
                return []
        return [self._message(entry, 1) for entry in _entries(read)]

    async def _claim(self, client: "Redis", most: int) -> list[Message]:
        """Take over what nobody has extended. Without more of that, look again after a while only."""
        self._cursor, entries, *_ = await client.xautoclaim(
            self._stream,
            self._group,
            self._consumer,
            int(self.hold * 1000),
            start_id=self._cursor,
            count=most,
        )
        if self._cursor in (b"0-0", "0-0"):
            self._next_claim = monotonic() + CLAIM_INTERVAL
        there = [entry for entry in entries if entry[1] is not None]
        if not there:
            return []
        async with client.pipeline(transaction=False) as pipe:
            for number, _ in there:
                _queue(pipe.xpending_range(self._stream, self._group, min=number, max=number, count=1))
            pending = await pipe.execute()
        return [
            self._message(entry, found[0]["times_delivered"] if found else 1)
            for entry, found in zip(there, pending, strict=True)
        ]

    def _message(self, entry: Entry, deliveries: int) -> Message:
        number, raw = entry[0].decode(), dict(entry[1] or {})
        fields = {_text(key): _text(value) for key, value in raw.items() if key != self._field}
        data = raw.get(self._field)
        return Message(
            id=fields.get(MESSAGE_ID, number), place=number, deliveries=deliveries, subject=self._stream,
            data=msgspec.json.encode(fields) if data is None else data, headers=fields, handle=raw,
        )  # fmt: skip

    async def extend(self, messages: Sequence[Message]) -> None:
        """Hold them for longer: an entry that is claimed, by whoever has it already, counts as fresh."""
        await self._claim_as(messages, 0)

    async def retry(self, message: Message, delay: float) -> None:
        """Have it claimed in `delay` seconds, by making it look as old as it is to be."""
        await self._claim_as([message], max(0, int((self.hold - delay) * 1000)))

    async def _claim_as(self, messages: Sequence[Message], idle: int) -> None:
        client = self._opened()
        numbers: list[Any] = [message.place for message in messages]
        async with self._translated("cannot be told"):
            await client.xclaim(self._stream, self._group, self._consumer, 0, numbers, idle=idle, justid=True)

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        """Have the group forget them; they stay in the stream."""
        client = self._opened()
        async with self._translated("cannot be told"):
            await client.xack(self._stream, self._group, *(message.place for message in messages))

    async def bury(self, message: Message, reason: str, error: str) -> None:
        """Add it to the dead letters and have the group forget it, both or neither."""
        client = self._opened()
        told = {"reason": reason, "error": error, "stream": self._stream, "id": message.place,
                "deliveries": message.deliveries}  # fmt: skip
        fields = {**message.handle, **{f"event-collector-{name}": value for name, value in told.items()}}
        async with self._translated("takes no dead letter"), client.pipeline(transaction=True) as pipe:
            _queue(pipe.xadd(self._dead_letters, fields))
            _queue(pipe.xack(self._stream, self._group, message.place))
            await pipe.execute()

    def interrupt(self) -> None:
        """Leave it: a read that is cut short may have been answered, and its entries would wait to be claimed."""

    async def hand_back(self) -> None:
        """Do nothing: what was delivered was fetched."""

    async def close(self) -> None:
        """Disconnect. What was delivered and not settled is claimed by others after `claim_after` seconds."""
        client, self._client = self._client, None
        if client is None:
            return
        with suppress(self._errors.RedisError, OSError):
            pending = await client.xpending_range(
                self._stream, self._group, min="-", max="+", count=1, consumername=self._consumer
            )
            if not pending:  # else its entries would be forgotten with it
                await client.xgroup_delconsumer(self._stream, self._group, self._consumer)
        with suppress(self._errors.RedisError, OSError):
            await client.aclose()

    def _opened(self) -> "Redis":
        if self._client is None:
            raise SourceError("the source is not open")
        return self._client

    @asynccontextmanager
    async def _translated(self, what: str) -> AsyncIterator[None]:
        """Raise the errors of redis-py as SourceError."""
        try:
            yield
        except (self._errors.RedisError, OSError) as exc:
            raise SourceError(f"stream {self._stream!r} {what}: {exc or type(exc).__name__}") from exc


def _entries(read: Any) -> list[Entry]:
    """Return the entries of what was read: a list of streams, or with the protocol of Redis 6 a dict of them."""
    if not read:
        return []
    if isinstance(read, dict):
        return [entry for batches in read.values() for batch in batches for entry in batch]
    return [entry for _, entries in read for entry in entries]


def _queue(_command: object) -> None:
    """Take what a pipeline returns for a command that it runs later: itself, whatever its annotations say."""


def _text(value: bytes) -> str:
    return value.decode(errors="backslashreplace")
