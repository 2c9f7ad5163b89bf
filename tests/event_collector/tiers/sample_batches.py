"""Batch handlers for tests, at the top level of a module, where worker processes can import them."""

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from event_collector import Context, Error, Ok, Payload, event_context


class Point(msgspec.Struct):
    """A value with a type."""

    x: int


def act(items: list[Any]) -> list[Any]:
    """Answer [number of items, item]; what the items say happens to all of them."""
    return [_act(item, len(items)) for item in _checked(items)]


async def act_async(items: list[Any]) -> list[Any]:
    """Do the same."""
    checked = _checked(items)
    for path in _paths(items, "wait for"):
        while not path.exists():
            await asyncio.sleep(0.001)
    return [_act(item, len(items)) for item in checked]


def act_with_context(payloads: list[Payload[Any]], ctx: Context) -> list[Any]:
    """Do the same, with payloads."""
    ctx["calls"] = len(payloads)
    return act([payload.value for payload in payloads])


def _checked(items: list[Any]) -> list[Any]:
    for path in _paths(items, "touch"):
        path.touch()
    for path in _paths(items, "hold"):
        path.touch()
        while path.exists():
            time.sleep(0.002)
    for path in _paths(items, "count"):
        with path.open("a") as file:
            file.write(f"{len(items)}\n")
    if "raise" in items:
        raise ValueError("a bad item")
    if "crash" in items:
        os._exit(3)
    if "exit" in items:
        sys.exit(4)
    if "linger" in items:
        time.sleep(60)
    return items[:-1] if "lose one" in items else items


def _paths(items: list[Any], what: str) -> list[Path]:
    return [Path(item[1]) for item in items if isinstance(item, list) and item[0] == what]


def _act(item: Any, size: int) -> Any:
    if item == "error":
        return Error("no", {"why": 1})
    if item == "returned":
        return Error(KeyError("returned"))
    if item == "object":
        return object()
    if item == "context":
        return event_context()
    return Ok([size, item]) if item == "ok" else [size, item]


def move(points: list[Point]) -> list[Point]:
    """Take and return what has a type."""
    return [Point(point.x + 1) for point in points]


def nothing(_items: list[Any]) -> Any:
    """Return what is no list."""
    return None


def attempts(payloads: list[Payload[int]], ctx: Context) -> list[Any]:
    """Answer with the number of the attempt; odd numbers fail in their first."""
    first = [payload.value % 2 == 1 and payload.attempt == 1 for payload in payloads]
    return [
        Error(OSError("later")) if fails else payload.attempt for fails, payload in zip(first, payloads, strict=True)
    ]
