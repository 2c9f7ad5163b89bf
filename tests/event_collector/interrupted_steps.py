"""A thread that is interrupted after each bytecode in turn: `python -m tests.event_collector.interrupted_steps WAY`.

This is a program of its own, since CPython may keep a wrong current exception after that. It prints how many handlers
have begun and not ended, and how often the way was interrupted.
"""

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

from event_collector import Collector
from event_collector.sync import Queue

WAYS: dict[str, Callable[[Queue], Any]] = {
    "call": lambda queue: queue.call("wait", 0),
    "submit": lambda queue: queue.submit("wait", 60),
    "map": lambda queue: list(queue.map("wait", [0, 0])),
}

begun = ended = 0


async def wait(seconds: float) -> float:
    """Count how often it begins and ends."""
    global begun, ended
    begun += 1
    try:
        await asyncio.sleep(seconds)
    finally:
        ended += 1
    return seconds


def interrupted(steps: int, act: Callable[[], Any]) -> bool:
    """Raise KeyboardInterrupt in this thread after a number of its bytecodes; return whether it was still at it."""

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal steps
        if "weakref" in frame.f_code.co_filename:
            return None  # an exception is lost there
        frame.f_trace_opcodes = True
        steps -= event == "opcode"
        if not steps:
            raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        act()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False


def main(way: str) -> None:
    """Interrupt it, and then the block of its queue. A queue that stands still never ends this."""
    interrupted(sys.maxsize, lambda: None)  # CPython 3.12 sees bytecodes from the second time on
    steps = 1
    with suppress(KeyboardInterrupt), Queue([Collector("wait", wait)], logging=False, max_consumers=4096) as queue:
        while interrupted(steps, lambda: WAYS[way](queue)):
            steps += 1
            queue.submit("wait", 0).result()
        raise KeyboardInterrupt
    print(begun - ended, steps - 1)


if __name__ == "__main__":
    main(sys.argv[1])
