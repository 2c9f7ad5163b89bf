"""Payloads in a journal: what comes back is what was sent, and what cannot come back is refused before."""

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NewType, TypedDict
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_collector import ConfigError, Delivery, EncodeError, Payload, PayloadTypeError
from event_collector.journal.journal_codec import JournalCodec, decode_untyped
from event_collector.journal.stored_event import StoredEvent
from tests.event_collector.encoding.sample_travellers import Cheque, Money

LIMIT = 1_000_000
PARIS = datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=1)))
NAIVE = datetime(2026, 1, 2)  # noqa: DTZ001 - one without a time zone has to travel, too


class Order(msgspec.Struct):
    number: int
    lines: list[str] = []


@dataclass
class Refund:
    amount: Decimal


class Point(NamedTuple):
    x: int
    y: int


class Options(TypedDict):
    when: datetime


class Colour(Enum):
    RED = "red"


Number = NewType("Number", Order)


def stored(codec: JournalCodec, payload: Payload[Any]) -> StoredEvent:
    schema, body = codec.encode(payload)
    return StoredEvent(1, schema, body, 0.0).sealed()


def there_and_back(value: Any, *types: Any) -> Any:
    codec = JournalCodec(types, LIMIT)
    return codec.decode(stored(codec, Payload(value))).value


@pytest.mark.parametrize(
    "value",
    [
        None, True, 1, -(2**63), 2**64 - 1, 1.5, math.inf, "text", b"bytes", bytearray(b"array"), [1, "a"], (1, "a"),
        {"a": [1]}, {1: "a"}, {7}, frozenset({7}), datetime(2026, 1, 2, tzinfo=UTC), NAIVE,
        date(2026, 1, 2), timedelta(seconds=90), Decimal("1.50"), UUID(int=1),
    ],
    ids=repr,
)  # fmt: skip
def test_plain_data_comes_back_as_it_was(value: Any) -> None:
    """Also of kinds that msgpack does not know: the class is on record."""
    back = there_and_back(value)
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    ("value", "types"),
    [
        (2**70, []),
        ([2**70, Path("a"), {"b": 1j}], []),
        ({"n": 2**70}, [dict[str, int]]),
        (Path("a"), [Path]),
        (Money(Decimal(1), "EUR"), [Money]),
        (Fraction(1, 3), [Fraction]),
    ],
    ids=["integer", "list", "dict", "path", "registered", "fraction"],
)
def test_values_with_tags_come_back_as_they_were(value: Any, types: list[Any]) -> None:
    """Alone, if they are listed, and within plain data."""
    back = there_and_back(value, *types)
    assert (type(back), back) == (type(value), value)


def test_arrays_come_back_as_they_were() -> None:
    """Also large ones, which travel to a worker beside their message."""
    np = pytest.importorskip("numpy")
    for size in (3, 20_000):
        back = there_and_back(np.arange(size), np.ndarray)
        assert np.array_equal(back, np.arange(size))


def test_a_class_that_cannot_travel_is_refused_at_the_start() -> None:
    """Rather than each of its events."""
    with pytest.raises(ConfigError, match=r"cannot store payloads of type .*Cheque.*register_type\(Cheque, "):
        JournalCodec([Cheque], LIMIT)


@pytest.mark.parametrize(
    ("value", "asked"),
    [
        (Order(1, ["a"]), Order),
        (Order(1), Annotated[Order, "fine"]),
        (Order(1), Number),
        (Refund(Decimal(5)), Order | Refund | None),
        (Point(1, 2), Point),
        (Colour.RED, Colour),
        ([Order(1)], list[Order]),
        ({"a": Refund(Decimal(1))}, dict[str, Refund]),
        ({"when": NAIVE}, Options),
        (None, Order | None),
        ([1], list[int] | Order),
    ],
    ids=repr,
)
def test_a_value_comes_back_as_the_type_that_a_collector_names(value: Any, asked: Any) -> None:
    """Unions, containers and new types included."""
    back = there_and_back(value, asked)
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize("kind", [datetime, list[datetime], Options], ids=str)
def test_a_datetime_keeps_its_offset(kind: Any) -> None:
    """Alone, and where a type names it."""
    value = {datetime: PARIS, Options: {"when": PARIS}}.get(kind, [PARIS])
    back = there_and_back(value, kind)
    assert repr(back) == repr(value)


def test_a_datetime_that_would_lose_its_offset_is_refused() -> None:
    """No type says that this text is one."""
    with pytest.raises(EncodeError, match=r"2026-01-02T03:00:00\+01:00 would lose its offset"):
        there_and_back({"when": PARIS})


def test_an_object_of_a_subclass_is_refused_where_its_base_is_named() -> None:
    """It would come back without its other fields."""

    class Rush(Order):
        hours: int = 1

    with pytest.raises(EncodeError, match="Rush would arrive as Order"):
        there_and_back([Rush(1)], list[Order])


def test_several_types_of_one_class_are_tried_in_turn() -> None:
    """Two collectors may take different lists."""
    for value in ([Order(1)], [Refund(Decimal(2))]):
        assert there_and_back(value, list[Order], list[Refund]) == value


def test_where_a_payload_was_to_go_comes_back() -> None:
    """Delivery, keys, topics, priority."""
    codec = JournalCodec([], LIMIT)
    sent = Payload(1, Delivery.KEY, ["a", "b"], ["c"], 2.5)
    back = codec.decode(stored(codec, sent))
    assert repr(back) == repr(sent)
    assert repr(decode_untyped(stored(codec, sent))) == repr(sent)


def test_a_type_that_no_collector_names_is_refused() -> None:
    """It would come back as something else; the message tells the two ways out."""
    with pytest.raises(EncodeError, match=r"payload of type Order: no collector names that type.*Payload\[Order\]"):
        there_and_back(Order(1))


@pytest.mark.parametrize(
    "value",
    [object(), "\ud800", [object()], {1: {2: lambda: 0}}],
    ids=["object", "surrogate", "in a list", "deep down"],
)
def test_what_cannot_be_encoded_is_refused(value: Any) -> None:
    """The message names the class."""
    with pytest.raises(EncodeError, match=type(value).__name__):
        there_and_back(value)


def test_deep_nesting_is_refused_and_does_not_crash() -> None:
    """When it is sent, and when it is read."""
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(EncodeError, match="recursion"):
        there_and_back(deep)
    body = b"\x95" + b"\x91" * 100_000 + b"\xc0" + b"\x00\x90\x90\xc0"
    record = StoredEvent(1, "builtins.list", body, 0.0).sealed()
    with pytest.raises(PayloadTypeError, match=r"event 1 does not decode as builtins\.list any more"):
        JournalCodec([], LIMIT).decode(record)
    while deep:  # take it apart by hand: its own end would recurse
        deep = deep.pop()


def test_a_payload_that_is_too_long_is_refused() -> None:
    """The message has both numbers."""
    codec = JournalCodec([], 1000)
    with pytest.raises(EncodeError, match="takes 1,009 bytes, and the limit of the journal is 1,000"):
        codec.encode(Payload(b"x" * 1000))


def test_what_no_longer_fits_its_type_is_told() -> None:
    """The message has the path to the field."""
    record = stored(JournalCodec([Order], LIMIT), Payload(Order(1, ["a"])))

    class Order2(msgspec.Struct):
        number: str

    Order2.__qualname__ = "Order"
    with pytest.raises(
        PayloadTypeError, match=r"does not decode as .*\.Order any more: Expected `str`, got `int` - at `\$.number`"
    ):
        JournalCodec([Order2], LIMIT).decode(record)


def test_a_type_that_is_no_longer_named_is_told() -> None:
    """It is not looked for: nothing is imported for a name in a file."""
    record = stored(JournalCodec([Order], LIMIT), Payload(Order(1)))
    with pytest.raises(PayloadTypeError, match=r"is a .*\.Order, which no collector names any more"):
        JournalCodec([], LIMIT).decode(record)


def test_a_damaged_record_is_told() -> None:
    """A flipped bit makes no event."""
    record = stored(JournalCodec([], LIMIT), Payload("hello"))
    with pytest.raises(PayloadTypeError, match="event 1 is damaged in the journal: its checksum is wrong"):
        JournalCodec([], LIMIT).decode(record._replace(body=record.body.replace(b"h", b"j")))


def test_a_type_that_msgspec_does_not_know_is_refused_at_the_start() -> None:
    """Not with the first event."""

    class Odd:
        def __init__(self, x: int) -> None: ...

    with pytest.raises(ConfigError, match=r"annotate .*Odd as what msgspec encodes"):
        JournalCodec([Odd], LIMIT)
    with pytest.raises(ConfigError, match="the journal cannot store payloads of type"):
        JournalCodec(
            [dict[str, Order] | list[Order] | int, type("T", (msgspec.Struct,), {"__annotations__": {"a": "Nowhere"}})],
            LIMIT,
        )


@given(st.binary(max_size=200))
def test_no_bytes_make_it_do_anything_but_refuse(body: bytes) -> None:
    """Whatever stands in a file, decoding it gives a payload or a PayloadTypeError."""
    codec = JournalCodec([Order, list[Order]], LIMIT)
    for schema in ("builtins.list", f"{__name__}.Order", "os.system"):
        record = StoredEvent(1, schema, body, 0.0).sealed()
        try:
            assert isinstance(codec.decode(record), Payload)
        except PayloadTypeError:
            pass


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats(allow_nan=False)
        | st.text()
        | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_data_comes_back_equal(value: Any) -> None:
    """Any nesting of what JSON knows, and bytes."""
    assert there_and_back(value) == value
