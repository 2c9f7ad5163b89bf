"""Values that msgspec does not know, through real worker processes and executors, in every way that values take."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from event_collector import Batch, Collector, CollectorQueue, ConfigError, Delivery, EncodeError, Journal, Payload
from event_collector.queue import CollectorQueue as Queue
from tests.event_collector import sample_handlers
from tests.event_collector.encoding import sample_travellers as travellers
from tests.event_collector.encoding.sample_travellers import POINTS, VALUES, Money, Point, Trip, same
from tests.event_collector.encoding.test_kinds import available
from tests.event_collector.modes import ask, error_of, place, running


async def returned(queue: Queue, value: Any) -> Any:
    return (await ask(queue, value)).unwrap()


@pytest.mark.parametrize("library", VALUES)
async def test_workers_get_and_return_what_was_sent(library: str) -> None:
    """One by one, as a stream in chunks, in batches and as parts that a handler yields."""
    values = available(library)
    single = Collector("single", travellers.echo, mode="process")
    batch = Collector("batch", travellers.echo_all, mode="process", batch=Batch(max_size=8))
    parts = Collector("parts", travellers.echo_parts, mode="process")
    async with running(single, batch, parts) as queue:
        for value in values[:3]:
            assert same(value, (await queue.call(single, value)))
        for collector in (single, batch):
            found = [result.unwrap() async for result in queue.stream(collector, values)]
            assert same(found, values)
        within = [value for value in values if type(value) not in (bytearray, memoryview)]
        event = await queue.send(Payload(within, Delivery.KEY, ["parts"]))
        assert same([part async for part in event.parts()], within)


async def test_executors_get_and_return_what_was_sent() -> None:
    """Also coroutine functions there, and handlers of batches."""
    values = [value for library in ("standard library", "numpy") for value in available(library)]
    with place("executor of processes") as executor:
        single = Collector("single", travellers.echo_async, mode=executor)
        batch = Collector("batch", travellers.echo_all, mode=executor, batch=Batch(max_size=8))
        async with running(single, batch) as queue:
            for collector in (single, batch):
                found = [result.unwrap() async for result in queue.stream(collector, values)]
                assert same(found, values)


async def test_typed_handlers_get_their_types() -> None:
    """In events and in chunks."""
    trip = Trip(Path("a"), 2**70, 1.5, Money(Decimal(1), "EUR"), b"x" * 100_000, [1j])
    for handler, value, found in (
        (travellers.echo_trip, trip, trip),
        (travellers.pay, Money(Decimal(2), "EUR"), Money(Decimal(4), "EUR")),
    ):
        collector = Collector("c", handler, mode="process")
        async with running(collector) as queue:
            assert await returned(queue, value) == found
            results = [result.unwrap() async for result in queue.stream(collector, [value] * 3)]
            assert results == [found] * 3


async def test_a_worker_imports_the_modules_of_what_it_gets() -> None:
    """The module of a handler need not import the classes of the values; singly, in chunks and in batches."""
    money = Money(Decimal(1), "EUR")
    single = Collector("single", sample_handlers.echo, mode="process")
    batch = Collector("batch", sample_handlers.echo, mode="process", batch=Batch(max_size=2))
    for collector in (single, batch):
        async with running(collector) as queue:
            assert [result.unwrap() async for result in queue.stream(collector, [money, money])] == [money, money]
    async with running(single) as queue:
        assert await returned(queue, {"a": [money]}) == {"a": [money]}


async def test_a_collector_has_a_codec_of_its_own() -> None:
    """Its hooks go to the workers; what they leave to others travels as ever."""
    collector = Collector("c", travellers.mirror, mode="process", codec=POINTS)
    async with running(collector) as queue:
        assert await returned(queue, Point(1, 2**70)) == Point(2**70, 1)
        assert [result.unwrap() async for result in queue.stream(collector, [Point(1, 2)])] == [Point(2, 1)]
    async with running(Collector("c", travellers.echo, mode="process", codec=POINTS)) as queue:
        assert await returned(queue, [Point(1, 2), Path("a")]) == [[1, 2], Path("a")]


async def test_a_collector_may_have_pickle() -> None:
    """Values arrive as they are: tuples as tuples, subclasses as such, large buffers beside the message."""
    collector = Collector("c", travellers.echo, mode="process", codec="pickle")
    values = [(1, {2}), travellers.Cheque(Decimal(1), "EUR"), Trip(count=2**70), 5, "text", b"x" * 100_000]
    async with running(collector) as queue:
        for value in values:
            assert await returned(queue, value) == value
        assert [result.unwrap() async for result in queue.stream(collector, values)] == values
        assert type(await returned(queue, travellers.Cheque(Decimal(1), "EUR"))) is travellers.Cheque
        error = await error_of(queue, lambda: None)
        assert isinstance(error, EncodeError)
        assert "cannot be pickled" in str(error)
        np = pytest.importorskip("numpy")
        for array in (np.zeros(3), np.zeros(travellers.LARGE), [np.zeros(travellers.LARGE)] * 2):
            assert same(await returned(queue, array), array)


async def test_cloudpickle_has_handlers_without_a_name() -> None:
    """Lambdas and closures run in workers and in executors of processes, and may be payloads too."""
    pytest.importorskip("cloudpickle")
    factor = 3
    with place("executor of processes") as executor:
        for mode in ("process", executor):
            collector = Collector("c", lambda value: (value() if callable(value) else value) * factor, mode=mode)
            with pytest.raises(ConfigError, match=r"it is a lambda.*codec='cloudpickle'"):
                await CollectorQueue([collector], logging=False).init_queue()
            collector = Collector("c", collector.handler, mode=mode, codec="cloudpickle")
            async with running(collector) as queue:
                assert await returned(queue, 5) == 15
                assert await returned(queue, lambda: (factor,)) == (3, 3, 3)


@pytest.mark.parametrize("codec", ["json", 5, POINTS.enc_hook])
def test_what_is_no_codec_is_refused(codec: Any) -> None:
    """At once, with what it takes."""
    with pytest.raises(ConfigError, match="codec takes a Codec"):
        Collector("c", travellers.echo, codec=codec)


async def test_hooks_without_a_name_are_refused_at_the_start() -> None:
    """Workers need them."""
    collector = Collector("c", travellers.echo, mode="process", codec=type(POINTS)(enc_hook=lambda _: None))
    with pytest.raises(ConfigError, match="its codec cannot be loaded there"):
        await CollectorQueue([collector], logging=False).init_queue()


@pytest.mark.parametrize("codec", [None, "pickle"])
async def test_a_journal_gives_back_what_was_sent(codec: Any, tmp_path: Path) -> None:
    """It stores values as data, whatever the codec of a collector."""
    np = pytest.importorskip("numpy")
    journal = Journal(tmp_path / "journal", types=[list, Money, Path, np.ndarray])
    values = [[2**70, Path("a"), np.arange(3)], 2**70, Money(Decimal(1), "EUR"), Path("a"), np.zeros(travellers.LARGE)]
    collector = Collector("c", travellers.echo, mode="process", codec=codec)
    queue = CollectorQueue([collector], logging=False, journal=journal, max_workers=1, consumer_shutdown_timeout=0.01)
    async with queue:
        sent = [await queue.get_publisher().send(Payload(value)) for value in values]
        assert same([(await event.wait()).first().unwrap() for event in sent], values)
