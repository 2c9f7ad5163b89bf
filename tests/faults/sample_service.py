"""A program that ends at a signal, for the tests: python -m tests.faults.sample_service MODE SECONDS LOOP."""

import asyncio
import sys
import time
from typing import Any

from event_collector import Collector, CollectorQueue, Context, Payload, QueueShutDown, drain_on_signal
from event_collector.life.interruption import exit_status


def work(payload: Payload[float], ctx: Context) -> float:
    time.sleep(payload.value)
    return payload.value


async def work_async(payload: Payload[float], ctx: Context) -> float:
    await asyncio.sleep(payload.value)
    return payload.value


async def main(mode: str, seconds: float) -> int:
    handler: Any = work_async if mode == "coroutine" else work
    queue = CollectorQueue([Collector("c", handler, mode=mode)], logging=False, max_workers=2, max_consumers=100)
    events = []
    async with queue, drain_on_signal(queue) as interruption:
        publisher = queue.get_publisher()
        while len(events) < 1100:
            events.append(await publisher.send(Payload(seconds if len(events) < 100 else 0.0)))
        print("ready", flush=True)
        try:
            while True:  # a busy producer
                events.append(await publisher.send(Payload(0.0)))
                await asyncio.sleep(0.001)
        except QueueShutDown:
            print("refused", flush=True)
            raise
    count = queue.accounting()
    lost = sum(not event.is_done() for event in events)
    errors = sum(event.get_result().first().is_error for event in events)  # type: ignore[union-attr]
    print(f"balanced={count.accepted == sum(count[1:])} sent={len(events) == count.accepted} {lost=} {errors=}")
    return exit_status(interruption.received) if interruption.received else 0


if __name__ == "__main__":
    factory = None
    if sys.argv[3] == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        sys.exit(runner.run(main(sys.argv[1], float(sys.argv[2]))))
