"""Handlers that report progress, for worker processes too."""

import asyncio
import threading
import time
from typing import Any

from event_collector import progress

STEP = 0.02
"""Seconds between two reports."""


def work(order: list[Any]) -> Any:
    """Take steps and report each; or report once, and wait."""
    what, number, total = order
    if what == "steps":
        for step in range(1, number + 1):
            time.sleep(STEP)
            progress(step, number)
        return number
    progress(number, total, "rows, größer")
    for _ in range(500):  # 10 s
        time.sleep(STEP)
    return number


async def work_asynchronously(order: list[Any]) -> Any:
    """Do the same as a coroutine."""
    what, number, total = order
    if what == "steps":
        for step in range(1, number + 1):
            await asyncio.sleep(STEP)
            progress(step, number)
        return number
    progress(number, total, "rows, größer")
    await asyncio.sleep(30)
    return number


def report_in_thread(_value: int) -> None:
    """Report in a thread that the handler starts."""
    threading.Thread(target=progress, args=(7,), daemon=True).start()
    time.sleep(30)


async def report_in_task(_value: int) -> None:
    """Report in a task that the handler starts."""

    async def report() -> None:
        progress(7)

    await asyncio.create_task(report())
    await asyncio.sleep(30)
