"""Handlers of an application that is tested with the kit."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import msgspec

from event_collector import Context, Payload
from event_collector.handlers.running_event import event_context


class Order(msgspec.Struct):
    number: int


def double(payload: Payload[Order], ctx: Context) -> int:
    return payload.value.number * 2


def echo(payload: Payload[Any], ctx: Context) -> Any:
    return payload.value


def fail(payload: Payload[Any], ctx: Context) -> Any:
    raise ValueError(f"no such order: {payload.value}")


def where(payload: Payload[Any], ctx: Context) -> str:
    return threading.current_thread().name


async def wait_a_moment(payload: Payload[Any], ctx: Context) -> str:
    """An `async def` that runs in a worker has a loop of its own there."""
    await asyncio.sleep(0.001)
    return asyncio.get_running_loop().__class__.__name__


def succeed_at_third(payload: Payload[Any], ctx: Context) -> int:
    if payload.attempt < 3:
        raise ConnectionError("refused")
    return payload.attempt


def leave(payload: Payload[Any], ctx: Context) -> Any:
    if payload.value == "leave":
        raise SystemExit(3)
    return payload.value


RELEASED = threading.Event()


def hang(payload: Payload[Any], ctx: Context) -> Any:
    if payload.value == "hang":
        RELEASED.wait(30)
    return payload.value


def send_back_what_cannot_travel(payload: Payload[Any], ctx: Context) -> object:
    return object()


STEPS: list[str] = []


@contextmanager
def lifecycle(ctx: Context) -> Iterator[None]:
    STEPS.append(f"entered in {threading.current_thread().name}")
    ctx.opened = True
    yield
    STEPS.append("left")


@asynccontextmanager
async def asynchronous_lifecycle(ctx: Context) -> AsyncIterator[None]:
    await asyncio.sleep(0)
    STEPS.append("entered")
    ctx.opened = True
    yield
    STEPS.append("left")


def is_opened(payload: Payload[Any], ctx: Context) -> bool:
    return bool(ctx.opened)


@contextmanager
def broken(ctx: Context) -> Iterator[None]:
    raise OSError("no database")
    yield


def context(payload: Payload[Any], ctx: Context) -> dict[str, Any]:
    return event_context()
