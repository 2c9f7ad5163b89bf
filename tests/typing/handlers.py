"""What type checkers must make of handlers, their collectors and their results: checked by `make check`, never run."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, assert_type

from event_collector import (
    Batch,
    Collector,
    CollectorList,
    CollectorQueue,
    Context,
    Error,
    Ok,
    Payload,
    Result,
    ResultList,
    Retry,
    collector,
)
from event_collector.calls.pipeline import Pipeline
from event_collector.sync import Queue


class Order:
    """What is sent."""


class Receipt:
    """What comes back."""


def plain(order: Order) -> Receipt:
    return Receipt()


async def plain_async(order: Order) -> Receipt:
    return Receipt()


def plain_result(order: Order) -> Result[Receipt]:
    return Ok(Receipt())


async def plain_result_async(order: Order) -> Result[Receipt]:
    return Ok(Receipt())


def full(payload: Payload[Order], ctx: Context) -> Receipt:
    return Receipt()


async def full_async(payload: Payload[Order], ctx: Context) -> Receipt:
    return Receipt()


def full_result(payload: Payload[Order], ctx: Context) -> Result[Receipt]:
    return Ok(Receipt())


async def full_result_async(payload: Payload[Order], ctx: Context) -> Result[Receipt]:
    return Ok(Receipt())


async def never_fails(order: Order) -> Ok[Receipt]:
    return Ok(Receipt())


def fails_with_text(order: Order) -> Ok[Receipt] | Error[str]:
    return Error("sold out")


def prepares(order: Order) -> Awaitable[Receipt]:
    return plain_async(order)


async def maybe(order: Order) -> list[Receipt] | None:
    return None


async def nothing(order: Order) -> None: ...


async def untyped(payload: Payload, ctx: Context) -> Result:
    return Ok(payload.value)


def anything(value: Any) -> Any:
    return value


class Shop:
    """Handlers that are methods or objects."""

    def serve(self, order: Order) -> Receipt:
        return Receipt()

    async def __call__(self, payload: Payload[Order], ctx: Context) -> Receipt:
        return Receipt()


def scale(factor: int, order: Order) -> Receipt:
    return Receipt()


def forms() -> None:
    """Whatever form a handler has, its collector knows what it takes and what it gives."""
    assert_type(Collector("a", plain), Collector[Order, Receipt])
    assert_type(Collector("a", plain_async), Collector[Order, Receipt])
    assert_type(Collector("a", plain_result), Collector[Order, Receipt])
    assert_type(Collector("a", plain_result_async), Collector[Order, Receipt])
    assert_type(Collector("a", full), Collector[Order, Receipt])
    assert_type(Collector("a", full_async), Collector[Order, Receipt])
    assert_type(Collector("a", full_result), Collector[Order, Receipt])
    assert_type(Collector("a", full_result_async), Collector[Order, Receipt])
    assert_type(Collector("a", never_fails), Collector[Order, Receipt])
    assert_type(Collector("a", fails_with_text), Collector[Order, Receipt])
    assert_type(Collector("a", prepares), Collector[Order, Receipt])
    assert_type(Collector("a", maybe), Collector[Order, list[Receipt] | None])
    assert_type(Collector("a", nothing), Collector[Order, None])
    assert_type(Collector("a", untyped), Collector[Any, Any])
    assert_type(Collector("a", untyped), Collector)
    assert_type(Collector("a", anything), Collector[Any, Any])
    assert_type(Collector("a", Shop().serve), Collector[Order, Receipt])
    assert_type(Collector("a", Shop()), Collector[Order, Receipt])
    Collector("a", functools.partial(scale, 2), mode="thread", timeout=1.0)
    Collector("a", lambda order: 1)
    Collector("a", lambda payload, ctx: payload.value)


def annotations() -> None:
    """A collector fits an annotation that its handler fits, and no other."""
    good: Collector[Order, Receipt] = Collector("a", plain)
    wider: Collector[object, object] = good
    every: Collector = wider
    takes: Collector[int, Receipt] = Collector("a", plain)  # type: ignore[arg-type]
    gives: Collector[Order, int] = Collector("a", full_async)  # type: ignore[arg-type]
    print(every, takes, gives)


def mistakes() -> None:
    """What is no handler, and options that there are not, are found."""
    Collector("a", 3)  # type: ignore[call-overload]
    Collector("a", scale)  # type: ignore[arg-type]
    Collector("a", plain, mode=3)  # type: ignore[call-overload]
    Collector("a", plain, tiemout=3)  # type: ignore[call-overload]


@collector("bill", mode="process", topics=["orders"], timeout=5.0, retry=Retry(max_attempts=3))
def bill(order: Order) -> Receipt:
    return Receipt()


@collector("store")
async def store(payload: Payload[Order], ctx: Context) -> Result[Receipt]:
    return Ok(Receipt())


@collector("count")
async def count(number: int) -> str:
    return str(number)


def many(orders: list[Order]) -> list[Receipt]:
    return [Receipt()]


async def many_async(payloads: list[Payload[Order]], ctx: Context) -> tuple[Result[Receipt], ...]:
    return (Ok(Receipt()),)


@collector("embed", mode="process", batch=Batch(max_size=8), timeout=1.0)
def embed(orders: list[Order]) -> list[Receipt | Error]:
    return [Error("no")]


@collector(batch=Batch(max_wait=0.1))
async def embed_async(payloads: list[Payload[Order]], ctx: Context) -> list[Receipt]:
    return [Receipt()]


async def batches(queue: CollectorQueue) -> None:
    """The types of a collector with a batch handler are those of an item."""
    assert_type(Collector("a", many, batch=Batch()), Collector[Order, Receipt])
    assert_type(Collector("a", many_async, batch=Batch()), Collector[Order, Receipt])
    assert_type(embed, Collector[Order, Receipt | Error])
    assert_type(embed_async, Collector[Order, Receipt])
    assert_type(await queue.call(embed_async, Order()), Receipt)
    Collector("a", plain, batch=Batch())  # type: ignore[arg-type]
    Collector("a", many, batch=64)  # type: ignore[call-overload]


def decorated() -> None:
    """A decorator keeps both types, and takes the options that Collector takes."""
    assert_type(bill, Collector[Order, Receipt])
    assert_type(store, Collector[Order, Receipt])
    assert_type(count, Collector[int, str])
    assert_type(bill.handler, Callable[..., Any])
    assert_type(collector(plain), Collector[Order, Receipt])
    assert_type(collector(full_result_async), Collector[Order, Receipt])
    assert_type(collector(timeout=5)(plain_async), Collector[Order, Receipt])
    collector("x", mode=3)  # type: ignore[call-overload]
    collector("x", tiemout=3)  # type: ignore[call-overload]


async def calls(queue: CollectorQueue) -> None:
    """A call returns what its collector returns; by a function or a key it is not known."""
    assert_type(await queue.call(bill, Order()), Receipt)
    assert_type(await queue.call(plain, Order(), timeout=1), Any)
    assert_type(await queue.call("bill", Order(), priority=1, deadline=5), Any)
    assert_type(await queue.submit(bill, Order()), ResultList)
    assert_type(await queue.submit(bill, Order()).value(), Any)
    async for result in queue.stream(bill, [Order()], ahead=3):
        assert_type(result, Result[Receipt])
    async for receipt in queue.map(bill, [Order()], ordered=False):
        assert_type(receipt, Receipt)


def lists() -> CollectorList:
    """Collectors of different types stand in one list, with and without an annotation."""
    several = [bill, store, count, Collector("a", untyped)]
    CollectorQueue(several)
    CollectorQueue([bill, count])
    named: list[Collector] = [bill, count]
    return [*several, *named]


async def asking(results: ResultList) -> None:
    """The result of a collector has the collector's type."""
    assert_type(results.of(bill), Result[Receipt])
    assert_type(results.of(count).unwrap(), str)
    assert_type(results.of("bill"), Result)
    match results.of(store):
        case Ok(receipt):
            assert_type(receipt, Receipt)
        case Error(err):
            print(err)


async def a_program() -> None:
    """From the order to the receipt, nothing is lost."""
    async with CollectorQueue([bill]) as queue:
        event = await queue.get_publisher().send(Payload(Order()))
        assert_type((await event.wait()).of(bill).unwrap(), Receipt)
    await bill.process(Payload(Order()))
    await bill.process(Payload("an order"))  # type: ignore[arg-type]


def running() -> None:
    """The program is one that asyncio runs."""
    asyncio.run(a_program())


async def pipelines(queue: CollectorQueue) -> None:
    """The results of a pipeline have the type of its last stage."""
    assert_type(queue.pipeline(bill), Pipeline[Receipt])
    assert_type(queue.pipeline("first", bill, ahead=3), Pipeline[Receipt])
    assert_type(queue.pipeline(plain, "second", bill, ordered=False), Pipeline[Receipt])
    assert_type(queue.pipeline(bill, plain, bill, "last", priority=1), Pipeline[Any])
    async for result in queue.pipeline("first", bill).stream([Order()]):
        assert_type(result, Result[Receipt])
    async for receipt in queue.pipeline("first", bill).map([Order()]):
        assert_type(receipt, Receipt)


def other_threads(queue: CollectorQueue) -> None:
    """The ways of other threads return what the collector does."""
    assert_type(queue.call_threadsafe(bill, Order(), timeout=1), Receipt)
    assert_type(queue.call_threadsafe(plain, Order()), Any)
    assert_type(queue.submit_threadsafe(bill, Order()), Future[Receipt])


def without_a_loop() -> None:
    """So does the queue that needs no event loop."""
    with Queue([bill], max_workers=1) as queue:
        assert_type(queue.call(bill, Order(), timeout=1), Receipt)
        assert_type(queue.submit(bill, Order()), Future[Receipt])
        for result in queue.stream(bill, [Order()], ahead=3):
            assert_type(result, Result[Receipt])
        for receipt in queue.map(bill, [Order()]):
            assert_type(receipt, Receipt)
        for receipt in queue.pipeline("first", bill).map([Order()]):
            assert_type(receipt, Receipt)
