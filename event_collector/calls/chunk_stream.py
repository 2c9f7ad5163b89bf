"""Streams through worker processes: many values in one job, as far as that suits the queue and the collector.

values --> _take() --> ChunkFeed, or events where chunks cannot be used --> blocks of results --> results()
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterator, Sized
from contextlib import aclosing
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from event_collector.calls.stream import AHEAD, Signal
from event_collector.dispatch.chunk_feed import ChunkFeed
from event_collector.values.clock import clock
from event_collector.values.results import Result

if TYPE_CHECKING:
    from event_collector.dispatch.chunks import Chunks
    from event_collector.events.event import CollectorEvent
    from event_collector.handlers.collector import Collector

Block = list[Result[Any]]
B = TypeVar("B", bound=Sized)

_MOST_AT_ONCE: Final = 1024
"""Values that are taken from an iterator in one go."""
_PATIENCE: Final = 0.001
"""Seconds for which values are taken before other tasks have their turn."""


class ChunkStream:
    """Sends values as there is room for them, and yields their results.

    Args:
        send: accepts a value as an event, when the queue has room for it.
        chunks: takes values many at a time.
        collector: gets the values.
        values: any iterable or async iterable.
        ahead: the number of values that are taken and whose results are not yielded yet, at most; None for 1000, or
            as many as keep the workers busy.
        ordered: whether the results have the order of the values. Else they come as they are there.
        priority: of the payloads.
        chunk: values in a chunk; None for a measured size.
    """

    def __init__(
        self,
        send: "Callable[[Any], Awaitable[CollectorEvent]]",
        chunks: "Chunks",
        collector: "Collector",
        values: Any,
        *,
        ahead: int | None,
        ordered: bool,
        priority: float | None,
        chunk: int | None,
    ) -> None:
        self._send, self._chunks, self._collector, self._values = send, chunks, collector, values
        self._ahead, self._priority, self._chunk = ahead, priority, chunk
        self._news = Signal()  # for the consumer of the results
        self._room = Signal()  # for _take()
        self._blocks: OrderedBlocks[Block] | UnorderedBlocks[Block]
        self._blocks = OrderedBlocks(self._news) if ordered else UnorderedBlocks(self._news)
        self._feed: ChunkFeed
        self._events: set[CollectorEvent] = set()
        self._taken = self._yielded = 0  # values
        self._series: list[Any] = []  # values that have come in this turn of the loop
        self._is_taken = False  # all values
        self._error: Exception | None = None  # of the values, or of the queue

    async def results(self) -> AsyncGenerator[Result[Any], None]:
        """Yield a result for each value. The end of the generator, however it comes, withdraws what has not begun."""
        async with aclosing(self._all_blocks()) as blocks:
            async for block in blocks:
                for result in block:
                    yield result

    async def unwrapped(self) -> AsyncGenerator[Any, None]:
        """Yield the value of each result, and raise the first error."""
        async with aclosing(self._all_blocks()) as blocks:
            async for block in blocks:
                for result in block:
                    yield result.value if not result.is_error else result.unwrap()

    async def _all_blocks(self) -> AsyncGenerator[Block, None]:
        self._feed = ChunkFeed(self._chunks, self._collector, self._priority, self._chunk, self._blocks)
        taking = asyncio.create_task(self._take(), name="stream")
        try:
            while self._error is None:
                block = self._blocks.pop()
                if block is not None:
                    yield block
                    self._yielded += len(block)
                    self._room.set()
                elif self._is_taken and self._yielded == self._taken:
                    break
                else:
                    await self._news.wait()
        finally:
            taking.cancel()
            self._feed.withdraw()
            for event in tuple(self._events):
                event.cancel(running=False)
            await asyncio.wait([taking])
        if self._error is not None:
            raise self._error

    async def _take(self) -> None:
        """Take and send the values, as many as there is room for."""
        try:
            if isinstance(self._values, AsyncIterable):
                async for value in self._values:
                    await self._add(value)
                self._flush()
            else:
                await self._take_all(iter(self._values))
        except Exception as exc:
            self._error = exc
        finally:
            self._is_taken = True
            self._news.set()

    async def _add(self, value: Any) -> None:
        """Send a value of an asynchronous source, together with those that come in the same turn of the loop."""
        if self._chunks.is_open(self._collector) and not self._chunks.is_bounded:
            self._series.append(value)
            if len(self._series) == 1:
                asyncio.get_running_loop().call_soon(self._flush)
            if len(self._series) >= self._left():
                self._flush()
        else:
            self._flush()
            await self._put([value])
        await self._wait_for_room()

    def _flush(self) -> None:
        values, self._series = self._series, []
        if values:
            try:
                self._feed.put(self._taken, values)
            except Exception as exc:
                self._error = exc
                self._news.set()
            self._taken += len(values)

    async def _take_all(self, values: Iterator[Any]) -> None:
        size, turn_ends = 1, 0.0
        while True:
            if (left := self._left()) <= 0:
                await self._wait_for_room()
                continue
            begun = clock.now()
            if begun > turn_ends:
                await asyncio.sleep(0)
                begun = clock.now()
                turn_ends = begun + _PATIENCE
            block = list(islice(values, min(size, left)))
            if not block:
                return
            size = min(2 * size, _MOST_AT_ONCE) if clock.now() - begun < _PATIENCE / 2 else max(1, size // 2)
            await self._put(block)

    def _left(self) -> int:
        """Return how many more values may be taken."""
        most = max(AHEAD, self._feed.ahead) if self._ahead is None else self._ahead
        return most - (self._taken - self._yielded)

    async def _wait_for_room(self) -> None:
        while self._left() <= 0:
            await self._room.wait()

    async def _put(self, values: list[Any]) -> None:
        """Send values: in chunks, or as events while these cannot be used."""
        if self._chunks.is_open(self._collector) and not self._chunks.is_bounded:
            self._feed.put(self._taken, values)
            self._taken += len(values)
            return
        for value in values:
            if self._chunks.is_open(self._collector):
                await self._chunks.wait_for_place()
                self._feed.put(self._taken, [value])
            else:
                self._watch(self._taken, await self._send(value))
            self._taken += 1

    def _watch(self, index: int, event: "CollectorEvent") -> None:
        def pass_on(event: "CollectorEvent") -> None:
            self._events.discard(event)
            self._blocks.put(index, [event.get_result().only()])  # type: ignore[union-attr]  # it is done

        if event.is_done():
            pass_on(event)
        else:
            self._events.add(event)
            event.on_done(pass_on)


class OrderedBlocks(Generic[B]):
    """Results that are not handed out yet, in the order of the values. `news` is set when `pop()` may return some."""

    def __init__(self, news: Signal) -> None:
        self._news = news
        self._blocks: dict[int, B] = {}
        self._next = 0  # the place of the first value whose result was not handed out

    def put(self, index: int, results: B) -> None:
        """Add the results of consecutive values."""
        self._blocks[index] = results
        if index == self._next:
            self._news.set()

    def has_next(self) -> bool:
        """Return whether `pop()` returns results."""
        return self._next in self._blocks

    def pop(self) -> B | None:
        """Remove and return the next results; None if they are to be waited for."""
        block = self._blocks.pop(self._next, None)
        if block is not None:
            self._next += len(block)
        return block


class UnorderedBlocks(Generic[B]):
    """Results that are not handed out yet, as they are there. `news` is set when `pop()` may return some."""

    def __init__(self, news: Signal) -> None:
        self._news = news
        self._blocks: deque[B] = deque()

    def put(self, _index: int, results: B) -> None:
        """Add results."""
        self._blocks.append(results)
        self._news.set()

    def has_next(self) -> bool:
        """Return whether `pop()` returns results."""
        return bool(self._blocks)

    def pop(self) -> B | None:
        """Remove and return results; None if there are none."""
        return self._blocks.popleft() if self._blocks else None
