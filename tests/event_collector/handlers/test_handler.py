"""What can be told of a handler by looking at it: whether it is to be awaited, and which types it speaks of."""

import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any, Protocol, TypeVar

import msgspec
import pytest

from event_collector import Context, Error, Ok, Payload, Result
from event_collector.exceptions import ConfigError
from event_collector.handlers.signature import describe, is_asynchronous, payload_type_of, result_type_of, takes_value

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


@pytest.mark.parametrize("handler", [len, abs, functools.partial(pow, exp=2), lambda: None, lambda *args: None])
def test_handlers_that_say_nothing_are_plain_and_untyped(handler: Callable[..., Any]) -> None:
    """Built-ins and functions without annotations are taken as they are."""
    assert not is_asynchronous(handler)
    assert payload_type_of(handler) is Any
    assert result_type_of(handler) is Any


def test_a_handler_is_described_by_its_name() -> None:
    """Errors and logs name functions and methods by their qualified name, objects by their repr."""
    assert describe(Shop().plain) == "Shop.plain"
    assert describe(plain) == "plain"
    assert "configured" in describe(functools.partial(configured, "x"))


def none() -> None: ...
def three(a: int, b: int, c: int) -> None: ...
def needs_option(value: int, *, option: int) -> None: ...
def value_and_context(value: Order, ctx: Context) -> None: ...
def value_and_default(value, express=False) -> None: ...  # type: ignore[no-untyped-def]
def value_and_annotated(value: Any, limit: int | None = None) -> None: ...
def payload_alone(payload: Payload[Order]) -> None: ...
def payload_alone_as_text(payload: "Payload[OnlyForTypeCheckers]") -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (none, "write `(value)`, or `(payload, ctx)`"),
        (three, "functools.partial"),
        (needs_option, "functools.partial"),
        (value_and_context, "take the value alone"),
        (value_and_default, "leaves open whether 'express' is the context"),
        (value_and_annotated, "leaves open whether 'limit' is the context"),
        (payload_alone, "takes a payload without the context"),
        (payload_alone_as_text, "takes a payload without the context"),
        (Shop.plain, r"give the bound method, Shop\(...\).plain"),
        (lambda: None, "write `(value)`"),
    ],
)
def test_a_signature_that_is_neither_form_or_could_be_both_is_refused(handler: Callable[..., Any], words: str) -> None:
    """The error names the owner and the handler, and says what to write."""
    with pytest.raises(
        ConfigError, match=words.replace("(value)", r"\(value\)").replace("(payload, ctx)", r"\(payload, ctx\)")
    ) as caught:
        takes_value(handler, "collector 'orders'")
    assert str(caught.value).startswith(f"collector 'orders': {describe(handler)}")


def by_value(order: Order) -> Receipt:
    return Receipt(order.number)


async def by_value_async(order: "Order") -> Receipt:
    return Receipt(order.number)


class ByValue:
    def method(self, order: Order) -> Receipt:
        return Receipt(order.number)

    def __call__(self, order: Order) -> Receipt:
        return Receipt(order.number)


def with_options(order: Order, *, express: bool = False) -> Receipt:
    return Receipt(order.number)


def of_factor(factor: int, order: Order) -> Receipt:
    return Receipt(order.number * factor)


@pytest.mark.parametrize(
    "handler", [by_value, by_value_async, ByValue().method, ByValue(), with_options, functools.partial(of_factor, 2)]
)
def test_a_handler_of_one_parameter_takes_the_value(handler: Callable[..., Any]) -> None:
    """Its annotation is the type of the value."""
    assert takes_value(handler, "here")
    assert payload_type_of(handler) is Order
    assert result_type_of(handler) is Receipt


def injects(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a handler that needs more than it is given."""

    @functools.wraps(handler)
    def call(payload: Any, ctx: Any) -> Any:
        return handler(payload, ctx, "database")

    return call


def injects_anyhow(handler: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(handler)
    def call(*args: Any) -> Any:
        return handler(*args, "database")

    return call


def passes_on(handler: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(handler)
    def call(*args: Any, **kwargs: Any) -> Any:
        return handler(*args, **kwargs)

    return call


def by_payload(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Make a handler of the value of another one."""

    @functools.wraps(handler)
    def call(order: Any) -> Any:
        return handler(Payload(order), Context())

    return call


def takes_apart(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Make a handler of payload and context of one that takes the value and the context."""

    @functools.wraps(handler)
    def call(order: Any, ctx: Any) -> Any:
        return handler(order.value, ctx)

    return call


def of_value_and_context(order: Order, ctx: Context) -> Receipt:
    return Receipt(order.number)


def with_database(payload: Payload[Order], ctx: Context, database: str) -> Receipt:
    return Receipt(payload.value.number)


@pytest.mark.parametrize(
    ("handler", "value", "asked"),
    [
        (injects(with_database), False, Order),
        (injects_anyhow(with_database), False, Order),
        (functools.partial(injects(with_database)), False, Order),
        (passes_on(plain), False, Order),
        (passes_on(by_value), True, Order),
        (passes_on(passes_on(by_value)), True, Order),
        (by_payload(plain), True, Order),
        (takes_apart(of_value_and_context), False, Any),
    ],
)
def test_a_wrapper_decides_how_it_is_called(handler: Callable[..., Any], value: bool, asked: Any) -> None:
    """Its own parameters count, those of the wrapped function if it takes whatever comes; types are found anyhow."""
    assert takes_value(handler, "here") is value
    assert payload_type_of(handler) is asked
    assert result_type_of(handler) is Receipt


class Valued(Protocol):
    @property
    def value(self) -> Any: ...


class Special(Payload[int]):
    """A payload of one's own."""


def of_special(payload: Special, ctx: Context) -> None: ...
def of_protocol(payload: Valued, ctx: Any) -> None: ...
def of_object(payload: object, ctx: object) -> None: ...
def of_union(payload: Payload[int] | Payload[str], ctx: Context) -> None: ...
def of_either(payload: Payload[int] | None, ctx: Context | None = None) -> None: ...
def of_unknown(payload: "NowhereToBeFound", ctx) -> None: ...  # type: ignore[no-untyped-def,name-defined]  # noqa: F821
def of_typevar(payload: T, ctx: Context) -> T: ...  # type: ignore[empty-body]
def without_annotations(payload, ctx=None): ...  # type: ignore[no-untyped-def]
def with_more(payload: Payload[int], ctx: Context, more: int = 1) -> None: ...


@pytest.mark.parametrize(
    "handler",
    [
        *(handler for handler, _ in HANDLERS),
        of_special, of_protocol, of_object, of_union, of_either, of_unknown, of_typevar, without_annotations,
        with_more, lambda payload, ctx: None,
    ],
)  # fmt: skip
def test_a_handler_of_two_parameters_takes_payload_and_context(handler: Callable[..., Any]) -> None:
    """Whatever its annotations, as long as a payload may be what they say."""
    assert not takes_value(handler, "here")


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [(Any, Any), (T, Any), (list[Order], list[Order]), (Order | None, Order | None), ("Order", Order)],
)
def test_the_type_of_a_value_is_its_annotation(annotation: Any, expected: Any) -> None:
    """What says nothing asks for nothing."""

    def handler(value: Any) -> Any:
        """Only its annotation matters."""

    assert payload_type_of(handler) is Any
    handler.__annotations__["value"] = annotation
    assert payload_type_of(handler) == expected


def test_a_value_type_that_cannot_be_found_is_refused() -> None:
    """As that of a payload is."""

    def handler(value: "OnlyForTypeCheckers") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(ConfigError, match="TYPE_CHECKING"):
        payload_type_of(handler)
