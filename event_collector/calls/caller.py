"""Calls of the collectors of a queue: with one value, or with many."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypedDict, Unpack, overload

from event_collector.calls.chunk_stream import ChunkStream
from event_collector.calls.line_feed import feed_lines
from event_collector.calls.other_threads import ThreadCalls
from event_collector.calls.pipeline import Pipeline
from event_collector.calls.stream import AHEAD, Stream, check_ahead, check_chunk, check_values
from event_collector.calls.stream_progress import Report, reporting
from event_collector.calls.targets import Target, Targets
from event_collector.handlers.collector import ADAPTIVE, PROCESS, Collector
from event_collector.values.checks import check_seconds
from event_collector.values.errors import CallTimeout, ConfigError
from event_collector.values.payload import Delivery, Payload
from event_collector.values.results import Keyed, Result, T

if TYPE_CHECKING:
    from concurrent.futures import Future

    from event_collector.dispatch.chunk_feed import ChunkFeed, Sink
    from event_collector.dispatch.chunks import Chunks
    from event_collector.events.event import CollectorEvent
    from event_collector.tiers.workers.line_codec import ReadLine

Values: TypeAlias = Iterable[Any] | AsyncIterable[Any]
ChunkOption: TypeAlias = Literal["auto"] | int | None
ProgressOption: TypeAlias = bool | Report | None


class CallOptions(TypedDict, total=False):
    """The options of `call()`."""

    timeout: float | None
    deadline: float | None
    priority: float | None


class StreamOptions(TypedDict, total=False):
    """The options of `pipeline()`."""

    ahead: int
    ordered: bool
    priority: float | None


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
        find_loop: returns the event loop of the queue, None before its first start.
        consumers: returns the number of events that may be in handlers at once.
        chunks: takes values many at a time; None if events are sent one by one.
    """

    def __init__(
        self,
        sender: Sender,
        collectors: Mapping[str, Collector],
        find_loop: "Callable[[], asyncio.AbstractEventLoop | None]",
        consumers: Callable[[], int],
        chunks: "Chunks | None" = None,
    ) -> None:
        self._sender, self._collectors = sender, collectors
        self._consumers, self._chunks = consumers, chunks
        self.thread_calls = ThreadCalls(find_loop, instead="await queue.call()")
        """The calls of other threads."""
        self._targets = Targets(collectors, takes_parts=False)
        self._all_targets = Targets(collectors, takes_parts=True)

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
            ConfigError: the target names no collector of this queue, or several, or its handler yields; or an argument
                is not of this kind.
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

        The handler may yield: `event.parts()` has what it yields. The arguments and errors are those of `call()`, and
        QueueFull if `max_queue_size` events wait already.
        """
        payload = self._address(self._all_targets.key_of(target), value, priority)
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
        check_values(values)
        check_ahead(AHEAD if ahead is None else ahead)
        check_chunk(chunk)

        def send(value: Any) -> "Awaitable[CollectorEvent]":
            return self._sender.send(self._address(key, value, priority))

        collector = self._collectors[key]
        travels = collector.mode in (PROCESS, ADAPTIVE) and collector.batch is None
        if self._chunks is None or chunk is None or chunk == 1 or not travels:
            return Stream(send, values, ahead=AHEAD if ahead is None else ahead, ordered=ordered)
        size = None if isinstance(chunk, str) else chunk
        return ChunkStream(
            send, self._chunks, collector, values, ahead=ahead, ordered=ordered, priority=priority, chunk=size
        )

    def _feed_lines(self, sink: "Sink", read_line: "ReadLine") -> "ChunkFeed | None":
        return feed_lines(self._chunks, self._collectors.values(), sink, read_line)

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

    if TYPE_CHECKING:

        @overload
        def pipeline(self, last: Keyed[T], /, **options: Unpack[StreamOptions]) -> Pipeline[T]: ...
        @overload
        def pipeline(self, first: Target, last: Keyed[T], /, **options: Unpack[StreamOptions]) -> Pipeline[T]: ...
        @overload
        def pipeline(
            self, first: Target, second: Target, last: Keyed[T], /, **options: Unpack[StreamOptions]
        ) -> Pipeline[T]: ...
        @overload
        def pipeline(self, *stages: Target, **options: Unpack[StreamOptions]) -> Pipeline[Any]: ...

    def pipeline(
        self, *stages: Any, ahead: int = AHEAD, ordered: bool = True, priority: float | None = None
    ) -> Pipeline[Any]:
        """Return a pipeline: `async for result in queue.pipeline(download, take_apart, keep).stream(urls)`.

        Each stage gets what the one before returns, and runs in the mode of its collector. All stages work at the same
        time, each on other values. The handler of a stage may yield: the next stage gets each part as it comes.

        Args:
            stages: the Collector, its function, or its key, for each stage, in their order.
            ahead: the number of values and parts that are in the pipeline, at most: taken, and their results not
                yielded yet. At least 1, and 3 more for each stage that yields. Such a stage is suspended when 16 of its
                parts wait to be read.
            ordered: whether the results have the order of the values. Else they come as they are there. A value does
                not wait for others between two stages, but the parts of several values come one value after another.
            priority: as for `call()`, at each stage.

        Raises:
            ConfigError: there is no stage, a stage names no collector of this queue or several, `ahead` is no such
                number, or `max_consumers` is less than 3 and a stage yields: it needs 2 for each, and 1 for the others.
        """
        keys = [self._all_targets.key_of(stage) for stage in stages]
        yielding = sorted({key for key in keys if self._collectors[key].is_generator})

        def send(key: str, value: Any) -> "Awaitable[CollectorEvent]":
            return self._sender.send(self._address(key, value, priority))

        return Pipeline(send, keys, yielding, ahead=ahead, ordered=ordered, consumers=self._consumers())

    if TYPE_CHECKING:

        @overload
        def call_threadsafe(self, target: Keyed[T], value: Any, **options: Unpack[CallOptions]) -> T: ...
        @overload
        def call_threadsafe(self, target: Target, value: Any, **options: Unpack[CallOptions]) -> Any: ...

    def call_threadsafe(self, target: Any, value: Any, **options: Unpack[CallOptions]) -> Any:
        """Do what `call()` does, in another thread than that of the event loop: wait for the value, and return it.

        An exception that interrupts the wait, such as KeyboardInterrupt, cancels the event. The arguments and errors
        are those of `call()`.

        Raises:
            ConfigError: as for `call()`; this is the thread of the event loop, which cannot wait for itself; or the
                queue was never started.
            QueueShutDown: as for `call()`, or the event loop has ended.
        """
        key = self._targets.key_of(target)
        return self.thread_calls.run(lambda: self.call(key, value, **options))

    if TYPE_CHECKING:

        @overload
        def submit_threadsafe(self, target: Keyed[T], value: Any, **options: Unpack[CallOptions]) -> "Future[T]": ...
        @overload
        def submit_threadsafe(self, target: Target, value: Any, **options: Unpack[CallOptions]) -> "Future[Any]": ...

    def submit_threadsafe(self, target: Any, value: Any, **options: Unpack[CallOptions]) -> "Future[Any]":
        """Send a value to one collector from another thread; return a future of what `call()` returns or raises.

        It does not wait, not even if the queue is full: the future does. Cancelling the future cancels the event. If
        the event loop ends before, the future is cancelled. The arguments are those of `call()`, the errors those of
        `call_threadsafe()`.
        """
        key = self._targets.key_of(target)
        return self.thread_calls.submit(lambda: self.call(key, value, **options))

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
