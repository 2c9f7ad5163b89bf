"""Handlers that yield, for the tests of parts: at the top level of a module, where worker processes can import them."""

import os
import time
from collections.abc import AsyncIterator, Generator, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from event_collector import Context, Error, Ok, Payload, event_context
from tests.event_collector.sample_types import Order

colour: ContextVar[str] = ContextVar("colour", default="none")


def note(order: dict[str, Any], text: str) -> None:
    """Write a line into the file that the order names, if it names one."""
    if "notes" in order:
        with Path(order["notes"]).open("a") as file:
            file.write(f"{text}\n")


def notes(path: Path) -> list[str]:
    """Return what was noted."""
    return path.read_text().splitlines() if path.exists() else []


def end(order: dict[str, Any]) -> Any:
    """End as the order says."""
    then = order.get("then")
    if then == "raise":
        raise KeyError("late")
    if then == "crash":
        os._exit(7)
    if then == "sleep":
        time.sleep(60)
    return order.get("return")


def count(order: dict[str, Any]) -> Generator[Any, None, Any]:
    """Yield so many numbers, and end as the order says."""
    try:
        for number in range(order["count"]):
            note(order, str(number))
            yield number
        return end(order)
    finally:
        note(order, "closed")


async def count_async(order: dict[str, Any]) -> AsyncIterator[int]:
    """Do the same; nothing is returned."""
    try:
        for number in range(order["count"]):
            note(order, str(number))
            yield number
        end(order)
    finally:
        note(order, "closed")


def flaky(payload: Payload[int], ctx: Context) -> Iterator[int]:
    """Fail in the first attempt, after so many parts."""
    yield from range(payload.value)
    if payload.attempt == 1:
        raise KeyError("first")
    yield 100 + payload.attempt


def orders(names: list[str]) -> Iterator[Order]:
    """Yield what the annotation says, and at last what it does not say if the last name is empty."""
    for number, name in enumerate(names):
        yield Order(number, [name]) if name else "no order"  # type: ignore[misc]


def mixed(size: int) -> Iterator[bytes]:
    """Yield large and small parts in turn."""
    for number in range(40):
        yield bytes([number]) * (size if number % 2 else 1)


def wrapped(_: None) -> Iterator[Any]:
    """Yield an Ok, an Error, and a value."""
    yield Ok(1)
    yield Error("odd")
    yield 2


def colours(name: str) -> Iterator[tuple[str, str | None]]:
    """Yield the context variable and the collector that log lines get, which stay over each `yield`."""
    colour.set(name)
    for _ in range(40):
        yield colour.get(), event_context().get("collector")


async def colours_async(name: str) -> AsyncIterator[tuple[str, str | None]]:
    """Do the same."""
    colour.set(name)
    for _ in range(40):
        yield colour.get(), event_context().get("collector")


def pid(_: None) -> int:
    """Return the process that it runs in."""
    return os.getpid()


def slowly(path: str) -> Iterator[int]:
    """Yield while it is not closed, with pauses."""
    try:
        for number in range(10**9):
            time.sleep(0.05)
            yield number
    finally:
        Path(path).touch()
