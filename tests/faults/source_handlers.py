"""What the programs run in the chaos with a broker: one handler that waits, one that computes and fails at times."""

import asyncio
from typing import Any

from event_collector import Collector, Context, Payload


async def wait(payload: Payload[Any], ctx: Context) -> int:
    await asyncio.sleep(0.005)
    return int(payload.value["n"])


def compute(payload: Payload[Any], ctx: Context) -> int:
    if payload.value["fails"]:
        raise ValueError(payload.value["n"])
    return int(payload.value["n"])


handlers = [Collector("wait", wait), Collector("compute", compute)]
