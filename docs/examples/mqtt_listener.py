"""Listen to MQTT: each message is an event, what the handlers find is published.

python mqtt_listener.py 127.0.0.1 1883
mosquitto_sub -t 'vibration/#' & mosquitto_pub -t sensors/pump/samples -m '[1, 5, 2, 4]'
"""

import asyncio
import cmath
import sys
from contextlib import suppress

import aiomqtt
import msgspec

from event_collector import (
    CollectorEvent,
    CollectorQueue,
    Error,
    EventPublisher,
    QueueShutDown,
    collector,
    drain_on_signal,
)

AGAIN = 1.0
"""Seconds until the broker is tried again when it has gone."""


class Spectrum(msgspec.Struct):
    """How strong which frequency is."""

    strongest: int
    amplitude: float


@collector("spectrum", timeout=5)
def transform(samples: list[float]) -> Spectrum:
    """Find the strongest frequency. It computes: a plain `def` runs in worker processes."""
    size = len(samples)
    amplitudes = [
        abs(sum(s * cmath.exp(-2j * cmath.pi * k * n / size) for n, s in enumerate(samples))) * 2 / size
        for k in range(1, size // 2 + 1)
    ]
    strongest = max(range(len(amplitudes)), key=amplitudes.__getitem__)
    return Spectrum(strongest + 1, round(amplitudes[strongest], 3))


async def read(client: aiomqtt.Client, publisher: EventPublisher, following: asyncio.TaskGroup) -> None:
    """Make an event of each message, until the queue takes no more."""
    with suppress(QueueShutDown):
        async for message in client.messages:
            sensor = str(message.topic).split("/")[1]
            try:
                event = await publisher.send(msgspec.json.decode(message.payload))
            except msgspec.DecodeError as exc:
                await client.publish(f"vibration/{sensor}/error", str(exc), qos=1)
            else:
                following.create_task(tell(client, sensor, event))


async def tell(client: aiomqtt.Client, sensor: str, event: CollectorEvent) -> None:
    """Publish what came of one event; a failure is told, and ends nothing."""
    result = (await event).first()
    if isinstance(result, Error):
        await client.publish(f"vibration/{sensor}/error", str(result.err), qos=1)
    else:
        await client.publish(f"vibration/{sensor}", msgspec.json.encode(result.value), qos=1)


async def main(host: str, port: int) -> None:
    """Listen until SIGTERM or Ctrl-C; finish then what was accepted, and publish it."""
    queue = CollectorQueue([transform], max_queue_size=1000, overflow="drop_oldest")  # the newest counts
    async with queue, drain_on_signal(queue) as interruption:
        while interruption.received is None:
            try:
                async with aiomqtt.Client(host, port) as client, asyncio.TaskGroup() as group:
                    await client.subscribe("sensors/+/samples", qos=1)
                    print("listening", flush=True)
                    reading = group.create_task(read(client, queue.get_publisher(), group))
                    await interruption.wait()
                    reading.cancel()
            except* aiomqtt.MqttError as lost:
                print("no broker:", *lost.exceptions, flush=True)
                with suppress(TimeoutError):
                    await asyncio.wait_for(interruption.wait(), AGAIN)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
