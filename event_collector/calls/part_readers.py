"""The parts of many events as one stream of values, for the next stage of a pipeline."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from event_collector.values.results import Error, Ok, Result

if TYPE_CHECKING:
    from event_collector.events.event import CollectorEvent

Results = AsyncGenerator[Result[Any], None]

_END: Final = object()


async def read_in_order(begun: Results, stage: str) -> Results:
    """Yield the parts of one event after the other, each as an Ok.

    Args:
        begun: the events whose parts are to be read, each as an Ok; and Errors, which are yielded in their places.
        stage: the key of the collector that gives the parts. An error after the last part names it.
    """
    async with aclosing(begun):
        async for result in begun:
            if isinstance(result, Error):
                yield result
                continue
            async with aclosing(_read(result.value, stage)) as parts:
                async for part in parts:
                    yield part


async def _read(event: "CollectorEvent", stage: str) -> Results:
    try:
        async with aclosing(event.parts()) as parts:
            async for part in parts:
                yield Ok(part, key=stage)
    except Exception as exc:
        yield Error(exc, key=stage)


class PartReaders:
    """Reads the parts of several events at the same time, and yields them as they come.

    Args:
        begun, stage: as for `read_in_order()`.
        most: the number of events that are read at the same time, at most.
    """

    def __init__(self, begun: Results, stage: str, most: int) -> None:
        self._begun, self._stage = begun, stage
        self._places = asyncio.Semaphore(most)
        self._parts: asyncio.Queue[Any] = asyncio.Queue(1)
        self._readers: dict[asyncio.Task[None], Result[Any]] = {}
        self._error: Exception | None = None  # of `begun`

    async def results(self) -> Results:
        """Yield the parts. The end of the generator closes the handlers that are suspended."""
        opening = asyncio.create_task(self._open(), name="pipeline")
        try:
            while (part := await self._parts.get()) is not _END:
                yield part
        finally:
            opening.cancel()
            await asyncio.wait([opening])
            await self._close_readers()
            await self._begun.aclose()
        if self._error is not None:
            raise self._error

    async def _open(self) -> None:
        """Open a reader for each event."""
        try:
            while True:
                await self._places.acquire()
                result = await anext(self._begun, None)
                if result is None:
                    break
                reader = asyncio.create_task(self._read(result), name="pipeline")
                self._readers[reader] = result
                reader.add_done_callback(self._readers.pop)
            if self._readers:
                await asyncio.wait(self._readers)
        except Exception as exc:
            self._error = exc
        await self._parts.put(_END)

    async def _read(self, result: Result[Any]) -> None:
        if isinstance(result, Error):
            await self._parts.put(result)
        else:
            async with aclosing(_read(result.value, self._stage)) as parts:
                async for part in parts:
                    await self._parts.put(part)
        self._places.release()

    async def _close_readers(self) -> None:
        readers = dict(self._readers)
        for reader, result in readers.items():
            reader.cancel()
            if isinstance(result, Ok):  # a task that is cancelled before its first step does nothing
                close_parts(result.value)
        if readers:
            await asyncio.wait(readers)


def close_parts(event: "CollectorEvent") -> None:
    """Have a handler that yields end at its `yield`: nothing reads its parts."""
    event.open_parts().leave()
