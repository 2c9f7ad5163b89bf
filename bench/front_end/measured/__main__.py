"""Answers requests, one JSON object a line, with figures or the traceback of what went wrong."""

import asyncio
import gc
import json
import os
import sys
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

from .bulk import sending, waiting
from .depth import depth, memory
from .loop import idle, lag, sleepers, turns
from .objects import objects
from .patterns import pattern

_MEASUREMENTS: dict[str, Callable[..., Coroutine[Any, Any, dict[str, float]]]] = {
    "depth": depth,
    "idle": idle,
    "lag": lag,
    "memory": memory,
    "objects": objects,
    "pattern": pattern,
    "sending": sending,
    "sleepers": sleepers,
    "turns": turns,
    "waiting": waiting,
}


def _loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if name == "asyncio":
        return asyncio.new_event_loop
    import uvloop

    return uvloop.new_event_loop


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    measurement, loop = request.pop("measurement"), request.pop("loop")
    gc.collect()
    try:
        with asyncio.Runner(loop_factory=_loop_factory(loop)) as runner:
            return runner.run(_MEASUREMENTS[measurement](**request))
    except Exception:
        return {"error": traceback.format_exc()}


def main() -> None:
    # What a library prints must not get between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), file=answers)


if __name__ == "__main__":
    main()
