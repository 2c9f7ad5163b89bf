"""Entries of a Redis stream, through a consumer group that any number of programs share."""

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

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
    from redis.asyncio import Redis

CLAIM_INTERVAL: Final = 1.0
"""Seconds between two attempts to claim entries whose hold has expired."""

CLOSE_TIMEOUT: Final = 3.0
"""Seconds for each step of the end of a connection."""
MAX_CONNECTIONS: Final = 16
"""Connections of a source: one reads, the others settle. With one alone, nothing could be settled during a read."""
GONE: Final = ("NOGROUP", "UNBLOCKED", "requires the key to exist")
"""Words of answers to a command whose stream or group was deleted."""
PAGE: Final = 100
"""Pending entries that are looked at when a source may be empty."""

StreamEntry: TypeAlias = "tuple[bytes, Mapping[bytes, bytes] | None]"


class RedisStreamSource:
    """Entries of a Redis stream (Redis 6.2 or later).

    The consumer group is created if it does not exist, from the beginning of the stream. An entry that no program has
    extended for `claim_after` seconds is claimed by another program. Acknowledged entries stay in the stream; its
    writers trim it, with `XADD ... MAXLEN`. Dead letters are entries of another stream, with all fields of the entry
    and `event-collector-reason`, `-error`, `-stream`, `-id` and `-deliveries`. Redis keeps its stream in memory:
    depending on its configuration, it may lose the last second, or entries that were not replicated.

    Args:
        url: URL such as "redis://host:6379/0" or "rediss://user:password@host:6379".
        stream: key of the stream.
        group: name of the consumer group; programs with the same group share its entries.
        field: the field with the data. An entry without it is a JSON object of its fields, all of them strings. The
            field `message-id`, if there is one, is the id of the message; otherwise it is the id of the entry.
        claim_after: seconds without an extension after which an entry goes to another program, at least 0.1. This is
            also the maximum delay of a retry.
        dead_letters: key of the stream of dead letters; `STREAM:dead` if not given.
        options: arguments of `redis.asyncio.Redis.from_url()`. Those that change the type or the encoding of answers
            have no effect.

    Raises:
        ConfigError: redis is not installed, or a name or number is invalid.
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
        self._retry = import_extra("redis.asyncio.retry", "redis").Retry
        self._no_backoff = import_extra("redis.backoff", "redis").NoBackoff
        self._errors = import_extra("redis.exceptions", "redis")
        names: dict[str, Any] = {
            "URL": url,
            "name of a stream": stream,
            "name of a group": group,
            "name of a field": field,
        }
        for what, name in names.items():
            if not isinstance(name, str) or not name:
                raise ConfigError(f"RedisStreamSource: the {what} is a string, not {name!r}")
        check_names("RedisStreamSource", options, dead_letters=dead_letters)
        check_hold("RedisStreamSource(claim_after=...)", claim_after)
        self._url, self._stream, self._group = url, stream, group
        self._field = field.encode()
        self._dead_letters = dead_letters or f"{stream}:dead"
        if self._dead_letters == stream:
            raise ConfigError("RedisStreamSource(dead_letters=...) is not the stream: dead letters would be read again")
        self._options = options or {}
        self._consumer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self.name = f"{stream} ({group})"
        self.hold = float(claim_after)
        self._client: Redis | None = None
        self._next_claim = 0.0
        self._cursor: Any = "0-0"
        self._generation = 0
        """Number of groups of this name that were met: a stream that is deleted and made again has another one."""

    async def open(self) -> None:
        """Connect, and create the consumer group if it does not exist.

        Raises:
            SourceError: the server cannot be reached, or refuses.
        """
        try:
            self._client = self._make_client()
        except ValueError as exc:
            raise SourceError(f"the URL of stream {self._stream!r} is none of a Redis server: {exc}") from None
        try:
            async with self._using("cannot be reached") as client:
                await self._make_group(client)
        except BaseException:
            await self.close()
            raise

    def _make_client(self) -> "Redis":
        # A connection that the server has closed is found out by its next command, which is sent once more.
        settings = {"max_connections": MAX_CONNECTIONS, "retry": self._retry(self._no_backoff(), 1)}
        options = {**settings, "timeout": ANSWER_TIMEOUT, **self._options}
        options.pop("single_connection_client", None)
        pool = self._redis.BlockingConnectionPool.from_url(self._url, **options)
        pool.max_connections = max(2, pool.max_connections)
        pool.connection_kwargs.update(decode_responses=False, encoding="utf-8")  # also against those in the URL
        timeout = pool.connection_kwargs.get("socket_timeout")
        self._block = max(1, int(min(PATIENCE, timeout / 2 if timeout else PATIENCE) * 1000))
        client: Redis = self._redis.Redis.from_pool(pool)
        return client

    async def _make_group(self, client: "Redis") -> None:
        try:
            await client.xgroup_create(self._stream, self._group, id="0", mkstream=True)
        except self._errors.ResponseError as exc:
            if "BUSYGROUP" not in str(exc):
                raise
        await self._meet_group(client)

    async def _meet_group(self, client: "Redis") -> None:
        """Note whether the group is another one: then it does not know this program."""
        if await client.xgroup_createconsumer(self._stream, self._group, self._consumer):
            self._generation += 1

    def _is_there(self, message: BrokerMessage) -> bool:
        """Return whether the entry is one of this group. Another stream may give its id to another entry."""
        return message.born == str(self._generation)

    async def fetch(self, most: int) -> list[BrokerMessage]:
        """Return up to `most` entries as soon as there is one; an empty list after a second."""
        async with self._using("gives no entries") as client:
            try:
                return await self._read(client, most)
            except self._errors.ResponseError as exc:
                if not any(words in str(exc) for words in GONE):
                    raise
                await self._make_group(client)  # the stream was deleted
                return await self._read(client, most)

    async def _read(self, client: "Redis", most: int) -> list[BrokerMessage]:
        if monotonic() >= self._next_claim:
            await self._meet_group(client)
            if claimed := await self._claim(client, most):
                return claimed
        read = await client.xreadgroup(self._group, self._consumer, {self._stream: ">"}, count=most, block=self._block)
        return [self._message(entry, 1) for entry in _entries(read)]

    async def _claim(self, client: "Redis", most: int) -> list[BrokerMessage]:
        """Claim entries whose hold has expired; when there are no more, wait for CLAIM_INTERVAL."""
        self._cursor, entries, *_ = await client.xautoclaim(
            self._stream, self._group, self._consumer, int(self.hold * 1000), start_id=self._cursor, count=most
        )
        if self._cursor in (b"0-0", "0-0"):
            self._next_claim = monotonic() + CLAIM_INTERVAL
        present = [entry for entry in entries if entry[1] is not None]  # others were trimmed
        if not present:
            return []
        async with client.pipeline(transaction=False) as pipe:
            for number, _ in present:
                _queue(pipe.xpending_range(self._stream, self._group, min=number, max=number, count=1))
            pending = await pipe.execute()
        return [
            self._message(entry, found[0]["times_delivered"] if found else 1)
            for entry, found in zip(present, pending, strict=True)
        ]

    def _message(self, entry: StreamEntry, deliveries: int) -> BrokerMessage:
        number, raw = entry[0].decode(), dict(entry[1] or {})
        fields = {_text(key): _text(value) for key, value in raw.items() if key != self._field}
        data = raw.get(self._field)
        return BrokerMessage(
            id=fields.get("message-id") or number, place=number, deliveries=deliveries, subject=self._stream,
            born=str(self._generation), data=msgspec.json.encode(fields) if data is None else data, headers=fields,
            handle=raw,
        )  # fmt: skip

    async def extend(self, messages: Sequence[BrokerMessage]) -> None:
        """Hold the entries for longer: claiming an entry resets its idle time, also if this program has it."""
        await self._claim_as(list(filter(self._is_there, messages)), 0)

    async def retry(self, message: BrokerMessage, delay: float) -> None:
        """Have the entry claimed in `delay` seconds, by setting its idle time."""
        if not self._is_there(message):
            raise SourceError(f"entry {message.place} is gone with its stream, and is not delivered again")
        await self._claim_as([message], max(0, int((self.hold - delay) * 1000)))

    async def _claim_as(self, messages: Sequence[BrokerMessage], idle: int) -> None:
        numbers: list[Any] = [message.place for message in messages]
        async with self._using("cannot be updated") as client:
            if numbers:
                await client.xclaim(self._stream, self._group, self._consumer, 0, numbers, idle=idle, justid=True)

    async def acknowledge(self, messages: Sequence[BrokerMessage]) -> None:
        """Acknowledge the entries; they stay in the stream."""
        async with self._using("cannot be updated") as client:
            if numbers := [message.place for message in messages if self._is_there(message)]:
                await client.xack(self._stream, self._group, *numbers)

    async def count_unsettled(self) -> int:
        """Return the number of entries that are delivered and not settled, here or elsewhere, at most `PAGE`.

        Entries that were trimmed meanwhile cannot be processed any more; they are acknowledged.
        """
        async with self._using("gives no entries") as client:
            pending = await client.xpending_range(self._stream, self._group, min="-", max="+", count=PAGE)
            numbers = [entry["message_id"] for entry in pending]
            async with client.pipeline(transaction=False) as pipe:
                for number in numbers:
                    _queue(pipe.xrange(self._stream, min=number, max=number))
                found = await pipe.execute()
            if gone := [number for number, entry in zip(numbers, found, strict=True) if not entry]:
                await client.xack(self._stream, self._group, *gone)
            return len(numbers) if len(numbers) == PAGE else len(numbers) - len(gone)

    async def bury(self, message: BrokerMessage, reason: str, error: str) -> None:
        """Add the entry to the dead letters, then acknowledge it.

        A transaction would acknowledge it also if it cannot be added, for example to a key of another type.
        """
        details = {
            "reason": reason, "error": encodable(error), "stream": self._stream, "id": message.place,
            "deliveries": message.deliveries,
        }  # fmt: skip
        fields = {**message.handle, **{f"event-collector-{name}": value for name, value in details.items()}}
        async with self._using("takes no dead letter") as client:
            await client.xadd(self._dead_letters, fields)
            if self._is_there(message):
                await client.xack(self._stream, self._group, message.place)

    def interrupt(self) -> None:
        """Do nothing: the server may have answered an interrupted read, whose entries would wait to be claimed."""

    async def hand_back(self) -> None:
        """Do nothing: everything that was delivered was fetched."""

    async def close(self) -> None:
        """Disconnect. Others claim unsettled entries after `claim_after` seconds."""
        client, self._client = self._client, None
        if client is None:
            return
        with suppress(Exception):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                pending = await client.xpending_range(
                    self._stream, self._group, min="-", max="+", count=1, consumername=self._consumer
                )
                if not pending:  # deleting a consumer deletes its pending entries
                    await client.xgroup_delconsumer(self._stream, self._group, self._consumer)
        with suppress(Exception):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await client.aclose()

    @asynccontextmanager
    async def _using(self, what: str) -> "AsyncIterator[Redis]":
        if self._client is None:
            raise SourceError("the source is not open")
        with translate_errors(f"stream {self._stream!r} {what}"):
            async with asyncio.timeout(PATIENCE + ANSWER_TIMEOUT):
                yield self._client


def _entries(read: Any) -> list[StreamEntry]:
    """Return the entries of an answer: a list of streams, or a dict of them with protocol version 3."""
    if isinstance(read, dict):
        return [entry for batches in read.values() for batch in batches for entry in batch]
    return [entry for _, entries in read or () for entry in entries]


def _queue(_command: object) -> None:
    """Drop the value of a pipeline method. It is the pipeline, although the annotations say a coroutine."""


def _text(value: bytes) -> str:
    return value.decode(errors="backslashreplace")
