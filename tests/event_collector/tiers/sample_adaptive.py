"""Handlers and a lifecycle for the tests of adaptive collectors: where worker processes can import them."""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from event_collector import Context, Payload


def spin(seconds: float) -> None:
    """Keep a CPU busy, however much of it this thread gets."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def note(path: Any, line: object) -> None:
    """Append a line, at once and whole, from whichever process."""
    file = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    os.write(file, f"{line}\n".encode())
    os.close(file)


async def record(payload: Payload[Any], ctx: Context) -> int:
    """Note the value in the file of the context, and wait a moment."""
    note(ctx.file, payload.value)
    await asyncio.sleep(0.001)
    return os.getpid()


def record_plain(payload: Payload[Any], ctx: Context) -> int:
    note(ctx.file, payload.value)
    time.sleep(0.001)
    return os.getpid()


async def work(payload: Payload[Any], ctx: Context) -> int:
    """Compute and wait for as long as the payload says."""
    spin(payload.value[0])
    await asyncio.sleep(payload.value[1])
    return os.getpid()


def work_plain(payload: Payload[Any], ctx: Context) -> int:
    spin(payload.value[0])
    time.sleep(payload.value[1])
    return os.getpid()


async def block(payload: Payload[Any], ctx: Context) -> None:
    """Wait as no coroutine should."""
    time.sleep(payload.value)


async def echo(payload: Payload[Any], ctx: Context) -> Any:
    return payload.value


async def opened(payload: Payload[Any], ctx: Context) -> list[int]:
    """Where this runs, and where what it uses was opened."""
    return [os.getpid(), ctx.opened_in, ctx.given]


@contextlib.asynccontextmanager
async def opens(ctx: Context) -> AsyncIterator[None]:
    """Puts something into the context that cannot travel, and leaves it there."""
    ctx.lock = threading.Lock()
    ctx.opened_in = os.getpid()
    note(ctx.file, f"opened {os.getpid()}")
    yield
    note(ctx.file, f"closed {os.getpid()}")


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines()
