"""The profiler: what a handler waits, computes and blocks, whatever else the machine does."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from event_collector import Context, Payload
from event_collector.benchmark.profiler import Profiler
from event_collector.benchmark.trial_figures import HandlerProfile

SPINNERS = 8


def compute(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


async def profile_of(handler: Any, events: int = 6) -> HandlerProfile:
    profiler = Profiler(handler)
    for number in range(events):
        assert await profiler(Payload(number), Context()) == number
    found = await profiler.profile()
    assert found is not None
    return found


@pytest.fixture
def busy_machine() -> Iterator[None]:
    """Other programs that compute all the time."""
    spin = "import time\nend = time.monotonic() + 60\nwhile time.monotonic() < end: pass"
    spinners = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(SPINNERS)]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


async def test_computing_is_told_from_waiting_on_a_busy_machine(busy_machine: None) -> None:
    """What is interrupted all the time still computes: its CPU time is most of its time, and all of it blocks."""

    async def handler(payload: Payload[int], ctx: Context) -> int:
        compute(0.02)
        return payload.value

    found = await profile_of(handler)
    assert found.cpu == pytest.approx(0.02, rel=0.2)
    assert found.cpu > 0.7 * found.wall
    assert found.block < 0.035


@pytest.mark.skipif(not os.path.exists("/proc/thread-self/schedstat"), reason="needs Linux's schedstat")
async def test_computing_with_short_waits_is_told_on_a_busy_machine(busy_machine: None) -> None:
    """A handler that gives its CPU up now and then waits for another one: this is not the handler's waiting."""

    async def handler(payload: Payload[int], ctx: Context) -> int:
        for _ in range(5):
            compute(0.004)
            time.sleep(1e-6)
        return payload.value

    found = await profile_of(handler)
    assert found.cpu > 0.5 * found.block
    assert found.cpu > 0.5 * found.wall


async def test_waiting_without_await_blocks_and_does_not_compute() -> None:
    """time.sleep() on the event loop is time that blocks, and no computing."""

    async def handler(payload: Payload[int], ctx: Context) -> int:
        time.sleep(0.03)
        return payload.value

    found = await profile_of(handler)
    assert found.block >= 0.03
    assert found.cpu < 0.5 * found.block


async def test_awaited_waiting_does_not_block() -> None:
    """The longest step is what counts, not the whole."""

    async def handler(payload: Payload[int], ctx: Context) -> int:
        compute(0.002)
        await asyncio.sleep(0.05)
        compute(0.004)
        return payload.value

    found = await profile_of(handler)
    assert found.wall >= 0.05
    assert 0.006 * 0.8 <= found.cpu < 0.03
    assert 0.004 * 0.8 <= found.block < 0.03


async def test_handler_is_left_as_it_is() -> None:
    """Exceptions, cancellation and timeouts pass through, and each event counts once."""

    async def handler(payload: Payload[int], ctx: Context) -> int:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(10)
        return payload.value

    profiler = Profiler(handler)
    assert await profiler.profile() is None
    with pytest.raises(TimeoutError):
        await profiler(Payload(1), Context())
    task = asyncio.ensure_future(profiler(Payload(1), Context()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    found = await profiler.profile()
    assert found is not None
    assert found.events == 1  # the first one warms up
