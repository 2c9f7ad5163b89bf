"""The load on a measured queue: a constant number of events in flight, and the lag of the event loop under it."""

import asyncio
from collections.abc import Iterable
from time import perf_counter
from typing import Any

from event_collector.events.event import CollectorEvent
from event_collector.publisher import EventPublisher
from event_collector.values.payload import Payload

TICK = 0.02  # seconds between two measurements of the lag; each costs about 50 microseconds


async def send_in_flight(
    publisher: EventPublisher, in_flight: int, values: Iterable[Any], seconds: float
) -> list[CollectorEvent]:
    """Send values, `in_flight` at any time, until there are no more or the time is over; return the finished events."""
    free = asyncio.Semaphore(in_flight)
    events: list[CollectorEvent] = []
    deadline = perf_counter() + seconds
    for value in values:
        await free.acquire()
        if events and perf_counter() >= deadline:
            free.release()
            break
        event = await publisher.send(Payload(value))
        events.append(event)
        if event.is_done():
            free.release()
        else:
            event.on_done(lambda _event: free.release())
    for _ in range(in_flight):  # waits for the end of all events
        await free.acquire()
    return events


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
