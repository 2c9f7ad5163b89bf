"""Handlers whose events are inspected, for worker processes too."""

import asyncio
import os
import time
from typing import Any

from event_collector import progress


def work(order: Any) -> Any:
    """Fail, die, report and wait, or return at once, as the order says."""
    if order == "fail":
        raise ValueError("no picture\nin the second line")
    if order == "die":
        os._exit(7)
    if order == "wait":
        progress(1, 3, "rows")
        time.sleep(60)
    if isinstance(order, float):
        time.sleep(order)
    return order


async def work_here(order: Any) -> Any:
    """Do the same on the event loop."""
    if order == "fail":
        raise KeyError("no such thing")
    if order == "wait":
        progress(2, 4, "lines")
        await asyncio.Event().wait()
    if isinstance(order, float):
        await asyncio.sleep(order)
    return order
