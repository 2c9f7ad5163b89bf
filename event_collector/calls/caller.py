"""Calls of the collectors of a queue: with one value, or with many."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, overload

from event_collector.calls.chunk_stream import ChunkStream
from event_collector.calls.progress import Report, reporting
from event_collector.calls.stream import AHEAD, Stream, check_stream
from event_collector.calls.targets import Target, Targets
from event_collector.handlers.collector import ADAPTIVE, PROCESS, Collector
from event_collector.values.checks import check_seconds
from event_collector.values.errors import CallTimeout, ConfigError
from event_collector.values.payload import Delivery, Payload
from event_collector.values.results import Keyed, Result, T

if TYPE_CHECKING:
    from event_collector.dispatch.chunks import Chunks
    from event_collector.events.event import CollectorEvent

Values: TypeAlias = Iterable[Any] | AsyncIterable[Any]
ChunkOption: TypeAlias = Literal["auto"] | int | None
ProgressOption: TypeAlias = bool | Report | None


class Sender(Protocol):
    """What accepts events, as calls see it."""

    async def send(self, payload: Any, *, deadline: float | None = None) -> "CollectorEvent":
        """Accept an event, when there is room for it."""

    def send_nowait(self, payload: Any, *, deadline: float | None = None) -> "CollectorEvent":
        """Accept an event at once."""


class Caller:
    """Calls the collectors of one queue.

    Args:
        sender: accepts the events.
        collectors: all collectors of the queue, by key.
        chunks: takes values many at a time; None if events are sent one by one.
    """

    def __init__(self, sender: Sender, collectors: Mapping[str, Collector], chunks: "Chunks | None" = None) -> None:
        self._sender, self._targets = sender, Targets(collectors)
        self._collectors, self._chunks = collectors, chunks

    if TYPE_CHECKING:

        @overload
        async def call(
            self,
            target: Keyed[T],
            value: Any,
            *,
            timeout: float | None = None,
            deadline: float | None = None,
            priority: float | None = None,
        ) -> T: ...
        @overload
        async def call(
            self,
            target: Callable[..., Any] | str,
            value: Any,
            *,
            timeout: float | None = None,
            deadline: float | None = None,
            priority: float | None = None,
        ) -> Any: ...

    async def call(
        self,
        target: Any,
        value: Any,
        *,
        timeout: float | None = None,
        deadline: float | None = None,
        priority: float | None = None,
    ) -> Any:
        """Send a value to one collector, and return what its handler returns: `await queue.call(square, 7)`.

        Cancelling the caller cancels the event.

        Args:
            target: the Collector, its function, or its key.
            value: what the handler gets.
            timeout: seconds from now in which the answer must be there, more than 0; the event is cancelled then. None
                for no limit.
            deadline: as for `EventPublisher.send()`.
            priority: place in a PRIORITY queue, lowest first; None for the queue's default.

        Raises:
            Exception: what the handler raises, or what ended its event: WorkerCrashed, HandlerTimeout, QueueShutDown.
            CallTimeout: there was no answer within `timeout`.
            ConfigError: the target names no collector of this queue, or several; or an argument is not of this kind.
            QueueShutDown, JournalError, EncodeError: as for `EventPublisher.send()`.
        """
        payload = self._address(self._targets.key_of(target), value, priority)
        if timeout is None:
            return await self._answer(payload, deadline)
        check_seconds("timeout takes", timeout)
        try:
            async with asyncio.timeout(timeout) as limit:
                return await self._answer(payload, deadline)
        except TimeoutError:
            if not limit.expired():
                raise  # the handler's own
        raise CallTimeout(f"collector {payload.keys[0]!r} did not answer within {timeout:g} s: its event is cancelled")

    def submit(
        self, target: Target, value: Any, *, deadline: float | None = None, priority: float | None = None
    ) -> "CollectorEvent":
        """Send a value to one collector at once, and return its event; `await event.value()` is what `call()` returns.

        The arguments and errors are those of `call()`, and QueueFull if `max_queue_size` events wait already.
        """
        payload = self._address(self._targets.key_of(target), value, priority)
        return self._sender.send_nowait(payload, deadline=deadline)

    async def send(self, payload: Any, *, deadline: float | None = None) -> "CollectorEvent":
        """Send a payload, or a value to every collector, and return its event; see `EventPublisher.send()`."""
        return await self._sender.send(payload, deadline=deadline)

    if TYPE_CHECKING:

        @overload
        def stream(
            self,
            target: Keyed[T],
            values: Values,
            *,
            ahead: int | None = None,
            ordered: bool = True,
            priority: float | None = None,
            chunk: ChunkOption = "auto",
            progress: ProgressOption = None,
        ) -> AsyncGenerator[Result[T], None]: ...
        @overload
        def stream(
            self,
            target: Callable[..., Any] | str,
            values: Values,
            *,
            ahead: int | None = None,
            ordered: bool = True,
            priority: float | None = None,
            chunk: ChunkOption = "auto",
            progress: ProgressOption = None,
        ) -> AsyncGenerator[Result[Any], None]: ...

    def stream(
        self,
        target: Any,
        values: Values,
        *,
        ahead: int | None = None,
        ordered: bool = True,
        priority: float | None = None,
        chunk: ChunkOption = "auto",
        progress: ProgressOption = None,
    ) -> AsyncGenerator[Result[Any], None]:
        """Send many values to one collector and yield a Result for each: `async for result in queue.stream(...)`.

        Values are taken as there is room for them. Leaving the loop, its cancellation and an error of `values` or of
        the queue withdraw the values that no handler has begun; the results of the others are dropped. Leave the loop
        before its end within `contextlib.aclosing()`, or that happens only once the iterator is collected.

        Args:
            target: the Collector, its function, or its key.
            values: an iterable or async iterable.
            ahead: the number of values that are taken and whose results are not yielded yet, at most. At least 1; None
                for 1000, or for as many short values as keep the workers busy.
            ordered: whether the results have the order of the values. Else they come as they are there.
            priority: as for `call()`.
            chunk: how many values travel to a worker process together. "auto": as many as take a few milliseconds; a
                number; None or 1: each alone. It changes the speed, and no result. Other modes take each value alone.
            progress: True for a bar on standard error (the extra `progress`). Or a function, called some times a second
                and at the end with the number of results, the number of values (None if unknown), and the number of
                errors. What it raises ends the stream.

        Raises:
            ConfigError: as for `call()`, or an option does not accept its value, or rich is not installed.
            QueueShutDown, JournalError, EncodeError: while iterating, as for `EventPublisher.send()`.
        """
        results = self._stream(target, values, ahead, ordered, priority, chunk).results()
        return reporting(results, progress, values)

    def _stream(
        self, target: Any, values: Values, ahead: int | None, ordered: bool, priority: float | None, chunk: ChunkOption
    ) -> Stream | ChunkStream:
        key = self._targets.key_of(target)
        check_stream(values, ahead, chunk)

        def send(value: Any) -> "Awaitable[CollectorEvent]":
            return self._sender.send(self._address(key, value, priority))

        collector = self._collectors[key]
        if self._chunks is None or chunk is None or chunk == 1 or collector.mode not in (PROCESS, ADAPTIVE):
            return Stream(send, values, ahead=AHEAD if ahead is None else ahead, ordered=ordered)
        size = None if isinstance(chunk, str) else chunk
        return ChunkStream(
            send, self._chunks, collector, values, ahead=ahead, ordered=ordered, priority=priority, chunk=size
        )

    if TYPE_CHECKING:

        @overload
        def map(
            self,
            target: Keyed[T],
            values: Values,
            *,
            ahead: int | None = None,
            ordered: bool = True,
            priority: float | None = None,
            chunk: ChunkOption = "auto",
            progress: ProgressOption = None,
        ) -> AsyncGenerator[T, None]: ...
        @overload
        def map(
            self,
            target: Callable[..., Any] | str,
            values: Values,
            *,
            ahead: int | None = None,
            ordered: bool = True,
            priority: float | None = None,
            chunk: ChunkOption = "auto",
            progress: ProgressOption = None,
        ) -> AsyncGenerator[Any, None]: ...

    def map(
        self,
        target: Any,
        values: Values,
        *,
        ahead: int | None = None,
        ordered: bool = True,
        priority: float | None = None,
        chunk: ChunkOption = "auto",
        progress: ProgressOption = None,
    ) -> AsyncGenerator[Any, None]:
        """Yield the values of the results of `stream()`, and raise the first error, which ends the stream.

        The arguments and errors are those of `stream()`.
        """
        stream = self._stream(target, values, ahead, ordered, priority, chunk)
        if isinstance(stream, ChunkStream) and not progress:
            return stream.unwrapped()
        return _unwrap(reporting(stream.results(), progress, values))

    def _address(self, key: str, value: Any, priority: float | None) -> Payload[Any]:
        if isinstance(value, Payload):
            raise ConfigError("a call takes a value, not a Payload: give its .value, or use send()")
        return Payload(value, Delivery.KEY, (key,), priority=priority)

    async def _answer(self, payload: Payload[Any], deadline: float | None) -> Any:
        event = await self._sender.send(payload, deadline=deadline)
        try:
            return await event.value()
        except asyncio.CancelledError:
            event.cancel()
            raise


async def _unwrap(results: AsyncGenerator[Result[Any], None]) -> AsyncGenerator[Any, None]:
    async with aclosing(results):
        async for result in results:
            yield result.unwrap()
