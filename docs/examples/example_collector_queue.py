"""
example.py
"""

from typing import Any
import asyncio
import datetime
import sys
import time

from event_collector import (
    Collector,
    CollectorEvent,
    CollectorQueue,
    Context,
    EventPublisher,
    Ok,
    Payload,
    Result,
)


async def event_handler(payload: Payload, ctx: Context) -> Result:
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    data: dict[str, Any] = payload.value
    result = {
        "id": data["id"],
        "received_at": now,
    }
    await asyncio.sleep(0.25)
    return Ok(result)


async def send_events(publisher: EventPublisher) -> list[CollectorEvent]:
    events: list[CollectorEvent] = []
    for i in range(100):
        data = {
            "id": f"payload-{i}",
        }
        payload = Payload(data)
        event = await publisher.send(payload)
        events.append(event)
    return events


async def output_results(events: list[CollectorEvent]) -> None:
    for event in events:
        result_list = await event.wait()
        result = result_list.first()
        value = result.unwrap()
        print(value)


async def main() -> None:
    collector = Collector("demo-collector", event_handler)
    collector_queue = CollectorQueue(
        [collector],
        min_consumers=1,
        max_consumers=100,
    )
    start = time.monotonic_ns()
    async with collector_queue:
        publisher = collector_queue.get_publisher()
        events = await send_events(publisher)
        await output_results(events)
    elapsed = (time.monotonic_ns() - start) / 1.0e9
    print(f"elapsed={elapsed:.3f}")


if __name__ == "__main__":
    asyncio.run(main())
