"""What the command is given in its tests: handlers, collectors, queues, and functions that make them."""

import asyncio
import contextlib
import logging
import math
import os
import sys
import time
from collections.abc import AsyncIterator
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from event_collector import Collector, CollectorQueue, Context, Error, Ok, Payload, ResultList, Router, collector


async def echo(payload: Payload[Any], ctx: Context) -> Any:
    return payload.value


def double(payload: Payload[Any], ctx: Context) -> int:
    return int(payload.value["n"]) * 2


async def rest(payload: Payload[Any], ctx: Context) -> Any:
    """Sleep for as long as the payload says, after leaving a trace of having begun."""
    if "touch" in payload.value:
        Path(payload.value["touch"]).touch()
    await asyncio.sleep(payload.value["seconds"])
    return payload.value["n"]


def toil(payload: Payload[Any], ctx: Context) -> Any:
    """Do the same in a worker process."""
    if "touch" in payload.value:
        Path(payload.value["touch"]).touch()
    time.sleep(payload.value["seconds"])
    return payload.value["n"]


async def block(payload: Payload[Any], ctx: Context) -> Any:
    """Do the same, and block the event loop meanwhile."""
    return toil(payload, ctx)


def where(payload: Payload[Any], ctx: Context) -> int:
    return os.getpid()


async def misbehave(payload: Payload[Any], ctx: Context) -> Any:
    """Fail in the way that the payload names."""
    match payload.value:
        case "raise":
            raise ValueError("no good")
        case "error":
            return Error({"code": 7})
        case "text":
            return Error("just text")
        case "object":
            return object()
        case "surrogate":
            raise ValueError("\ud800")
        case "set":
            return Error({1, object()})
    return payload.value


def crash(payload: Payload[Any], ctx: Context) -> Any:
    if payload.value == "crash":
        os._exit(7)
    return payload.value


async def chat(payload: Payload[Any], ctx: Context) -> Any:
    print("printed by a coroutine")
    return sys.stdin.read()


async def shout(payload: Payload[Any], ctx: Context) -> Any:
    """Print more than a pipe holds."""
    print("shouted", payload.value)
    return payload.value


def chat_in_worker(payload: Payload[Any], ctx: Context) -> Any:
    print("printed by a worker", flush=True)
    return None


def talk(payload: Payload[Any], ctx: Context) -> Any:
    logging.getLogger("shop").info("info of %s", payload.value)
    logging.getLogger("shop").warning("warning of %s", payload.value)
    structlog.get_logger().info("structured info")
    structlog.get_logger().warning("structured warning")
    return payload.value


@dataclass
class Order:
    n: int


async def typed(payload: Payload[Order], ctx: Context) -> Any:
    return type(payload.value).__name__, payload.value.n


def typed_in_worker(payload: Payload[Order], ctx: Context) -> Any:
    return type(payload.value).__name__, payload.value.n


def by_value(order: Order) -> Any:
    return type(order).__name__, order.n


decorated = collector("decorated", mode="thread")(by_value)


def three_arguments(payload, ctx, more):  # type: ignore[no-untyped-def]
    """Is no handler."""


async def impossible(payload: Payload[list[int] | set[int]], ctx: Context) -> None:
    return None


class Nothing(Router):
    async def handle_event(self, payload: Payload[Any]) -> ResultList:
        return ResultList()


@contextlib.asynccontextmanager
async def refuse(ctx: Context) -> AsyncIterator[None]:
    raise ConnectionError("no database")
    yield


@contextlib.asynccontextmanager
async def end_badly(ctx: Context) -> AsyncIterator[None]:
    yield
    raise ConnectionError("cannot close")


def fail() -> None:
    raise ValueError("no queue today")


async def wait_for_ever() -> None:
    print("waiting", flush=True)
    await asyncio.Event().wait()


def make_queue() -> CollectorQueue:
    return CollectorQueue([Collector("only", echo)], max_queue_size=5)


async def make_queue_async() -> CollectorQueue:
    return make_queue()


def make_pair() -> list[Collector]:
    return [Collector("twice", double), Collector("same", echo)]


def make_filter() -> CollectorQueue:
    return CollectorQueue([Collector("only", echo)], router=Nothing)


one = Collector("one", double)
pair = make_pair()
queue = CollectorQueue(make_pair())
unopened = Collector("unopened", echo, lifecycle=refuse)
unclosed = Collector("unclosed", echo, lifecycle=end_badly)
nameless = lambda payload, ctx: None  # noqa: E731
number = 42


def wait_in_worker(_value: int) -> None:
    """Wait for longer than any test does."""
    time.sleep(600)


RESULTS: dict[str, Any] = {
    "tuple": (1, ("a", None)),
    "set": {7},
    "bytes": b"abc",
    "many bytes": b"x" * 70_000,
    "time": datetime(2024, 5, 17, 12, tzinfo=UTC),
    "NaN": math.nan,
    "NaN within": {"deep": [math.inf]},
    "large integer": 2**64,
    "largest integer": 2**64 - 1,
    "negative integer": -(2**63),
    "surrogate": "\ud800",
    "object": object(),
    "keys": {1: "a"},
    "None": None,
    "false": False,
    "Ok": Ok({"a": 1}),
    "Error": Error({"code": 7}),
    "text": Error("just text"),
}


_kept: ContextVar[Any] = ContextVar("kept", default="nothing")


def awkward(value: Any) -> Any:
    """Do what the value says, for a comparison of the ways in which lines go to workers."""
    match value:
        case {"return": name}:
            return RESULTS[name]
        case {"raise": text}:
            raise ValueError(text)
        case {"sleep": seconds}:
            time.sleep(seconds)
        case {"exit": status}:
            os._exit(status)
        case {"quit": status}:
            sys.exit(status)
        case {"keep": kept}:
            _kept.set(kept)
            raise LookupError(_kept.get())
        case "kept":
            return _kept.get()
    return value


async def awkward_async(value: Any) -> Any:
    return awkward(value)


def awkward_payload(payload: Payload[Any], ctx: Context) -> Any:
    return [awkward(payload.value), payload.delivery.name]


def awkward_order(order: Order) -> Any:
    return [type(order).__name__, order]


def awkward_int(value: Any) -> float:
    """Return what does not always fit the annotation."""
    return awkward(value)  # type: ignore[no-any-return]
