"""A value of another type than its handler asks for: told where nothing checks it, and the handler has failed."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypedDict

import pytest

from event_collector import Collector, Context, Error, Payload
from event_collector.handlers.mismatch import explain_mismatch
from tests.event_collector.modes import running
from tests.event_collector.sample_exceptions import BrokenParts, FrozenType
from tests.event_collector.sample_types import Order


def number_of(order: Order) -> int:
    return order.number


async def number_of_async(payload: Payload[Order], ctx: Context) -> int:
    return payload.value.number


class Row(TypedDict):
    number: int


class Numbered(Protocol):
    number: int


def takes(annotation: Any) -> Collector:
    def handler(value: Any) -> Any:
        """Only its annotation matters."""

    handler.__annotations__["value"] = annotation
    return Collector("orders", handler, mode="thread")


@pytest.mark.parametrize("several", [False, True], ids=["alone", "beside others"])
async def test_the_note_tells_where_values_are_not_checked(several: bool) -> None:
    """On the loop, in threads and in executors of threads an AttributeError has the note; in workers there is none."""
    with ThreadPoolExecutor(1) as threads:
        unchecked: dict[str, tuple[Any, Any]] = {
            "coroutine": (number_of_async, "coroutine"),
            "thread": (number_of, "thread"),
            "adaptive": (number_of, "adaptive"),
            "executor": (number_of, threads),
        }
        made = [Collector(key, handler, mode=mode) for key, (handler, mode) in unchecked.items()]
        for group in [made] if several else [[one] for one in made]:
            async with running(*group) as queue:
                results = await (await queue.get_publisher().send(Payload({"number": 1}))).wait()
            for result in results:
                assert isinstance(result, Error)
                assert isinstance(result.err, AttributeError)
                (note,) = result.err.__notes__
                assert f"{result.key!r}: the payload's value is of type dict" in note
                assert "asks for Order" in note
                assert result.details is not None
                assert note in result.details["trace"]


@pytest.mark.parametrize(
    ("annotation", "value", "fits"),
    [
        (int, "1", False),
        (int, 1, True),
        (float, 1, True),
        (float, "1", False),
        (list[int], (1,), False),
        (list[int], ["a"], True),
        (int | None, None, True),
        (int | None, "1", False),
        (Any, "1", True),
        (Row, 1, True),
        (Numbered, 1, True),
        ("NowhereToBeFound", 1, True),
    ],
)
def test_only_a_value_of_another_class_is_told(annotation: Any, value: Any, fits: bool) -> None:
    """What cannot be told by the class is left alone, and nothing comes of odd annotations."""
    error = TypeError("no")
    for _ in range(2):  # one exception may be raised again and again
        explain_mismatch(error, takes(annotation), Payload(value))
    assert len(getattr(error, "__notes__", [])) == (not fits)


@pytest.mark.parametrize("error", [ValueError("no"), KeyError("no"), KeyboardInterrupt()])
def test_other_exceptions_are_left_alone(error: BaseException) -> None:
    """Only the two that come of values of another type."""
    explain_mismatch(error, takes(int), Payload("1"))
    assert not hasattr(error, "__notes__")


def test_a_collector_in_worker_processes_needs_no_note() -> None:
    """There the value was decoded and checked, whatever was sent."""
    error = TypeError("no")
    explain_mismatch(error, Collector("orders", number_of), Payload({"number": 1}))
    assert not hasattr(error, "__notes__")


@pytest.mark.parametrize("kind", [FrozenType, BrokenParts])
def test_an_exception_that_takes_no_note_does_no_harm(kind: type[Exception]) -> None:
    """The exception stays as it is, and nothing is raised."""
    error = kind("no")
    explain_mismatch(error, takes(int), Payload("1"))
    assert "__notes__" not in vars(error)
