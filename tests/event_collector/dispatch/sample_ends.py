"""Handlers that end badly: at the top level of a module, where worker processes can import them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from event_collector import Context, Error, Ok, Payload, Reject, RetryLater
from tests.event_collector.sample_exceptions import BrokenParts, Frozen, FrozenType


def without_class(base: type[BaseException], raised: type[BaseException]) -> type[BaseException]:
    """Return an exception class whose `__class__` raises."""

    class NoClass(base):  # type: ignore[valid-type,misc]
        @property
        def __class__(self) -> type:
            raise raised("no class")

    return NoClass


def without_text(base: type[BaseException], raised: type[BaseException]) -> type[BaseException]:
    """Return an exception class whose text raises."""

    class NoText(base):  # type: ignore[valid-type,misc]
        def __str__(self) -> str:
            raise raised("no text")

        __repr__ = __str__

    return NoText


def without_attributes(base: type[BaseException], raised: type[BaseException]) -> type[BaseException]:
    """Return an exception class of which every attribute raises."""

    class NoAttributes(base):  # type: ignore[valid-type,misc]
        def __getattribute__(self, name: str) -> Any:
            raise raised(name)

    return NoAttributes


def without_equals(base: type[BaseException], raised: type[BaseException]) -> type[BaseException]:
    """Return an exception class that cannot be compared, hashed, copied or tested for truth."""

    class NoEquals(base):  # type: ignore[valid-type,misc]
        def __eq__(self, other: object) -> bool:
            raise raised("no comparison")

        def __hash__(self) -> int:
            raise raised("no hash")

        def __bool__(self) -> bool:
            raise raised("no truth")

        def __reduce_ex__(self, protocol: Any) -> Any:
            raise raised("no copy")

    return NoEquals


_BREAKS = (without_class, without_text, without_attributes, without_equals)
_BASES = (Exception, TypeError, StopIteration, asyncio.CancelledError, RetryLater, Reject)
# No BaseException: the queue hands it on to the event loop, and asyncio cannot show an odd one.
_RAISED = (RuntimeError, AttributeError, asyncio.CancelledError)

ODD: dict[str, Callable[[], BaseException]] = {
    f"{breaks.__name__} {base.__name__} {raised.__name__}": lambda make=breaks(base, raised): make("bad")
    for breaks in _BREAKS
    for base in _BASES
    for raised in _RAISED
} | {"frozen": lambda: Frozen("for good"), "frozen type": lambda: FrozenType("for good"), "broken parts": BrokenParts}
"""Exceptions that fail whoever looks at them."""

ANSWERS: dict[str, Callable[[], Any]] = {
    "details that are a number": lambda: Error(ValueError("bad"), 5),  # type: ignore[arg-type]
    "details that are a list": lambda: Error(ValueError("bad"), ["trace"]),  # type: ignore[arg-type]
    "an odd trace": lambda: Error(ValueError("bad"), {"trace": Frozen}),
    "an error without text": lambda: Error(without_text(Exception, RuntimeError)("bad")),
    "an error without class": lambda: Error(without_class(Exception, RuntimeError)("bad")),
    "an error without attributes": lambda: Error(without_attributes(Exception, RuntimeError)("bad")),
    "an error of no exception": lambda: Error(object()),
    "a value without class": lambda: without_class(Exception, RuntimeError)("bad"),
    "an Ok of an odd value": lambda: Ok(without_equals(Exception, RuntimeError)("bad")),
    "an odd key": lambda: Ok(1, key=["key"]),  # type: ignore[arg-type]
}
"""What a handler may return although it should not."""


@dataclass
class Unmade:
    """A result that raises when the program makes it: each bad number in its way, and good ones not at all."""

    number: int

    def __post_init__(self) -> None:
        if self.number in UNMADE:
            raise UNMADE[self.number]("not made")


UNMADE: dict[int, type[BaseException]] = {
    -1: ValueError,
    -2: SystemExit,
    -3: KeyboardInterrupt,
    -4: asyncio.CancelledError,
    -5: StopIteration,
    -6: GeneratorExit,
}


def answer(payload: Payload[int], ctx: Context) -> Any:
    """Return what is an Unmade for the program."""
    return {"number": payload.value}


def end(payload: Payload[Any], ctx: Context) -> Any:
    """Echo a number; else end as the value says."""
    if isinstance(payload.value, int):
        return payload.value
    if payload.value in ANSWERS:
        return ANSWERS[payload.value]()
    raise ODD[payload.value]()


async def end_async(payload: Payload[Any], ctx: Context) -> Any:
    """Do what `end()` does, in the first step of the task."""
    return end(payload, ctx)


async def end_later(payload: Payload[Any], ctx: Context) -> Any:
    """Do what `end()` does, in a later step of the task."""
    await asyncio.sleep(0)
    return end(payload, ctx)
