"""Handlers that hide their signature: they are called as they can be, or refused when the collector is made."""

import asyncio
import base64
import functools
import math
import operator
import re
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any
from unittest.mock import AsyncMock, Mock, create_autospec

import msgspec
import pytest

from event_collector import Collector, CollectorQueue, ConfigError, Context, Payload
from event_collector.handlers.signature import is_asynchronous, payload_type_of, result_type_of

BOUND = 30.0


def square(number: int) -> int:
    return number * number


async def square_later(number: int) -> int:
    return number * number


async def square_payload(payload: Payload[int], ctx: Context) -> int:
    return payload.value**2


class Counting:
    """A decorator that is a class."""

    def __init__(self, handler: Callable[..., Any]) -> None:
        functools.update_wrapper(self, handler)
        self.handler = handler
        self.calls = 0

    def __call__(self, *args: Any) -> Any:
        self.calls += 1
        return self.handler(*args)


def unnamed(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a handler without functools.wraps()."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return handler(*args, **kwargs)

    return call


def retried(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a handler of the value, with an option."""

    @functools.wraps(handler)
    def call(value, attempts=3):  # type: ignore[no-untyped-def]
        return handler(value)

    return call


class Desk:
    @functools.singledispatchmethod
    def answer(self, value: Any) -> Any:
        return value

    @functools.lru_cache
    def cached(self, number: int) -> int:
        return number * number

    times = functools.partialmethod(lambda self, factor, number: number * number, 1)


@functools.singledispatch
def by_class(number: Any) -> Any:
    return number * number


CALLED: dict[str, Callable[..., Any]] = {
    "lru_cache": functools.lru_cache(square),
    "cache of payloads": functools.cache(lambda payload, ctx: payload.value**2),
    "cached method": Desk().cached,
    "partialmethod": Desk().times,
    "singledispatch": by_class,
    "class as decorator": Counting(square),
    "partial of a built-in": functools.partial(pow, exp=2),
    "partial of an operator": functools.partial(operator.mul, 7),
    "autospec": create_autospec(square, return_value=49),
    "star after a payload": lambda payload, *rest: payload.value**2,
}


@pytest.mark.parametrize("name", CALLED)
async def test_a_handler_is_called_in_the_form_that_its_signature_shows(name: str) -> None:
    """Caches, dispatchers, partials and specified mocks answer events."""
    collector = Collector("a", CALLED[name], mode="thread")
    async with asyncio.timeout(BOUND), CollectorQueue([collector], logging=False) as queue:
        results = await (await queue.get_publisher().send(Payload(7))).wait()
    assert results.first().unwrap() == 49


@pytest.mark.parametrize(
    "handler",
    [
        Counting(square_later), Counting(square_payload), create_autospec(square_later, return_value=49),
        create_autospec(square_payload, return_value=49),
    ],
    ids=["value", "payload", "autospec of value", "autospec of payload"],
)  # fmt: skip
async def test_a_coroutine_function_is_found_within(handler: Callable[..., Awaitable[int]]) -> None:
    """What wraps or imitates a coroutine function runs on the event loop."""
    collector = Collector("a", handler)
    assert collector.mode == "coroutine"
    async with asyncio.timeout(BOUND), CollectorQueue([collector], logging=False) as queue:
        results = await (await queue.get_publisher().send(Payload(7))).wait()
    assert results.first().unwrap() == 49


class Order(msgspec.Struct):
    number: int


class Named:
    def __init__(self, number: int) -> None:
        self.number = number


class Answer:
    """An object to await, made of a payload and its context."""

    def __init__(self, payload: Payload[int], ctx: Context) -> None:
        self.value = payload.value

    def __await__(self) -> Generator[Any, Any, int]:
        yield from asyncio.sleep(0).__await__()
        return self.value


@pytest.mark.parametrize(("handler", "taken"), [(Order, int), (Named, int), (float, Any)])
def test_a_class_takes_what_its_constructor_takes_and_returns_itself(handler: type, taken: Any) -> None:
    """Annotations of the fields or of `__init__` say the type of the value."""
    assert (payload_type_of(handler), result_type_of(handler)) == (taken, handler)
    assert not is_asynchronous(handler)


async def test_a_class_whose_objects_can_be_awaited_is_asynchronous() -> None:
    """Its object is made with the payload and the context, and awaited."""
    assert is_asynchronous(Answer)
    async with asyncio.timeout(BOUND), CollectorQueue([Collector("a", Answer)], logging=False) as queue:
        assert (await (await queue.get_publisher().send(Payload(7))).wait()).first().unwrap() == 7


@dataclass
class Pair:
    first: Any
    second: Any


UNCLEAR: dict[str, Callable[..., Any]] = {
    "any arguments": lambda *args: None,
    "one and any": lambda value, *rest: None,
    "print": print,
    "pow of two": functools.partial(pow, 2),
    "two that are no payload": operator.add,
    "an option": round,
    "an option of a bound method": {}.get,
    "several options": re.compile("a").match,
    "no signature": int,
    "no signature either": math.log,
    "str.format": "{}".format,
    "class of two": Pair,
    "mock": Mock(),
    "asynchronous mock": AsyncMock(),
    "mock of a function": Mock(spec=square),
    "decorator without wraps": unnamed(square),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_a_handler_that_leaves_its_form_open_is_refused(name: str) -> None:
    """The error names the collector and says what to write."""
    with pytest.raises(ConfigError, match=r"'orders': .* leaves open whether it takes the value alone") as caught:
        Collector("orders", UNCLEAR[name])
    assert "write a function that calls it" in str(caught.value)


def plain_option(order, express=None):  # type: ignore[no-untyped-def]
    """Has an option where others have the context."""


@pytest.mark.parametrize("handler", [plain_option, base64.b64encode, retried(square)])
def test_an_option_that_is_none_is_not_taken_for_the_context(handler: Callable[..., Any]) -> None:
    """Neither names nor annotations say that the second parameter is the context."""
    with pytest.raises(ConfigError, match=r"leaves open whether '(express|altchars|attempts)' is the context"):
        Collector("orders", handler)


def numbers(upto: int) -> Iterator[int]:
    yield from range(upto)


async def numbers_later(upto: int) -> AsyncIterator[int]:
    yield upto


class Generating:
    def __call__(self, upto: int) -> Iterator[int]:
        yield upto


@pytest.mark.parametrize(
    ("handler", "mode"),
    [
        (numbers, "process"),
        (numbers_later, "coroutine"),
        (functools.partial(numbers), "process"),
        (Generating(), "process"),
        (Generating().__call__, "process"),
    ],
)
def test_a_generator_function_yields_parts(handler: Callable[..., Any], mode: str) -> None:
    """It is known by its function, whatever form it has, and its mode is that of a function without `yield`."""
    collector = Collector("orders", handler)
    assert collector.is_generator
    assert collector.mode == mode


def test_a_cache_of_generators_is_refused() -> None:
    """It would return the generator that an earlier event has used up."""
    with pytest.raises(ConfigError, match=r"caches generators, which can be read once"):
        Collector("orders", functools.cache(numbers))


def test_a_wrapper_that_runs_a_generator_is_a_handler() -> None:
    """Only a handler that returns the generator yields parts, and none that can be awaited does."""

    @functools.wraps(numbers)
    def listed(upto: int) -> list[int]:
        return list(numbers(upto))

    @types.coroutine
    def old_style(upto: int) -> Generator[Any, Any, int]:
        yield
        return upto

    assert Collector("orders", listed)(3) == [0, 1, 2]
    assert not Collector("orders", listed).is_generator
    assert not Collector("orders", old_style).is_generator


def test_a_cache_of_coroutines_is_refused() -> None:
    """Its second answer to one value could not be awaited."""
    with pytest.raises(ConfigError, match="caches coroutines"):
        Collector("orders", functools.lru_cache(square_later))


def test_a_bound_singledispatchmethod_is_refused() -> None:
    """Its signature is that of the method without its object; the error says what to do about it."""
    with pytest.raises(ConfigError, match="singledispatchmethod for example, write a function that calls it"):
        Collector("orders", Desk().answer)
