"""The handlers of replayed workloads, where worker processes can import them without the simulation."""

import asyncio
import time

from event_collector import Context, Payload

Cost = list[float]
"""Seconds of CPU and of waiting."""


async def here(payload: Payload[Cost], ctx: Context) -> None:
    """Compute, wait, compute."""
    cpu, waiting = payload.value
    if not waiting:
        _compute(cpu)
        return
    _compute(cpu / 2)
    await asyncio.sleep(waiting)
    _compute(cpu / 2)


def in_a_worker(payload: Payload[Cost], ctx: Context) -> None:
    """Compute, wait, compute."""
    cpu, waiting = payload.value
    _compute(cpu / 2)
    if waiting:
        time.sleep(waiting)
    _compute(cpu / 2)


def _compute(seconds: float) -> None:
    """Use so much time of a CPU, however long that takes."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
