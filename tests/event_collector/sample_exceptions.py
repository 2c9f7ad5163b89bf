"""Exceptions for the tests of modes, ordinary and odd, at the top level of a module that workers can import."""

import asyncio
import os
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from tests.event_collector.sample_types import Colour, Unknown


class Refused(Exception):
    """With an attribute that is no argument."""

    def __init__(self, reason: str, code: int = 0) -> None:
        super().__init__(reason)
        self.code = code


class Odd(Exception):
    """Its constructor does not take its own args."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


class Demanding(Exception):
    """Its constructor takes keywords only."""

    def __init__(self, *, why: str) -> None:
        super().__init__(why)


class Reducible(Exception):
    """An odd constructor, but it says how it is made again."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")
        self.both = first, second

    def __reduce__(self) -> Any:
        return Reducible, self.both


class Prefixing(Exception):
    """Its constructor would put its prefix before its own argument once more."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


class Misleading(Exception):
    """Says that it is made again of something else."""

    def __reduce__(self) -> Any:
        return Misleading, ("something else",)


class Falsy(Exception):
    def __bool__(self) -> bool:
        return False


class Hollow(Exception):
    def __len__(self) -> int:
        return 0


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class ExitsWhenShown(Exception):
    def __str__(self) -> str:
        return str(os._exit(5))


@dataclass(frozen=True)
class Frozen(Exception):
    """Refuses every assignment to an attribute, including __traceback__, __cause__ and __notes__."""

    reason: str


class FrozenType(TypeError):
    """Refuses every assignment; a TypeError may get a note about the payload's type."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


class BrokenParts(Exception):
    """All that a traceback consists of raises."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    @property
    def __notes__(self) -> list[str]:  # type: ignore[override]
        raise RuntimeError("no notes")

    @property
    def __class__(self) -> type:  # type: ignore[override]
        raise RuntimeError("no class")


class Stubborn(BaseException):
    """No Exception, so nobody may expect it."""


def noted() -> Exception:
    error = ValueError("with notes")
    error.add_note("first")
    error.add_note("second \ud800")
    return error


def oddly_noted() -> Exception:
    error = ValueError("with odd notes")
    error.__notes__ = 5  # type: ignore[assignment]
    return error


def chained() -> Exception:
    try:
        raise KeyError("inner")
    except KeyError as inner:
        outer = ValueError("outer")
        outer.__cause__ = inner
        return outer


def self_caused() -> Exception:
    error = ValueError("its own cause")
    error.__cause__ = error
    return error


def endless() -> Exception:
    items: list[Any] = []
    items.append(items)
    return ValueError(items)


RAISED: dict[str, Any] = {
    "value": lambda: ValueError("bad", 7),
    "no args": ValueError,
    "key": lambda: KeyError(("a", 1)),
    "arguments": lambda: ValueError({"a": (1, 2)}, {3}, Decimal("1.5"), UUID(int=1), None),
    "file": lambda: FileNotFoundError(2, "No such file or directory", "/nowhere"),
    "unicode": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    "refused": lambda: Refused("no", 17),
    "reducible": lambda: Reducible(1, 2),
    "odd": lambda: Odd(1, 2),
    "demanding": lambda: Demanding(why="because"),
    "prefixing": lambda: Prefixing(503),
    "falsy": lambda: Falsy("falsy"),
    "hollow": lambda: Hollow("hollow"),
    "frozen": lambda: Frozen("for good"),
    "frozen type": lambda: FrozenType("for good"),
    "noted": noted,
    "oddly noted": oddly_noted,
    "chained": chained,
    "its own cause": self_caused,
    "group": lambda: ExceptionGroup("two", [ValueError("a"), ExceptionGroup("deeper", [KeyError(("k", 1))])]),
    "cancelled": lambda: asyncio.CancelledError("from within"),
    "stop": lambda: StopIteration(3),
    "timeout": lambda: TimeoutError("its own"),
    "system": lambda: OSError(5, "Input/output error"),
}
"""What comes out the same in every mode."""

DISGUISED: dict[str, Any] = {
    "misleading": lambda: Misleading("the text"),
    "unencodable": lambda: ValueError(Unknown),
    "enum": lambda: ValueError(Colour.RED),
    "endless": endless,
    "surrogates": lambda: ValueError("\ud800"),
    "huge": lambda: ValueError(2**100),
    "stubborn": lambda: Stubborn("go away"),
    "interrupt": lambda: KeyboardInterrupt("not from a keyboard"),
    "generator": lambda: GeneratorExit("early"),
    "local": lambda: type("Local", (Exception,), {"__qualname__": "nowhere.<locals>.Local"})("hidden"),
}
"""What a worker cannot hand back as it was: a RemoteError that names it."""
