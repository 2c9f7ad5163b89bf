"""The load on a measured queue: a constant number of events in flight, and the lag of the event loop under it."""

import asyncio
from collections.abc import Iterable
from time import perf_counter
from typing import Any

from event_collector.events.event import CollectorEvent
from event_collector.publisher import EventPublisher
from event_collector.values.payload import Payload

TICK = 0.02
"""Seconds between two measurements of the lag; each costs about 50 microseconds."""


class LoadGenerator:
    """Keeps `in_flight` events in flight: sends an event whenever one has ended."""

    def __init__(self, publisher: EventPublisher, in_flight: int) -> None:
        self._publisher, self._in_flight = publisher, in_flight
        self._running = 0
        self._end: asyncio.Future[None] | None = None  # of any event

    async def run(self, values: Iterable[Any], seconds: float) -> list[CollectorEvent]:
        """Send values until there are no more or the time is over; return the events, all of them finished."""
        events: list[CollectorEvent] = []
        deadline = perf_counter() + seconds
        for value in values:
            await self._wait_until_below(self._in_flight)
            if events and perf_counter() >= deadline:
                break
            event = await self._publisher.send(Payload(value))
            events.append(event)
            if not event.is_done():
                self._running += 1
                event.on_done(self._on_done)
        await self._wait_until_below(1)
        return events

    async def _wait_until_below(self, number: int) -> None:
        while self._running >= number:
            self._end = asyncio.get_running_loop().create_future()
            await self._end

    def _on_done(self, _event: CollectorEvent) -> None:
        self._running -= 1
        if self._end is not None and not self._end.done():
            self._end.set_result(None)


class LagProbe:
    """A task of the event loop that measures how late it is woken."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self) -> None:
        """Measure until cancelled."""
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
