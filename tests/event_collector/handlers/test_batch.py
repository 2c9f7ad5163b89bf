"""Batch handlers: the limits of a batch, the forms of a handler, and what their annotations say of one event."""

import functools
from collections.abc import Awaitable, Collection, Iterable, Iterator, Sequence
from typing import Annotated, Any

import pytest

from event_collector import Batch, Collector, ConfigError, Context, Ok, Payload, Result, collector
from event_collector.handlers.value_handler import results_of


class Text:
    """What is sent."""


class Vector:
    """What comes back."""


def plain(items: list[Text]) -> list[Vector]: ...
async def asynchronous(items: list[Text]) -> list[Vector]: ...
def full(payloads: list[Payload[Text]], ctx: Context) -> list[Result[Vector]]: ...
def sequence(items: Sequence[Text]) -> Sequence[Ok[Vector]]: ...
def iterable(items: Iterable[Text]) -> Collection[Vector]: ...
def pair(items: Annotated[list[Text], "all of them"]) -> tuple[Vector, ...]: ...
def awaited(items: list[Text]) -> Awaitable[list[Vector]]: ...
def untyped(items): ...  # type: ignore[no-untyped-def]
def bare(items: list) -> list: ...  # type: ignore[type-arg]
def optional(items: list[Text] | None) -> list[Vector] | None: ...


class Model:
    """Handlers that are methods or objects."""

    def embed(self, items: list[Text]) -> list[Vector]: ...
    def __call__(self, payloads: list[Payload[Text]], ctx: Context) -> list[Vector]: ...


TYPED = [plain, full, sequence, iterable, pair, optional, Model().embed, Model(), functools.partial(plain)]


def made(handler: Any, **options: Any) -> Collector:
    options.setdefault("mode", "process")
    return Collector("c", handler, batch=Batch(), **options)


@pytest.mark.parametrize("handler", TYPED)
def test_types_are_those_of_an_item(handler: Any) -> None:
    """A worker decodes each item into the argument of the list, and so is each result."""
    found = made(handler)
    assert (found.payload_type, found.result_type) == (Text, Vector)
    assert found.required_type() is Text
    assert made(handler, payload_type=int, result_type=str).payload_type is int


@pytest.mark.parametrize("handler", [untyped, bare])
def test_lists_without_a_type_hold_anything(handler: Any) -> None:
    """No annotation promises nothing."""
    found = made(handler)
    assert (found.payload_type, found.result_type, found.required_type()) == (Any, Any, Any)


def test_an_awaitable_list_is_a_list() -> None:
    """What an `async def` returns, and what an annotation says that can be awaited, are the same."""
    for handler in (asynchronous, awaited):
        found = made(handler)
        assert (found.asynchronous, found.result_type) == (True, Vector)
        assert Collector("c", handler, batch=Batch()).mode == "coroutine"


def test_the_decorator_takes_it() -> None:
    """`@collector(batch=...)` makes the same, and the function can be called as it is."""

    @collector(batch=Batch(max_size=3, max_wait=1))
    async def double(items: list[int]) -> list[int]:
        return [2 * item for item in items]

    assert isinstance(double, Collector)
    assert double.batch == Batch(3, 1)
    assert double.takes_batches


def one_value(item: Text) -> list[Vector]: ...
def mapping(items: dict[str, Text]) -> list[Vector]: ...
def one_payload(payload: Payload[Text], ctx: Context) -> list[Vector]: ...
def values_and_context(items: list[Text], ctx: Context) -> list[Vector]: ...
def payloads_alone(payloads: list[Payload[Text]]) -> list[Vector]: ...
def one_result(items: list[Text]) -> Vector: ...
def no_result(items: list[Text]) -> None: ...
def text(items: list[Text]) -> str: ...
def iterator(items: list[Text]) -> Iterator[Vector]: ...
def by_name(items: list[Text]) -> dict[str, Vector]: ...
def too_many(items: list[Text], ctx: Context, more: int) -> list[Vector]: ...
def unclear(items: list[Text], option: int = 3) -> list[Vector]: ...
def unresolved(items: "list[Nowhere]") -> list[Vector]: ...  # type: ignore[name-defined]  # noqa: F821


def generator(items: list[Text]) -> Any:
    yield Vector()


async def async_generator(items: list[Text]) -> Any:
    yield Vector()


REFUSED = {
    one_value: r"takes a list, but its parameter is annotated Text: write `\(item: list\[Text\]\)`",
    mapping: "takes a list, but its parameter is annotated dict",
    one_payload: "takes a list, but its parameter is annotated .*Payload",
    values_and_context: r"annotated list\[Text\]: write `\(items: list\[Payload\[Text\]\], ctx: Context\)`",
    payloads_alone: r"payloads without the context: write `\(payloads: list\[Payload\[...\]\], ctx: Context\)`",
    one_result: "returns a list, but is annotated to return Vector: return a list with one result for each event",
    no_result: "returns a list, but is annotated to return NoneType",
    text: "returns a list, but is annotated to return str",
    iterator: "returns a list, but is annotated to return .*Iterator",
    by_name: "returns a list, but is annotated to return dict",
    too_many: "cannot be a handler",
    unclear: "leaves open whether 'option' is the context",
    unresolved: "cannot be resolved at run time",
    generator: "generator function, which cannot be a batch handler",
    async_generator: "generator function, which cannot be a batch handler",
    Model.embed: "is a method without its object",
}


@pytest.mark.parametrize("handler", REFUSED, ids=lambda handler: handler.__name__)
def test_a_handler_that_is_not_for_batches_is_refused(handler: Any) -> None:
    """An annotation that contradicts batch= is found when the Collector is made, with what to write instead."""
    with pytest.raises(ConfigError, match=REFUSED[handler]) as caught:
        made(handler)
    assert "c'" in str(caught.value) or handler is unresolved


def test_a_batch_handler_does_not_move() -> None:
    """mode="adaptive" is refused, with the modes that there are."""
    with pytest.raises(ConfigError, match="choose one of 'coroutine', 'thread' and 'process'"):
        made(plain, mode="adaptive")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_size": 0}, r"Batch\(max_size=...\) takes a whole number from 1 on, not 0"),
        ({"max_size": True}, "max_size"),
        ({"max_size": 2.0}, "max_size"),
        ({"max_wait": -0.1}, r"Batch\(max_wait=...\) takes a number of seconds from 0 on, not -0.1"),
        ({"max_wait": float("nan")}, "max_wait"),
        ({"max_wait": float("inf")}, "max_wait"),
        ({"max_wait": "1"}, "max_wait"),
    ],
)
def test_limits_are_checked(options: Any, message: str) -> None:
    """A value out of range is refused at once."""
    with pytest.raises(ConfigError, match=message):
        Batch(**options)


def test_batch_takes_a_batch() -> None:
    """A number is no Batch."""
    with pytest.raises(ConfigError, match="batch takes a Batch"):
        Collector("c", plain, batch=64)  # type: ignore[call-overload]


@pytest.mark.parametrize("outcome", [None, 3, "ab", b"ab", {1: 2, 3: 4}, {1, 2}, iter([1, 2])])
def test_what_is_no_list_is_an_error(outcome: Any) -> None:
    """The message says what the handler returned, and what it should."""
    with pytest.raises(ConfigError, match=rf"returned {type(outcome).__name__} for a batch of 2: return a list"):
        results_of(outcome, 2, "c")


def test_a_wrong_number_of_results_is_an_error() -> None:
    """The message has both numbers. Any collection of the right size will do."""
    with pytest.raises(ConfigError, match="returned a list of 3 for a batch of 2"):
        results_of([1, 2, 3], 2, "c")
    assert results_of((1, 2), 2, "c") == [1, 2]
    assert results_of({1: "a", 2: "b"}.values(), 2, "c") == ["a", "b"]
