"""A program that looks like one of a shop, for the pictures: `python -m tests.web.shown_program SOCKET`."""

import asyncio
import math
import random
import sys
import time

from event_collector import Collector, CollectorQueue, Context, Payload, Retry
from event_collector.watching.monitor import Monitor

KEYS = ("thumbnail", "invoice", "notify")


def thumbnail(payload: Payload[str], ctx: Context) -> int:
    """Take time in a worker."""
    time.sleep(random.choice((0.02, 0.03, 0.05, 0.12)))
    if random.random() < 0.02:
        raise ValueError("cannot identify image file")
    return 1


def invoice(payload: Payload[str], ctx: Context) -> int:
    """Take less of it."""
    time.sleep(random.uniform(0.005, 0.03))
    return 1


async def notify(payload: Payload[str], ctx: Context) -> None:
    """Wait for a server that is not always there."""
    await asyncio.sleep(random.uniform(0.02, 0.09))
    if random.random() < 0.03:
        raise ConnectionError("mail server closed the connection")


async def main(path: str) -> None:
    """Run until SIGTERM."""
    retry = Retry(max_attempts=2, backoff=0.5)
    collectors = [
        Collector("thumbnail", thumbnail, retry=retry),
        Collector("invoice", invoice),
        Collector("notify", notify, retry=retry),
    ]
    monitor = Monitor(path, control=True)
    async with CollectorQueue(collectors, max_workers=4, monitor=monitor, logging=False) as queue:
        while True:
            await queue.get_publisher().send(Payload("order", keys=[random.choice(KEYS)]))
            rate = 75 + 50 * math.sin(time.monotonic() / 8)
            await asyncio.sleep(random.expovariate(rate))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
