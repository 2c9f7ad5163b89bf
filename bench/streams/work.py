"""The handlers of the contests, at the top level of a module where worker processes can import them."""

import asyncio
import json
import time
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple


def no_op(number: int) -> int:
    return number


def burn(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def burn_100us(number: int) -> int:
    burn(0.0001)
    return number


def burn_1ms(number: int) -> int:
    burn(0.001)
    return number


def parse(line: str) -> int:
    """Parse the fields of a line, some 20 us."""
    return sum(int(field) for field in line.split(","))


def compress(text: str) -> int:
    return len(zlib.compress(text.encode(), 6))


def rewrite(document: str) -> str:
    """Decode a JSON document, change it, and encode it."""
    data = json.loads(document)
    data["total"] = sum(item["price"] for item in data["items"])
    return json.dumps(data)


async def wait(number: int) -> int:
    await asyncio.sleep(0.01)
    return number


class Work(NamedTuple):
    """A handler and values for it."""

    handler: Callable[[Any], Any]
    values: list[Any]


def works(scale: float) -> dict[str, Work]:
    """Return the work of each figure, with its number of values times `scale`.

    No text is there twice: pickle sends an object once and then refers to it, which real input does not allow.
    """
    line = ",".join(str(number) for number in range(199))
    text = "to be or not to be, that is the question " * 100
    items = json.dumps([{"name": f"item {n}", "price": n} for n in range(60)])
    return {
        "no-op": Work(no_op, list(range(int(1_000_000 * scale)))),
        "100us": Work(burn_100us, list(range(int(30_000 * scale)))),
        "1ms": Work(burn_1ms, list(range(int(3_000 * scale)))),
        "parse": Work(parse, [f"{n},{line}" for n in range(int(60_000 * scale))]),
        "compress": Work(compress, [f"{n} {text}" for n in range(int(10_000 * scale))]),
        "json": Work(rewrite, [f'{{"id": {n}, "items": {items}}}' for n in range(int(20_000 * scale))]),
    }
