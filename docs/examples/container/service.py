"""A service for a container: a line of JSON over TCP for each order, answered in the order of the lines.

Orders are on record before they are handled; SIGTERM ends the service when those it has accepted are finished.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator

from msgspec import Struct

from event_collector import Collector, CollectorQueue, Context, Ok, Payload, QueueShutDown, drain_on_signal

DRAIN = 20.0
"""Seconds that accepted orders may take at the end: terminationGracePeriodSeconds has to allow for it."""
LARGEST = 1024 * 1024
"""Bytes of a line."""


class Order(Struct):
    number: int


def factor(payload: Payload[Order], ctx: Context) -> int:
    """Find the smallest factor: this computes, in worker processes, as many as the container's CPUs can use."""
    number = payload.value.number
    return next((n for n in range(2, int(number**0.5) + 1) if number % n == 0), number)


async def answers(queue: CollectorQueue, reader: asyncio.StreamReader) -> AsyncIterator[object]:
    """Yield what becomes of each line."""
    while line := await reader.readline():
        try:
            event = await queue.send(json.loads(line))
        except ValueError as exc:
            yield {"error": f"not JSON: {exc}"}
        else:
            result = (await event).first()
            yield {"ok": result.value} if isinstance(result, Ok) else {"error": str(result.err)}


async def main() -> None:
    queue = CollectorQueue(
        [Collector("factor", factor, timeout=15.0)],
        max_queue_size=1000,
        consumer_shutdown_timeout=DRAIN,
        monitor=os.environ.get("EVENT_COLLECTOR_MONITOR"),
        journal=os.environ.get("ORDERS_JOURNAL"),
    )

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async for answer in answers(queue, reader):
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (QueueShutDown, ConnectionError, asyncio.CancelledError):
            pass  # the service ends, or the client is gone
        finally:
            writer.close()

    async with queue, drain_on_signal(queue) as interruption:
        server = await asyncio.start_server(serve, port=int(os.environ.get("PORT", "8000")), limit=LARGEST)
        await interruption.wait()
        server.close()  # no new connections; those that are there get the answers to what was accepted


if __name__ == "__main__":  # worker processes import this file
    asyncio.run(main())
