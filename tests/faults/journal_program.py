"""A program with a journal, for tests that kill it: it tells what was acknowledged, and what was run.

    python journal_program.py JOURNAL FIRST COUNT [MODE] [SYNCHRONOUS]

It sends the numbers FIRST to FIRST + COUNT - 1, many at once, and ends when all is finished. Lines of its output:
`accepted N` when send() of N has returned, `ran N ID` when its handler ends, `refused N ERROR`, `idle` before the end.
"""

import asyncio
import os
import sys
from typing import Any

from event_collector import Collector, CollectorQueue, Context, Journal, JournalError, Payload

OUTPUT = os.open(os.environ["EVENT_OUTPUT"], os.O_WRONLY | os.O_APPEND) if "EVENT_OUTPUT" in os.environ else 1
AT_ONCE = 50
BOMB = 666_666
"""The number whose handler ends the program at once."""


def tell(*words: object) -> None:
    """Write a line in one piece, at once: it must be there although the next moment is the last."""
    os.write(OUTPUT, (" ".join(map(str, words)) + "\n").encode())


async def wait_a_little(payload: Payload[int], ctx: Context) -> None:
    if payload.value == BOMB:
        tell("ran", payload.value, payload.event_id)
        os.abort()
    await asyncio.sleep(payload.value % 7 * 0.001)
    tell("ran", payload.value, payload.event_id)


def compute(payload: Payload[int], ctx: Context) -> None:
    sum(range(payload.value % 7 * 1000))
    tell("ran", payload.value, payload.event_id)


async def send_all(queue: CollectorQueue, numbers: range) -> None:
    publisher, room = queue.get_publisher(), asyncio.Semaphore(AT_ONCE)

    async def send(number: int) -> None:
        async with room:
            try:
                await publisher.send(Payload(number))
            except JournalError as exc:
                tell("refused", number, str(exc).replace("\n", " "))
            else:
                tell("accepted", number)

    await asyncio.gather(*map(send, numbers))


async def main(path: str, first: int, count: int, mode: str = "coroutine", synchronous: str = "full") -> None:
    handler: Any = compute if mode == "process" else wait_a_little
    queue = CollectorQueue(
        [Collector("work", handler, mode=mode)],
        journal=Journal(path, synchronous=synchronous, max_crashes=int(os.environ.get("MAX_CRASHES", "1000"))),
        max_workers=2,
        max_queue_size=200,
        logging=False,
    )
    async with queue:
        await send_all(queue, range(first, first + count))
        await queue.get_publisher().wait()
        tell("idle")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:]))
