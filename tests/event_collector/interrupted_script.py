"""A script that is interrupted: `python -m tests.event_collector.interrupted_script MOMENT`; prints what happens.

It says "ready" when the test may send SIGINT.
"""

import asyncio
import os
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from event_collector import Collector, QueueShutDown
from event_collector.sync import Queue


def say(*words: Any) -> None:
    """Print a line at once, by one system call: several threads do."""
    os.write(1, f"{' '.join(map(str, words))}\n".encode())


@asynccontextmanager
async def lifecycle(ctx: Any) -> AsyncIterator[None]:
    say("open")
    if "start" in sys.argv:
        say("ready")
        await asyncio.sleep(60)
    yield
    say("close")


async def wait(seconds: float) -> float:
    """Say when it begins, and how it ends."""
    say("ready")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        say("cancelled")
        raise
    say("finished")
    return seconds


def work(seconds: float) -> int:
    """Say who works; in a worker process."""
    say("ready" if seconds else "pid", os.getpid())
    time.sleep(seconds)
    return os.getpid()


def watch(queue: Queue) -> None:
    """Say when the queue begins to end."""
    while True:
        try:
            queue.map("wait", [])
        except QueueShutDown:
            say("ending")
            return
        time.sleep(0.005)


def main(moment: str) -> None:
    collectors = [Collector("wait", wait, lifecycle=lifecycle), Collector("work", work)]
    with Queue(collectors, logging=False, max_consumers=1, max_workers=1) as queue:
        match moment:
            case "call":
                queue.call("wait", 60)
            case "process":
                queue.call("work", 60)
            case "stream":
                list(queue.stream("wait", [1] * 1000))
            case "twice":
                threading.Thread(target=watch, args=(queue,), daemon=True).start()
                list(queue.stream("wait", [60] * 1000))
            case "submit":
                futures = [queue.submit("wait", 60) for _ in range(10)]
                futures[0].result()
            case "body":
                for _ in queue.stream("work", [0] * 1000, ahead=100):
                    say("ready")
                    time.sleep(60)
    say("past the end")


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except KeyboardInterrupt:
        say("interrupted")
