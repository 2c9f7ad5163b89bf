"""The functions that all contestants run, by name. It imports little: worker processes load this module."""

import ast
import asyncio
import hashlib
import json
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["FUNCTIONS", "call", "call_async"]


def nothing(value: Any) -> Any:
    return value


def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def burn(seconds: float) -> float:
    """Compute for so many seconds of CPU time, however often that is interrupted."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
    return seconds


def mixed(task: list[Any]) -> list[Any]:
    """Wait or compute: ["wait", seconds] or ["compute", seconds]."""
    kind, seconds = task
    (sleep if kind == "wait" else burn)(seconds)
    return [kind, seconds]


def parse(path: str) -> int:
    """Return how many nodes the syntax tree of a source file has."""
    return sum(1 for _ in ast.walk(ast.parse(Path(path).read_bytes())))


def compress(path: str) -> str:
    """Return a digest of a file, compressed."""
    return hashlib.sha256(zlib.compress(Path(path).read_bytes(), 6)).hexdigest()


def transcode(text: str) -> int:
    """Decode JSON, encode it again; return the length."""
    return len(json.dumps(json.loads(text), sort_keys=True))


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    function.__name__: function for function in (nothing, sleep, burn, mixed, parse, compress, transcode)
}


def call(name: str, value: Any) -> Any:
    """Run one of them."""
    return FUNCTIONS[name](value)


async def call_async(name: str, value: Any) -> Any:
    """Run one of them as a coroutine: what can wait with asyncio does; the rest keeps the loop busy."""
    if name == "sleep":
        await asyncio.sleep(value)
        return value
    if name == "mixed" and value[0] == "wait":
        await asyncio.sleep(value[1])
        return value
    return FUNCTIONS[name](value)
