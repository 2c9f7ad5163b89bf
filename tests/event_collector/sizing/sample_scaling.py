"""Lifecycles for the tests of sizes: a worker that takes long to start, and one that takes memory."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from event_collector import Context, Payload
from tests.event_collector.tiers.sample_adaptive import spin

BALLAST = 100 << 20


@contextlib.contextmanager
def slow_start(ctx: Context) -> Iterator[None]:
    time.sleep(0.5)
    yield


@contextlib.contextmanager
def takes_memory(ctx: Context) -> Iterator[None]:
    ctx.ballast = bytearray(b"x" * BALLAST)
    yield


def compute(payload: Payload[Any], ctx: Context) -> None:
    spin(payload.value)
