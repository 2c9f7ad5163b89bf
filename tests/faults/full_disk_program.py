"""A program whose journal lies on a small disk of its own that it fills up and empties again.

    python full_disk_program.py FOLDER

FOLDER is the disk. It tells in lines what came of it.
"""

import asyncio
import sys
from pathlib import Path

from event_collector import Collector, CollectorQueue, Context, JournalError, Payload
from event_collector.journal.file import JournalFile

DISK = Path(sys.argv[1])
PATH = DISK / "events.journal"
FILLER = DISK / "filler"


def fill() -> None:
    """Take what room there is, to the last byte."""
    with FILLER.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError as exc:
                print("full:", exc.strerror)


async def note(payload: Payload[bytes], ctx: Context) -> int:
    return len(payload.value)


def make_queue() -> CollectorQueue:
    return CollectorQueue([Collector("note", note)], journal=str(PATH), logging=False)


async def send_until_refused(queue: CollectorQueue) -> int:
    """Return how many were accepted: what the log and the pages of the database have room for."""
    for number in range(1000):
        try:
            event = await queue.get_publisher().send(Payload(bytes(5000)))
        except JournalError as exc:
            print("refused:", exc)
            return number
        await event.wait()
    raise AssertionError("the disk takes everything")


async def main() -> None:
    async with make_queue() as queue:
        await send_until_refused_after_filling(queue)
        FILLER.unlink()
        event = await queue.get_publisher().send(Payload(bytes(5000)))
        print("accepted again:", (await event.wait()).first().unwrap())
    file = JournalFile(str(PATH))
    print("left:", *file.counts())
    file.close()
    PATH.unlink()
    fill()
    try:
        await make_queue().init_queue()
    except JournalError as exc:
        print("no start:", exc)
    FILLER.unlink()
    async with make_queue() as queue:
        await queue.get_publisher().send(Payload(b""))
    print("started")


async def send_until_refused_after_filling(queue: CollectorQueue) -> None:
    await (await queue.get_publisher().send(Payload(b""))).wait()
    fill()
    accepted = await send_until_refused(queue)
    count = queue.accounting()
    print("accepted and finished:", count.accepted == accepted + 1 == count.finished)


if __name__ == "__main__":
    asyncio.run(main())
