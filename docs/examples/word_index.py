"""Make an index of the words in a folder of text files, in a SQLite database: a pipeline of three stages.

python word_index.py TEXTS INDEX
"""

import asyncio
import re
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from event_collector import Collector, CollectorQueue, Context, Payload

Text = tuple[str, str]
"""The name of a file, and what is in it."""
Entry = tuple[str, str, int]
"""A word, the name of a file, and how often the word is there."""


def read(path: str) -> Text:
    """Read a file. That waits for the disk: it runs in a thread."""
    return Path(path).name, Path(path).read_text()


def find_words(text: Text) -> Iterator[Entry]:
    """Take a text apart, which needs the CPU: a plain `def` runs in worker processes. Each entry goes on at once."""
    name, content = text
    for word, count in Counter(re.findall(r"[a-z]{4,}", content.lower())).items():
        yield word, name, count


async def keep(payload: Payload[Entry], ctx: Context) -> int:
    """Write an entry. One connection serves all of them, on the event loop."""
    ctx["index"].execute("INSERT INTO words VALUES (?, ?, ?)", payload.value)
    return payload.value[2]


@asynccontextmanager
async def connected(ctx: Context) -> AsyncIterator[None]:
    """Open the database, and save it when the queue has ended."""
    with closing(sqlite3.connect(sys.argv[2])) as ctx["index"]:
        ctx["index"].execute("CREATE TABLE words (word TEXT, file TEXT, count INTEGER)")
        yield
        ctx["index"].commit()


async def main(texts: list[str]) -> int:
    """Send every file through the stages, and return how many failed."""
    words, failed = 0, 0
    stages = [
        Collector("read", read, mode="thread"),
        Collector("find_words", find_words),
        Collector("keep", keep, lifecycle=connected),
    ]
    async with CollectorQueue(stages, logging=False) as queue:
        async for result in queue.pipeline(*stages, ahead=1000, ordered=False).stream(texts):
            if result.is_error:
                failed += 1
                print(f"{result.key}: {type(result.err).__name__}: {result.err}")
            else:
                words += result.value
    print(f"{words:,} words of {len(texts) - failed:,} files")
    return failed


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sorted(map(str, Path(sys.argv[1]).iterdir())))) > 0)
