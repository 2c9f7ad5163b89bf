"""What can be told of a handler by looking at it: whether it is to be awaited, and which types it speaks of."""

import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any, TypeVar

import msgspec
import pytest

from event_collector import Context, Error, Ok, Payload, Result
from event_collector.exceptions import ConfigError
from event_collector.handler import describe, is_asynchronous, payload_type_of, result_type_of

T = TypeVar("T")


class Order(msgspec.Struct):
    number: int


class Receipt(msgspec.Struct):
    total: int


def plain(payload: Payload[Order], ctx: Context) -> Result[Receipt]:
    return Ok(Receipt(payload.value.number))


async def coroutine(payload: Payload[Order], ctx: Context) -> Result[Receipt]:
    return Ok(Receipt(payload.value.number))


def configured(prefix: str, payload: Payload[Order], ctx: Context, suffix: str = "") -> Receipt:
    return Receipt(payload.value.number)


def wrapper(handler: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(handler)
    def call(payload: Any, ctx: Any) -> Any:
        return handler(payload, ctx)

    return call


class Shop:
    def plain(self, payload: Payload[Order], ctx: Context) -> Receipt:
        return Receipt(payload.value.number)

    async def coroutine(self, payload: Payload[Order], ctx: Context) -> Receipt:
        return Receipt(payload.value.number)

    @classmethod
    async def of_class(cls, payload: Payload[Order], ctx: Context) -> Receipt:
        return Receipt(payload.value.number)

    @staticmethod
    def of_nobody(payload: Payload[Order], ctx: Context) -> Receipt:
        return Receipt(payload.value.number)


class PlainObject:
    def __call__(self, payload: Payload[Order], ctx: Context) -> Receipt:
        return Receipt(payload.value.number)


class CoroutineObject:
    async def __call__(self, payload: Payload[Order], ctx: Context) -> Receipt:
        return Receipt(payload.value.number)


def promises(payload: Payload[Order], ctx: Context) -> Awaitable[Result[Receipt]]:
    return coroutine(payload, ctx)


def starts(payload: Payload[Order], ctx: Context) -> Coroutine[Any, Any, Receipt]:
    return Shop().coroutine(payload, ctx)


HANDLERS: list[tuple[Callable[..., Any], bool]] = [
    (plain, False),
    (coroutine, True),
    (functools.partial(configured, "x"), False),
    (functools.partial(configured, "x", suffix="y"), False),
    (functools.partial(coroutine), True),
    (functools.partial(functools.partial(CoroutineObject())), True),
    (wrapper(plain), False),
    (wrapper(coroutine), True),
    (Shop().plain, False),
    (Shop().coroutine, True),
    (Shop.of_class, True),
    (Shop.of_nobody, False),
    (PlainObject(), False),
    (CoroutineObject(), True),
    (promises, True),
    (starts, True),
]


@pytest.mark.parametrize(("handler", "asynchronous"), HANDLERS)
def test_a_handler_is_known_in_all_its_guises(handler: Callable[..., Any], asynchronous: bool) -> None:
    """Whether to await it, and both of its types, are found under partials, wrappers, methods and objects."""
    assert is_asynchronous(handler) is asynchronous
    assert payload_type_of(handler) is Order
    assert result_type_of(handler) is Receipt


def returning(annotation: Any) -> Callable[..., Any]:
    def handler(payload: Any, ctx: Any) -> Any:
        """Only its annotation matters."""

    handler.__annotations__["return"] = annotation
    return handler


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (Receipt, Receipt),
        ("Receipt", Receipt),
        (Ok[Receipt], Receipt),
        ("Ok[Receipt]", Receipt),
        (Ok["Receipt"], Receipt),
        (Result[Receipt], Receipt),
        (Ok[Receipt] | Error[str], Receipt),
        (Error[str] | Ok[Receipt], Receipt),
        (Awaitable[Ok[Receipt]], Receipt),
        (list[Receipt], list[Receipt]),
        (Annotated[int, "metres"], Annotated[int, "metres"]),
        (Receipt | None, Receipt | None),
        (None, type(None)),
        (Any, Any),
        (Result, Any),
        (Ok, Any),
        (Error, Any),
        (Error[str], Any),
        (Ok | Error, Any),
        (Awaitable, Any),
        (T, Any),
        (Ok[T], Any),  # type: ignore[valid-type]
        ("NowhereToBeFound", Any),
    ],
)
def test_the_type_of_a_result_is_what_its_annotation_says(annotation: Any, expected: Any) -> None:
    """Ok, Result and what is to be awaited are looked into; what says nothing, or cannot be found, is Any."""
    assert result_type_of(returning(annotation)) == expected


def taking(annotation: Any) -> Callable[..., Any]:
    def handler(payload: Any, ctx: Any) -> Any:
        """Only its annotation matters."""

    handler.__annotations__["payload"] = annotation
    return handler


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (Payload[Order], Order),
        ("Payload[Order]", Order),
        (Payload["Order"], Order),
        ("Payload[list[Order]]", list[Order]),
        (Payload[list["Order"]], list[Order]),
        (Payload[dict[str, int]], dict[str, int]),
        (Payload, Any),
        (Payload[Any], Any),
        (Payload[T], Any),  # type: ignore[valid-type]
        (Order, Any),
        (Any, Any),
        ("NowhereToBeFound", Any),
    ],
)
def test_the_type_of_a_payload_is_what_its_annotation_says(annotation: Any, expected: Any) -> None:
    """Payload[Order] asks for an Order, written out or as text; everything else asks for nothing."""
    assert payload_type_of(taking(annotation)) == expected


def test_a_payload_type_that_cannot_be_found_is_refused() -> None:
    """An annotation that names what is only imported for type checkers is an error that says so."""
    with pytest.raises(ConfigError, match="TYPE_CHECKING") as caught:
        payload_type_of(taking("Payload[OnlyForTypeCheckers]"))
    assert "payload_type=" in str(caught.value)


@pytest.mark.parametrize("handler", [print, dict, functools.partial(print), lambda: None, lambda *args: None])
def test_handlers_that_say_nothing_are_plain_and_untyped(handler: Callable[..., Any]) -> None:
    """Built-ins, classes and functions without annotations are taken as they are."""
    assert not is_asynchronous(handler)
    assert payload_type_of(handler) is Any
    assert result_type_of(handler) is Any


def test_a_handler_is_described_by_its_name() -> None:
    """Errors and logs name functions and methods by their qualified name, objects by their repr."""
    assert describe(Shop().plain) == "Shop.plain"
    assert describe(plain) == "plain"
    assert "configured" in describe(functools.partial(configured, "x"))
