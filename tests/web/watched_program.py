"""A program with workers, a journal and a feed, for tests of the page: `python -m tests.web.watched_program SOCKET`.

It sends events all the time, and does what its standard input says: `accounting` prints the counts as JSON, `block 2`
blocks the event loop for so many seconds, and the end of the input ends the program.
"""

import asyncio
import json
import sys
import time

from event_collector import Collector, CollectorQueue, Context, Payload, Retry
from event_collector.sources import Feed
from event_collector.watching.monitor import Monitor
from tests.sources.sample_source import SampleSource

HOSTILE = '"><img src=x onerror=alert(1)>'


def resize(payload: Payload[int], ctx: Context) -> int:
    """Take some time in a worker; every fifth fails for good."""
    time.sleep(0.02)
    if payload.value % 5 == 0:
        raise ValueError(f"no picture {HOSTILE}")
    return payload.value


async def store(payload: Payload[int], ctx: Context) -> None:
    """Wait."""
    await asyncio.sleep(0.03)


async def obey(queue: CollectorQueue) -> None:
    """Do what comes from the standard input, until it ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        match line.split():
            case [b"accounting"]:
                print(json.dumps(queue.accounting()._asdict()), flush=True)
            case [b"block", seconds]:
                time.sleep(float(seconds))


async def send(queue: CollectorQueue) -> None:
    """Send events all the time."""
    publisher, number = queue.get_publisher(), 0
    while True:
        await publisher.send(Payload(number := number + 1))
        await asyncio.sleep(0.03)


async def main(path: str) -> None:
    """Run until the standard input ends."""
    keep = Retry(max_attempts=1)
    collectors = [Collector("resize", resize, retry=keep), Collector(HOSTILE, store)]
    monitor = Monitor(path, control=True, payloads=True)
    queue = CollectorQueue(
        collectors, max_workers=2, min_workers=2, monitor=monitor, journal=f"{path}.journal", logging=False
    )
    async with queue:
        feed = asyncio.create_task(Feed(queue, SampleSource(range(10))).run())
        sender = asyncio.create_task(send(queue))
        print("ready", flush=True)
        await obey(queue)
        sender.cancel()
        feed.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
