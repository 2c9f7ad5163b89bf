"""The advice of docs/errors.md leads to success: each mistake, and the same program after its message was followed."""

import asyncio
import functools
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any
from unittest.mock import Mock, create_autospec

import pytest

from event_collector import Collector, CollectorQueue, ConfigError, Context, Delivery, EncodeError, Error, Payload
from tests.docs.error_programs import Order, Receipt, handle

BOUND = 60.0


@pytest.fixture
def anyio_backend() -> str:
    """Run on one event loop only: words do not depend on it."""
    return "asyncio"


def length(value: str) -> int:
    return len(value)


async def length_here(value: str) -> int:
    return len(value)


def length_with_option(value: str, scale=2):  # type: ignore[no-untyped-def]
    return len(value) * scale


def length_with_named_option(value: str, *, scale: int = 2) -> int:
    return len(value) * scale


def scaled(scale: int, payload: Payload[str], ctx: Context) -> int:
    return len(payload.value) * scale


def first_order(payload: Payload[Order], ctx: Context) -> int:
    return payload.value.number


def first_order_as_value(order: Order, ctx: Context) -> int:
    return order.number


def first_order_alone(payload: Payload[Order]) -> int:
    return payload.value.number


def letters(value: str):  # type: ignore[no-untyped-def]
    yield from value


def letters_listed(value: str) -> list[str]:
    return list(value)


def unwrapped(*args: Any) -> Any:
    return length(*args)


@functools.wraps(length)
def wrapped(*args: Any) -> Any:
    return length(*args)


@functools.cache
async def cached(value: str) -> int:
    return len(value)


@functools.cache
def cached_value(value: str) -> int:
    return len(value)


class Desk:
    def answer(self, value: str) -> int:
        return len(value)


def address(value: int) -> Any:
    return IPv4Address(value)


def address_as_text(value: int) -> str:
    return str(IPv4Address(value))


def bill(order: Order) -> Receipt:
    return {"total": "five"}  # type: ignore[return-value]


def with_mode(handler: Any, mode: str) -> Callable[[], Collector]:
    return lambda: Collector("orders", handler, mode=mode)


def of(handler: Any, **options: Any) -> Callable[[], Collector]:
    return lambda: Collector("orders", handler, **options)


Make = Callable[[], Collector]
"""Makes a collector."""

COLLECTORS: dict[str, tuple[Make, list[tuple[Make, Any]]]] = {
    "plain function on the loop": (
        with_mode(length, "coroutine"),
        [
            (with_mode(length_here, "coroutine"), "abc"),
            (with_mode(length, "thread"), "abc"),
            (with_mode(length, "process"), "abc"),
        ],
    ),
    "coroutine function in a thread": (
        with_mode(length_here, "thread"),
        [(with_mode(length_here, "coroutine"), "abc"), (with_mode(length_here, "process"), "abc")],
    ),
    "three arguments": (of(scaled), [(of(functools.partial(scaled, 2)), "abc")]),
    "value and context": (
        of(first_order_as_value),
        [(of(first_order), Order(3)), (of(lambda order: order.number, mode="thread"), Order(3))],
    ),
    "option": (
        of(length_with_option),
        [(of(length_with_named_option), "abc"), (of(lambda value: length_with_option(value), mode="thread"), "abc")],
    ),
    "payload alone": (of(first_order_alone), [(of(first_order), Order(3))]),
    "hidden": (of(print), [(of(length), "abc")]),
    "decorator": (of(unwrapped), [(of(wrapped, mode="thread"), "abc")]),
    "mock": (
        of(Mock()),
        [(of(create_autospec(length, return_value=3), mode="thread"), "abc")],
    ),
    "generator": (of(letters, mode="adaptive"), [(of(letters_listed, mode="adaptive"), "abc")]),
    "cached coroutines": (of(cached), [(of(cached_value), "abc")]),
    "method": (of(Desk.answer), [(of(Desk().answer), "abc")]),
    "dict for the context": (of(length, ctx={}), [(of(length, ctx=Context({})), "abc")]),
    "text for a time": (of(length, timeout="5"), [(of(length, timeout=5), "abc"), (of(length, timeout=None), "abc")]),
    "text for topics": (of(length, topics="new"), [(of(length, topics=["new"]), "abc")]),
    "collector of a collector": (
        lambda: Collector("bills", Collector("orders", length)),
        [(lambda: Collector("bills", Collector("orders", length).handler), "abc")],
    ),
}  # fmt: skip


async def answer(collector: Collector, value: Any) -> Any:
    """Return the result of one event."""
    async with asyncio.timeout(BOUND), CollectorQueue([collector], logging=False, max_workers=1) as queue:
        return (await (await queue.get_publisher().send(Payload(value))).wait()).first()


@pytest.mark.parametrize("mistake", COLLECTORS)
async def test_a_refused_collector_works_as_its_message_says(mistake: str) -> None:
    """The mistake is refused; each way out that the message offers answers an event."""
    make, ways_out = COLLECTORS[mistake]
    with pytest.raises(ConfigError):
        make()
    for advised, value in ways_out:
        assert not (await answer(advised(), value)).is_error


@pytest.mark.parametrize(
    ("failing", "value", "ways_out"),
    [
        (of(handle), object(), [(of(handle, mode="thread"), object()), (of(handle), {"number": 1})]),
        (of(handle), {"ip": IPv4Address(1)}, [(of(handle), {"ip": str(IPv4Address(1))})]),
        (of(address), 2, [(of(address_as_text), 2), (of(address, mode="thread"), 2)]),
        (of(bill), Order(1), [(of(bill, result_type=dict), Order(1))]),
    ],
    ids=["payload", "part of a payload", "result", "another type"],
)
async def test_a_value_that_cannot_travel_does_as_the_message_says(failing: Make, value: Any, ways_out: Any) -> None:
    """The event fails with EncodeError; with another value, mode or type it succeeds."""
    result = await answer(failing(), value)
    assert isinstance(result, Error)
    assert isinstance(result.err, EncodeError)
    for advised, sent in ways_out:
        assert not (await answer(advised(), sent)).is_error


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        (lambda: Payload(1, Delivery.KEY, "orders"), lambda: Payload(1, Delivery.KEY, ["orders"])),
        (lambda: Payload(1, keys=["orders"], topics=["t"]), lambda: Payload(1, Delivery.KEY, ["orders"], ["t"])),
        (lambda: Payload(1, Delivery.KEY, topics=["t"]), lambda: Payload(1, Delivery.TOPIC, topics=["t"])),
        (lambda: Payload(1, Delivery.TOPIC, keys=["orders"]), lambda: Payload(1, Delivery.KEY, keys=["orders"])),
    ],
)
async def test_a_refused_address_reaches_its_collector_as_the_message_says(
    wrong: Callable[[], Payload[Any]], right: Callable[[], Payload[Any]]
) -> None:
    """Lists for text, a delivery for names."""
    with pytest.raises(ConfigError):
        wrong()
    queue = CollectorQueue([Collector("orders", length_here, topics=["t"])], logging=False)
    async with asyncio.timeout(BOUND), queue:
        assert [result.key for result in await (await queue.get_publisher().send(right())).wait()] == ["orders"]


async def test_refused_sends_and_queues_work_as_their_messages_say() -> None:
    """A list goes to send_many(), collectors stand in a list, options have names."""
    collector = Collector("orders", length_here)
    with pytest.raises(ConfigError):
        CollectorQueue(collector)  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        CollectorQueue([collector], 4)  # type: ignore[arg-type]
    async with asyncio.timeout(BOUND), CollectorQueue([collector], max_consumers=4, logging=False) as queue:
        publisher = queue.get_publisher()
        with pytest.raises(ConfigError):
            await publisher.send([Payload("abc")])
        events = [await publisher.send(Payload("abc")), *await publisher.send_many([Payload("abc")])]
        assert [(await event.wait()).first().unwrap() for event in events] == [3, 3]
