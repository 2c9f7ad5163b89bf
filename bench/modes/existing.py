"""Runs functions in a CollectorQueue of the library that this interpreter has installed: one JSON object a line.

The answer tells how many seconds that took, without the reading and writing of lines.
"""

import asyncio
import json
import os
import sys
import time
import traceback
from typing import Any

import uvloop

from event_collector import Collector, CollectorQueue, Payload

from .handlers import AsyncHandler


async def _answer(request: dict[str, Any], queues: dict[str, CollectorQueue]) -> dict[str, Any]:
    function = request["function"]
    if function not in queues:
        queues[function] = CollectorQueue([Collector(function, AsyncHandler(function).__call__)], logging=False)
        await queues[function].init_queue()
    publisher = queues[function].get_publisher()
    begun = time.perf_counter()
    try:
        events = [await publisher.send(Payload(value)) for value in request["values"]]
        results = [(await event.wait()).first().value for event in events]
        return {"results": results, "seconds": time.perf_counter() - begun}
    except Exception:
        return {"error": traceback.format_exc()}


def main() -> None:
    # What a library prints must not get between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    queues: dict[str, CollectorQueue] = {}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for line in sys.stdin:
            print(json.dumps(runner.run(_answer(json.loads(line), queues))), file=answers)
        for queue in queues.values():
            runner.run(queue.shut_down_queue())


if __name__ == "__main__":
    main()
