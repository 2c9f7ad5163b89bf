"""Lifecycles, and handlers that need them, for the tests of workers."""

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from event_collector import Context, Payload


def note(ctx: Context, word: str) -> None:
    with Path(ctx.log).open("a") as file:
        file.write(f"{word} {os.getpid()}\n")


@contextlib.asynccontextmanager
async def in_one_task(ctx: Context) -> AsyncIterator[None]:
    """Fails when it is left by another task than entered it, as any task group does."""
    note(ctx, "entered")
    task, ctx.loop = asyncio.current_task(), asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group, asyncio.timeout(3600):
        ctx.beats = 0
        ctx.opened = True

        async def beat() -> None:
            while True:
                await asyncio.sleep(0)
                ctx.beats += 1

        heart = group.create_task(beat())
        try:
            yield
        finally:
            heart.cancel()
    ctx.opened = False
    note(ctx, "left" if asyncio.current_task() is task else "left by another task")


@contextlib.contextmanager
def plain_lifecycle(ctx: Context) -> Iterator[None]:
    note(ctx, "entered")
    ctx.opened = True
    ctx.loop = None
    try:
        yield
    finally:
        note(ctx, "left")


@contextlib.contextmanager
def never_opens(ctx: Context) -> Iterator[None]:
    threading.Event().wait()
    yield


@contextlib.asynccontextmanager
async def fails_to_open(ctx: Context) -> AsyncIterator[None]:
    raise ConnectionRefusedError("no database there")
    yield


@contextlib.contextmanager
def fails_to_close(ctx: Context) -> Iterator[None]:
    yield
    raise ConnectionResetError("the database is gone")


@contextlib.asynccontextmanager
async def falls_apart(ctx: Context) -> AsyncIterator[None]:
    """A task within it fails when the handler says so."""
    note(ctx, "entered")
    ctx.fall = asyncio.Event()

    async def wait() -> None:
        await ctx.fall.wait()
        raise ConnectionAbortedError("the heartbeat stopped")

    try:
        async with asyncio.TaskGroup() as group:
            waiter = group.create_task(wait())
            yield
            waiter.cancel()
    finally:
        note(ctx, "left")


async def no_manager(ctx: Context) -> AsyncIterator[None]:
    yield


def use_context(payload: Payload[Any], ctx: Context) -> Any:
    ctx.seen = getattr(ctx, "seen", 0) + 1 if "seen" in ctx else 1
    return [os.getpid(), ctx.opened, ctx.seen]


async def use_context_async(payload: Payload[Any], ctx: Context) -> Any:
    await asyncio.sleep(0)
    if ctx.loop is not None and ctx.loop is not asyncio.get_running_loop():
        raise RuntimeError("the lifecycle was entered in another event loop")
    return use_context(payload, ctx)


async def fall(payload: Payload[Any], ctx: Context) -> Any:
    if payload.value == "fall":
        ctx.fall.set()
        for _ in range(10):
            await asyncio.sleep(0)
    return payload.value


async def leaves_a_task(payload: Payload[Any], ctx: Context) -> Any:
    ctx.task = asyncio.create_task(asyncio.sleep(3600))
    return payload.value


async def stops_its_loop(payload: Payload[Any], ctx: Context) -> Any:
    if payload.value == "stop":
        asyncio.get_running_loop().stop()
        await asyncio.sleep(3600)
    return payload.value
