"""The handler that all contestants run. It imports little: workers load this module."""

import time
from typing import Any

from event_collector import Context, Payload

VALUE = {"id": 1234, "name": "event", "tags": ["a", "b"], "amount": 12.5, "seconds": 0.0}


def spending(seconds: float) -> dict[str, Any]:
    """A small value whose handler computes for that long."""
    return {**VALUE, "seconds": seconds}


def work(value: Any) -> Any:
    """The handler: pure Python for as long as the value says, then the value itself."""
    seconds = 0.0 if isinstance(value, bytes) else value["seconds"]
    if seconds:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            pass
    return value


def process(payload: Payload[Any], ctx: Context) -> Any:
    """The same as the handler of a collector."""
    return work(payload.value)


def burn(seconds: float, count: int, results: Any) -> None:
    """Run the handler `count` times with nothing beside it; put the seconds that took."""
    value = spending(seconds)
    begun = time.perf_counter()
    for _ in range(count):
        work(value)
    results.put(time.perf_counter() - begun)
