"""The load on a queue that is measured: so many events in flight, all the time."""

import asyncio
from collections.abc import Iterable
from time import perf_counter
from typing import Any

from event_collector.events.event import CollectorEvent
from event_collector.publisher import EventPublisher
from event_collector.values.payload import Payload

__all__ = ["Lag", "Load"]

TICK = 0.02
"""Seconds between two looks: each costs the program some 50 microseconds."""


class Load:
    """Sends an event whenever one has ended.

    Args:
        publisher: of the queue.
        in_flight: events sent and not yet finished.

    """

    def __init__(self, publisher: EventPublisher, in_flight: int) -> None:
        self._publisher = publisher
        self._in_flight = in_flight
        self._running = 0
        self._news: asyncio.Future[None] | None = None

    async def run(self, values: Iterable[Any], seconds: float) -> list[CollectorEvent]:
        """Send values until there are no more or the time is over; return the events, all of them finished."""
        events: list[CollectorEvent] = []
        end = perf_counter() + seconds
        for value in values:
            while self._running >= self._in_flight:
                await self._wait()
            if events and perf_counter() >= end:
                break
            event = await self._publisher.send(Payload(value))
            events.append(event)
            if not event.is_done():
                self._running += 1
                event.add_waiter(self)
        while self._running:
            await self._wait()
        return events

    async def _wait(self) -> None:
        self._news = asyncio.get_running_loop().create_future()
        await self._news

    def done(self) -> bool:
        """Return False: it wants to hear of every event's end."""
        return False

    def set_result(self, _result: None, /) -> None:
        """One of the events is done."""
        self._running -= 1
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


class Lag:
    """Another task of the loop, which notes for how long it was kept from running."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self) -> None:
        """Note it until cancelled."""
        due = perf_counter() + TICK
        try:
            while True:
                await asyncio.sleep(TICK)
                self._note(due)
                due = perf_counter() + TICK
        except asyncio.CancelledError:
            self._note(due)
            raise

    def _note(self, due: float) -> None:
        self.longest = max(self.longest, perf_counter() - due)
