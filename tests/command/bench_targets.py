"""Handlers whose best mode is known, by wide margins."""

import asyncio
import os
import threading
import time
from typing import Any

from event_collector import Batch, Collector, Context, Payload

kept: list[bytearray] = []


def compute(seconds: float) -> None:
    """Keep a CPU busy for so long, whatever else the machine does."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


async def wait(payload: Payload[Any], ctx: Context) -> Any:
    await asyncio.sleep(0.02)
    return payload.value


def wait_plainly(payload: Payload[Any], ctx: Context) -> Any:
    time.sleep(0.02)
    return payload.value


async def crunch(payload: Payload[Any], ctx: Context) -> Any:
    compute(0.02)
    return payload.value


def crunch_plainly(payload: Payload[Any], ctx: Context) -> Any:
    compute(0.02)
    return payload.value


async def nothing(payload: Payload[Any], ctx: Context) -> Any:
    return payload.value


def nothing_plainly(payload: Payload[Any], ctx: Context) -> Any:
    return payload.value


async def both(payload: Payload[Any], ctx: Context) -> Any:
    """Wait for long, compute for a while: one loop holds hundreds of them, few workers a handful."""
    compute(0.0005)
    await asyncio.sleep(0.1)
    return payload.value


def fail(payload: Payload[Any], ctx: Context) -> Any:
    raise ValueError("no good")


def leak(payload: Payload[Any], ctx: Context) -> Any:
    """Keep 100 KB for each event."""
    time.sleep(0.001)
    kept.append(bytearray(b"x" * 100_000))
    return None


def exit_in_thread(payload: Payload[Any], ctx: Context) -> Any:
    """End the whole process, unless it runs in the main thread, as in a worker."""
    if threading.current_thread() is not threading.main_thread():
        os._exit(9)
    return None


async def returns_a_set(payload: Payload[Any], ctx: Context) -> Any:
    """Return what no worker can send back."""
    return {object()}


async def typed(payload: Payload[list[int]], ctx: Context) -> int:
    return sum(payload.value)


def together(numbers: list[int]) -> list[int]:
    """Take as long for many as for one."""
    time.sleep(0.01)
    return numbers


batched = Collector("batched", together, mode="thread", batch=Batch(max_size=8, max_wait=0.001))
one = Collector("one", crunch_plainly)
pair = [Collector("first", nothing), Collector("second", nothing)]
