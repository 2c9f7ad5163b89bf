"""Batch use in a script that has no `if __name__ == "__main__":`, and what is refused there.

python batch_without_guard.py FILE...               # in threads: works
python batch_without_guard.py --processes FILE...   # in worker processes: refused
"""

import asyncio
import hashlib
import sys

from event_collector import Collector, CollectorQueue, Payload


def digest(path: str) -> str:
    """Compute in C, which lets go of the interpreter meanwhile: several threads are several CPUs here."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def digest_all(paths: list[str], mode: str) -> list[str]:
    """Return the digests in the order of the paths."""
    async with CollectorQueue([Collector("digest", digest, mode=mode)], logging=False) as queue:
        events = await queue.get_publisher().send_many(map(Payload, paths))
        return [(await event.wait()).first().unwrap() for event in events]


# A worker process imports this file to find digest(), and so would come to this line and start workers of its own.
# That is refused, in the worker and so here. Under a guard the line is not run there, and both modes work.
processes, paths = "--processes" in sys.argv, [word for word in sys.argv[1:] if word != "--processes"]
for line in zip(paths, asyncio.run(digest_all(paths, "process" if processes else "thread")), strict=True):
    print(*line)
