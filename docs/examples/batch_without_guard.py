"""Batch use in a script that has no `if __name__ == "__main__":`, and what is refused there.

python batch_without_guard.py FILE...               # in threads: works
python batch_without_guard.py --processes FILE...   # in worker processes: refused
"""

import hashlib
import sys

from event_collector import Collector
from event_collector.sync import Queue


def digest(path: str) -> str:
    """Compute in C, which lets go of the interpreter meanwhile: several threads are several CPUs here."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# A worker process imports this file to find digest(), and so would come to this line and start workers of its own.
# That is refused, in the worker and so here. Under a guard the line is not run there, and both modes work.
processes, paths = "--processes" in sys.argv, [word for word in sys.argv[1:] if word != "--processes"]
with Queue([Collector("digest", digest, mode="process" if processes else "thread")], logging=False) as queue:
    for line in zip(paths, queue.map("digest", paths), strict=True):
        print(*line)
