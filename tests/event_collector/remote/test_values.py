"""What goes into a handler and what comes out of it where it runs in another process: one table of values.

Coroutines and threads get the very object, so the table holds for worker processes and executors of processes.
"""

import math
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any
from uuid import UUID

import msgspec
import pytest

from event_collector import (
    Collector,
    CollectorQueue,
    ConfigError,
    Delivery,
    EncodeError,
    Error,
    Ok,
    Payload,
    PayloadTypeError,
)
from tests.event_collector import sample_handlers as handlers
from tests.event_collector.modes import ask, error_of, every_place, running
from tests.event_collector.sample_types import Checked, Colour, Label, Order, Parcel, Point, Receipt, Unknown

NAIVE = datetime(2026, 1, 2)  # noqa: DTZ001 - one without a time zone has to travel, too
PROCESSES = ["process", "executor of processes"]


@pytest.fixture(scope="module")
def places() -> Iterator[dict[str, Any]]:
    """One set of executors for all of this module."""
    with every_place() as found:
        yield found


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


# What is sent, and what an untyped handler finds.
UNTYPED: list[tuple[Any, Any]] = [
    (None, None),
    (True, True),
    (-(2**63), -(2**63)),
    (2**64 - 1, 2**64 - 1),
    (1.5, 1.5),
    (-0.0, -0.0),
    (math.inf, math.inf),
    (math.nan, math.nan),
    ("täxt \U0001f600\0", "täxt \U0001f600\0"),
    (b"bytes", b"bytes"),
    (bytearray(b"array"), bytearray(b"array")),
    (bytearray(b"a" * 70_000), bytearray(b"a" * 70_000)),
    ([bytearray(b"array")], [b"array"]),
    (b"b" * 70_000, b"b" * 70_000),
    ([], []),
    ((1, (2, 3)), [1, [2, 3]]),
    ({7}, [7]),
    (frozenset({7}), [7]),
    ({"a": {1: "int", None: "none", (1, 2): "tuple"}}, {"a": {1: "int", None: "none", (1, 2): "tuple"}}),
    (NAIVE, "2026-01-02T00:00:00"),
    (datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)),
    (date(2026, 1, 2), "2026-01-02"),
    (timedelta(seconds=90), "PT90S"),
    (Decimal("1.50"), "1.50"),
    (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (Colour.RED, "red"),
    (Order(1, ["a"]), {"number": 1, "lines": ["a"]}),
    (Parcel(3), {"weight": 3}),
    (Label(text="t"), {"text": "t"}),
    (Point(1, 2), [1, 2]),
    (nested(50), nested(50)),
]

# The type that the handler asks for, what is sent, and what it finds.
TYPED: list[tuple[Any, Any, Any]] = [
    (Order, Order(1, ["a"]), Order(1, ["a"])),
    (Order, {"number": 1}, Order(1)),
    (Parcel, Parcel(3), Parcel(3)),
    (Label, {"text": "t"}, {"text": "t"}),
    (Point, Point(1, 2), Point(1, 2)),
    (tuple[int, str], (1, "a"), (1, "a")),
    (set[int], {1, 2}, {1, 2}),
    (frozenset[int], frozenset({1}), frozenset({1})),
    (datetime, NAIVE, NAIVE),
    (date, date(2026, 1, 2), date(2026, 1, 2)),
    (timedelta, timedelta(seconds=90), timedelta(seconds=90)),
    (Decimal, Decimal("1.50"), Decimal("1.50")),
    (UUID, UUID(int=1), UUID(int=1)),
    (Colour, Colour.RED, Colour.RED),
    (bytes, b"x", b"x"),
    (bytes, b"x" * 70_000, b"x" * 70_000),
    (bytearray, bytearray(b"x"), bytearray(b"x")),
    (bytearray, bytearray(b"x" * 70_000), bytearray(b"x" * 70_000)),
    (bytes | None, b"x" * 70_000, b"x" * 70_000),
    (Order | None, None, None),
    (list[Order], [Order(1)], [Order(1)]),
    (dict[int, Order], {1: Order(2)}, {1: Order(2)}),
    (Annotated[int, msgspec.Meta(ge=0)], 5, 5),
    (Any, {"a": 1}, {"a": 1}),
]


@pytest.mark.parametrize("where", PROCESSES)
async def test_untyped_values_arrive_as_msgpack_knows_them(where: str, places: dict[str, Any]) -> None:
    """A handler without a type finds each value, type for type, as the table says."""
    async with running(Collector("c", handlers.untyped, mode=places[where])) as queue:
        got = [(await ask(queue, sent)).unwrap() for sent, _ in UNTYPED]
        assert got == [handlers.describe(found) for _, found in UNTYPED]


async def test_typed_values_arrive_as_asked_for() -> None:
    """A handler with a type finds exactly that, small or large, sent as such or as what it is made of."""
    collectors = [
        Collector(str(number), handlers.untyped, mode="process", payload_type=asked)
        for number, (asked, _, _) in enumerate(TYPED)
    ]
    async with running(*collectors) as queue:
        for number, (_, sent, found) in enumerate(TYPED):
            assert (await ask_one(queue, number, sent)).unwrap() == handlers.describe(found)


async def ask_one(queue: CollectorQueue, number: int, value: Any) -> Any:
    return await ask(queue, value, delivery=Delivery.KEY, keys=[str(number)])


async def test_results_come_back_as_annotated() -> None:
    """A result has the type that the table says: its own where the collector knows it, msgpack's otherwise."""
    collectors = [
        Collector(
            str(number),
            handlers.act,
            mode="process",
            payload_type=tuple.__class_getitem__((str, asked)),
            result_type=asked,
        )
        for number, (asked, _, _) in enumerate(TYPED)
    ]
    async with running(*collectors) as queue:
        for number, (_, sent, found) in enumerate(TYPED):
            value = (await ask_one(queue, number, ("echo", sent))).unwrap()
            assert handlers.describe(value) == handlers.describe(found)


@pytest.mark.parametrize("where", PROCESSES)
async def test_annotations_of_a_handler_are_its_types(where: str, places: dict[str, Any]) -> None:
    """Payload[Order] and -> Receipt say all there is to say, for `def` and `async def`, small values and large."""
    for handler in (handlers.take_order, handlers.take_order_async):
        async with running(Collector("c", handler, mode=places[where])) as queue:
            assert (await ask(queue, Order(4))).unwrap() == Receipt(8)
            assert (await ask(queue, {"number": 5})).unwrap() == Receipt(10)
    async with running(Collector("c", handlers.takes_bytes, mode=places[where])) as queue:
        for size in (0, 1, 65_535, 65_536, 1_000_000):
            assert (await ask(queue, b"\xff" * size)).unwrap() == b"\xff" * size


UNENCODABLE: list[tuple[Any, str]] = [
    (Unknown(), "Unknown"),
    ({"deep": [Unknown()]}, "dict"),
    ("\ud800", "str"),
    (nested(100_000), "list"),
    (lambda: None, "function"),
    (iter(range(3)), "range_iterator"),
]


@pytest.mark.parametrize("where", PROCESSES)
async def test_a_value_that_cannot_travel_is_an_error_that_says_so(where: str, places: dict[str, Any]) -> None:
    """What msgspec cannot encode is that event's EncodeError with collector, type and remedy; others go on."""
    async with running(Collector("c", handlers.act, mode=places[where])) as queue:
        for value, name in UNENCODABLE:
            error = await error_of(queue, value)
            assert isinstance(error, EncodeError), name
            for part in ("collector 'c'", f"payload of type {name}", "Use ", "mode='thread'"):
                assert part in str(error)
            assert (await ask(queue, ["echo", 1])).unwrap() == 1


@pytest.mark.parametrize("where", PROCESSES)
async def test_a_result_that_cannot_travel_is_an_error_that_says_so(where: str, places: dict[str, Any]) -> None:
    """What a handler returns and msgspec cannot encode is that event's EncodeError; the worker goes on."""
    async with running(Collector("c", handlers.act, mode=places[where])) as queue:
        (pid,) = {(await ask(queue, ["pid", 0])).unwrap()}
        error = await error_of(queue, ["unencodable", 0])
        assert isinstance(error, EncodeError)
        for part in ("collector 'c'", "result of type Unknown", "Use what msgspec encodes"):
            assert part in str(error)
        assert (await ask(queue, ["pid", 0])).unwrap() == pid


MISFITS: list[tuple[Any, Any, str]] = [
    (Order, {"lines": []}, "missing required field `number`"),
    (Order, {"number": "one"}, "Expected `int`, got `str` - at `$[0].number`"),
    (Order, b"x" * 70_000, "Expected `object`, got `bytes`"),
    (str, b"x" * 70_000, "Expected `str`, got `bytes`"),
    (Order, None, "Expected `object`"),
    (Checked, {"number": -1}, "numbers below 0 are not kept"),
    (Annotated[int, msgspec.Meta(ge=0)], -1, "Expected `int` >= 0"),
    (Fraction, {"a": 1}, "Expected `Fraction`"),
]


async def test_a_payload_of_another_type_is_an_error_that_names_the_field() -> None:
    """What does not fit the handler's type never reaches it: a PayloadTypeError with collector, type and field."""
    collectors = [
        Collector(str(number), handlers.untyped, mode="process", payload_type=payload_type)
        for number, (payload_type, _, _) in enumerate(MISFITS)
    ]
    async with running(*collectors) as queue:
        for number, (_, value, complaint) in enumerate(MISFITS):
            error = (await ask_one(queue, number, value)).err
            assert isinstance(error, PayloadTypeError)
            assert f"collector '{number}'" in str(error)
            assert complaint in str(error)


async def test_a_result_of_another_type_than_annotated_is_an_error() -> None:
    """A handler that does not return what its annotation says gets an EncodeError with collector and remedy."""
    async with running(Collector("c", handlers.gives_receipt, mode="process")) as queue:
        for value in ({"nothing": 1}, 5, b"x" * 70_000):
            error = await error_of(queue, value)
            assert isinstance(error, EncodeError)
            for part in ("collector 'c'", "does not fit Receipt", "result_type="):
                assert part in str(error)
        assert (await ask(queue, {"total": 2})).unwrap() == Receipt(2)


async def test_types_that_cannot_travel_are_refused_at_the_start() -> None:
    """A type that msgspec does not support stops the start, naming collector, type and the way out."""
    for collector in (
        Collector("c", handlers.gives_union, mode="process"),
        Collector("c", handlers.untyped, mode="process", payload_type=Order | Receipt),
    ):
        with pytest.raises(ConfigError, match=r"collector 'c': .*Order.*_type=Any"):
            await CollectorQueue([collector], logging=False).init_queue()
    for types in ({"payload_type": dict[str, Unknown]}, {"result_type": Unknown | None}):
        collector = Collector("c", handlers.untyped, mode="process", **types)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=r"collector 'c': .*Unknown.* register_type\(Unknown, encode=.*'pickle'"):
            await CollectorQueue([collector], logging=False).init_queue()
    async with running(Collector("c", handlers.gives_union, mode="process", result_type=Any)) as queue:
        assert (await ask(queue, 0)).unwrap() == {"total": 1}


async def test_a_returned_error_keeps_its_meaning() -> None:
    """Error(...) comes back with its value or its exception and its details, and was never raised."""
    async with running(Collector("c", handlers.act, mode="process")) as queue:
        result = await ask(queue, ["answer", "error exception"])
        assert isinstance(result, Error)
        assert isinstance(result.err, ValueError)
        assert (result.err.args, result.details, result.key) == (("returned", 3), {"why": ["a"]}, "c")
        assert result.err.__cause__ is None


async def test_coroutines_get_the_very_object() -> None:
    """In coroutine mode nothing is copied, on either way."""
    value = Unknown()

    async def same(payload: Payload[Any], ctx: Any) -> Any:
        return Ok(payload.value)

    async with running(Collector("c", same)) as queue:
        assert (await ask(queue, value)).unwrap() is value
