"""Values that change after they were sent: what other processes get of them, in every mode."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from event_collector import Batch, Collector, CollectorQueue, Delivery, EncodeError, Error, Payload, Retry, SimpleRouter
from event_collector.dispatch.sent_values import SentValues
from event_collector.encoding.codec_options import coding_of
from event_collector.events.event import CollectorEvent
from event_collector.handlers.delivery import DeliveryPlan
from event_collector.remote.codec import PayloadDecoder
from event_collector.remote.fidelity import Fidelity
from event_collector.remote.sent_value import SentValue, encode_sent
from tests.event_collector.modes import BOUND
from tests.event_collector.sample_types import Order
from tests.event_collector.tiers import sample_sent_values as handlers

MODES: dict[str, Callable[[], list[Collector]]] = {
    "a worker": lambda: [Collector("c", handlers.plain, mode="process")],
    "another attempt": lambda: [
        Collector("c", handlers.second_time, mode="process", retry=Retry(backoff=0.01))  # type: ignore[list-item]
    ],
    "a batch": lambda: [Collector("c", handlers.each, mode="process", batch=Batch(16))],
    "several collectors": lambda: [
        Collector("c", handlers.plain, mode="process"),
        Collector("retried", handlers.second_time, mode="process", retry=Retry(backoff=0.01)),
        Collector("batch", handlers.each, mode="process", batch=Batch(16)),
    ],
}


@pytest.fixture
def anyio_backend() -> str:
    """Events wait here for workers, not for the event loop."""
    return "asyncio"


def queue_of(collectors: list[Collector], **options: Any) -> CollectorQueue:
    return CollectorQueue(collectors, logging=False, min_workers=1, max_workers=1, **options)


async def values_of(event: Any) -> list[Any]:
    async with asyncio.timeout(BOUND):
        return list((await event).unwrap())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("journal", [False, True], ids=["", "journal"])
async def test_a_worker_gets_the_value_as_it_was_sent(mode: str, journal: bool, tmp_path: Path) -> None:
    """Whether the queue has started or not, and whether a worker has room or not; in each attempt."""
    collectors = MODES[mode]()
    queue = queue_of(collectors, journal=tmp_path / "journal" if journal else None)
    value: dict[str, Any] = {"number": -1}
    events = [] if journal else [await queue.send(value)]  # a journal takes nothing before the start
    value["number"] = "changed"
    async with queue:
        for number in range(60):
            value["number"] = number
            events.append(queue.get_publisher().send_nowait(value) if number % 2 else await queue.send(value))
        value["number"] = "changed"
        numbers = [[one["number"] for one in await values_of(event)] for event in events]
        assert all(event.payload.value is value for event in events)
    assert numbers == [[number] * len(collectors) for number in range(-1 + journal, 60)]


@pytest.mark.parametrize("count", [1, 2])
async def test_an_executor_gets_the_value_as_it_was_sent(count: int) -> None:
    """Alone, or with a collector of this program, which gets the object itself."""
    with ProcessPoolExecutor(1) as executor:
        here = [Collector("here", handlers.here)] * (count - 1)
        async with queue_of([Collector("c", handlers.plain, mode=executor), *here], max_consumers=2) as queue:
            value, events = {"number": 0}, []
            for number in range(10):
                value["number"] = number
                events.append(await queue.send(value))
            value["number"] = 10
            numbers = [[one["number"] for one in await values_of(event)] for event in events]
    assert [first for first, *_ in numbers] == list(range(10))


async def test_parts_are_made_of_the_value_as_it_was_sent() -> None:
    """The same for a handler that yields."""
    queue = queue_of([Collector("c", handlers.parts, mode="process")])
    value = {"number": 0}
    event = await queue.send(value)
    value["number"] = 1
    async with asyncio.timeout(BOUND), queue:
        assert [part async for part in event.parts()] == [{"number": 0}]


@pytest.mark.parametrize("size", [100_000, 300_000, 6_000_000])
@pytest.mark.parametrize("memory", [None, 0], ids=["shared memory", "socket"])
async def test_large_bytes_are_those_that_were_sent(size: int, memory: int | None) -> None:
    """They travel in a frame of their own, and a bytearray can change before all of it has been copied there."""
    queue = queue_of([Collector("c", handlers.ends, mode="process")], max_shared_memory=memory)
    value = bytearray(size)
    before = await queue.send(value)
    value[0] = value[-1] = 255
    async with queue:
        events = [before]
        for number in range(1, 10):
            value[0] = value[-1] = number
            events.append(await queue.send(value))
        value[0] = value[-1] = 255
        assert [ends for event in events for ends in await values_of(event)] == [[n, n] for n in range(10)]
        value[0] = value[-1] = 10
        to_an_idle_worker = await queue.send(value)
        value[0] = value[-1] = 255
        assert await values_of(to_an_idle_worker) == [[10, 10]]


async def test_large_values_wait_where_workers_map_them() -> None:
    """So they are copied once, however long they wait."""
    queue = queue_of([Collector("c", handlers.ends, mode="process")])
    async with asyncio.timeout(BOUND), queue:
        queue.pause("c")
        value, events = bytearray(400_000), []
        for number in range(5):
            value[0] = value[-1] = number
            events.append(await queue.send(value))
        assert queue.snapshot().shared_memory_in_use >= 5 * len(value)
        before = queue.snapshot().shared_memory
        queue.resume("c")
        assert [ends for event in events for ends in await values_of(event)] == [[n, n] for n in range(5)]
        assert queue.snapshot().shared_memory == before


async def test_a_value_that_could_not_be_encoded_stays_an_error() -> None:
    """Of the collector that could not get it, also if the value can be encoded later."""
    queue = queue_of(
        [
            Collector("typed", handlers.typed, mode="process", payload_type=Order),
            Collector("c", handlers.plain, mode="process"),
            Collector("here", handlers.here),
        ]
    )
    order = Order(1, [object()])  # type: ignore[list-item]
    event = await queue.send(order)
    alone = await queue.send(Payload(order, Delivery.KEY, ["c"]))
    order.lines.clear()
    async with asyncio.timeout(BOUND), queue:
        typed, untyped, here = await event
        sole = (await alone).only()
    assert here.unwrap() is order
    for result, key in ((typed, "typed"), (untyped, "c"), (sole, "c")):
        assert isinstance(result, Error)
        assert isinstance(result.err, EncodeError)
        assert f"collector {key!r}: the payload of type Order" in str(result.err)


@pytest.mark.parametrize("mode", ["several collectors", "two that are called once"])
async def test_events_keep_no_encoded_values_longer_than_needed(mode: str) -> None:
    """What is kept for workers goes when they have it, or with the end of the event."""
    queue = queue_of(
        [Collector(key, handlers.plain, mode="process") for key in "cd"] if "two" in mode else MODES[mode]()
    )
    to_all = [await queue.send({"number": number}) for number in range(3)]
    to_one = [await queue.send(Payload({"number": number}, keys=["c"])) for number in range(3)]
    unchanging = await queue.send("text")
    cancelled = await queue.send({"number": 4})
    assert all(event.sent is not None for event in (*to_all, *to_one, cancelled))
    assert unchanging.sent is None
    cancelled.cancel()
    async with asyncio.timeout(BOUND), queue:
        for event in (*to_all, *to_one, unchanging):
            await event
    assert all(event.sent is None for event in (*to_all, *to_one, cancelled))


async def test_a_collector_that_moves_gets_the_value_as_it_was_at_the_move() -> None:
    """Adaptive collectors get the object itself until they have moved to workers."""
    collector = Collector("c", handlers.here, mode="adaptive")
    by_key = {"c": collector}
    values = SentValues()
    values.follow(DeliveryPlan(SimpleRouter(by_key), by_key), is_open=True)
    event = CollectorEvent(1, Payload({"number": 1}))
    values.keep(event)
    assert event.sent is None
    collector.move_to("process")
    values.follow(DeliveryPlan(SimpleRouter(by_key), by_key), is_open=True)
    assert values.redirect(event)
    event.payload.value["number"] = 2
    payload = event.payload._carrying(event.sent)
    assert PayloadDecoder(Any, "c")(*encode_sent(payload, collector, 1)).value == {"number": 1}
    assert payload.value == {"number": 2}


@pytest.mark.parametrize("codec", [None, "pickle"])
def test_collectors_share_what_they_get(codec: Any) -> None:
    """One copy of a value is kept for all collectors that get the same."""
    owners = [Collector(key, handlers.plain, mode="process", codec=codec) for key in "abc"]
    for value in ({"number": 1}, bytearray(100_000), bytearray(5_000_000)):
        sent = SentValue(value, [(owner, Fidelity(Any, coding_of(owner.codec))) for owner in owners])
        assert len({id(form) for form in sent._forms.values()}) == 1


def test_collectors_share_nothing_that_differs() -> None:
    """Here in the annotation and the codec."""
    owners = [Collector("typed", handlers.typed, mode="process"), Collector("any", handlers.plain, mode="process")]
    owners.append(Collector("pickled", handlers.plain, mode="process", codec="pickle"))
    types = [Order, Any, Any]
    fidelities = [Fidelity(one, coding_of(owner.codec)) for one, owner in zip(types, owners, strict=True)]
    sent = SentValue(Order(1), zip(owners, fidelities, strict=True))
    assert len({id(form) for form in sent._forms.values()}) == 3
