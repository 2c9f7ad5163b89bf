"""Handlers for the tests of modes: at the top level of a module, where worker processes can import them."""

import asyncio
import contextlib
import ctypes
import dataclasses
import enum
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, TypedDict
from uuid import UUID

import msgspec

from event_collector import Context, Error, Ok, Payload

# -- types --


class Colour(enum.Enum):
    RED = "red"


class Order(msgspec.Struct):
    number: int
    lines: list[str] = []


class Receipt(msgspec.Struct):
    total: int


@dataclasses.dataclass
class Parcel:
    weight: int


class Label(TypedDict):
    text: str


class Point(NamedTuple):
    x: int
    y: int


class Checked(msgspec.Struct):
    number: int

    def __post_init__(self) -> None:
        if self.number < 0:
            raise LookupError("numbers below 0 are not kept")


class ExitsWhenMade(msgspec.Struct):
    code: int

    def __post_init__(self) -> None:
        os._exit(self.code)


class Unknown:
    """Nothing that msgspec knows."""


# -- exceptions --


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
    "falsy": lambda: Falsy("falsy"),
    "hollow": lambda: Hollow("hollow"),
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
    "odd": lambda: Odd(1, 2),
    "demanding": lambda: Demanding(why="because"),
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


# -- what handlers do: the payload says it, [name, argument] --


def echo(argument: Any) -> Any:
    return argument


def fail(name: str) -> Any:
    raise {**RAISED, **DISGUISED, "mute": Mute, "exits when shown": ExitsWhenShown}[name]()


def answer(name: str) -> Any:
    return ANSWERS[name]()


def linger(path: str) -> None:
    """Make the file, so that the test knows where the handler is, and stay."""
    Path(path).touch()
    time.sleep(60)


ANSWERS: dict[str, Any] = {
    "ok": lambda: Ok(1),
    "ok none": lambda: Ok(None),
    "none": lambda: None,
    "falsy": lambda: 0,
    "list": lambda: [1, "a", None, {"b": b"c"}],
    "int keys": lambda: {1: "a", 2: {3: 4}},
    "large": lambda: b"x" * 100_000,
    "infinite": lambda: float("inf"),
    "error text": lambda: Error("text"),
    "error nothing": lambda: Error(None),
    "error value": lambda: Error({"code": 5}, {"why": "because"}),
    "error odd details": lambda: Error("text", {1: 2}),  # type: ignore[dict-item]
    "error exception": lambda: Error(ValueError("returned", 3), {"why": ["a"]}),
    "error group": lambda: Error(ExceptionGroup("g", [KeyError(1)])),
    "error stop": lambda: Error(StopIteration(1)),
}

ACTS: dict[str, Any] = {
    "echo": echo,
    "raise": fail,
    "answer": answer,
    "pid": lambda _: os.getpid(),
    "thread": lambda _: threading.current_thread() is threading.main_thread(),
    "sleep": time.sleep,
    "exit": os._exit,
    "sys.exit": sys.exit,
    "kill": lambda number: os.kill(os.getpid(), number),
    "segfault": lambda _: ctypes.string_at(0),
    "stop": lambda _: os.kill(os.getpid(), signal.SIGSTOP),
    "linger": linger,
    "recurse": lambda _: recurse(0),
    "unencodable": lambda _: Unknown(),
    "coroutine": lambda argument: aecho(argument),
}


def recurse(depth: int) -> int:
    return recurse(depth + 1) + 1


async def aecho(argument: Any) -> Any:
    await asyncio.sleep(0)
    return argument


def act(payload: Payload[Any], ctx: Context) -> Any:
    name, argument = payload.value
    return ACTS[name](argument)


async def act_async(payload: Payload[Any], ctx: Context) -> Any:
    name, argument = payload.value
    if name == "sleep":
        return await asyncio.sleep(argument)
    await asyncio.sleep(0)
    return ACTS[name](argument)


# -- the ways to name a handler --


class Shop:
    """With state, so that the worker's copy can be told from another."""

    def __init__(self, name: str) -> None:
        self.name = name

    def serve(self, payload: Payload[Any], ctx: Context) -> Any:
        return [self.name, payload.value]

    async def serve_async(self, payload: Payload[Any], ctx: Context) -> Any:
        await asyncio.sleep(0)
        return [self.name, payload.value]

    def __call__(self, payload: Payload[Any], ctx: Context) -> Any:
        return self.serve(payload, ctx)


class AsyncShop(Shop):
    async def __call__(self, payload: Payload[Any], ctx: Context) -> Any:  # type: ignore[override]
        return await self.serve_async(payload, ctx)


corner_shop = Shop("corner")


def serve(name: str, payload: Payload[Any], ctx: Context) -> Any:
    return [name, payload.value]


async def serve_async(name: str, payload: Payload[Any], ctx: Context) -> Any:
    await asyncio.sleep(0)
    return [name, payload.value]


def wrapped(handler: Any) -> Any:
    @functools.wraps(handler)
    def call(payload: Any, ctx: Any) -> Any:
        return handler(payload, ctx)

    return call


@wrapped
def decorated(payload: Payload[Any], ctx: Context) -> Any:
    return ["decorated", payload.value]


# -- typed handlers: what they got, by type and content --


def describe(value: Any) -> list[str]:
    return [type(value).__name__, repr(value)]


def untyped(payload: Payload[Any], ctx: Context) -> Any:
    return describe(payload.value)


def take_order(payload: Payload[Order], ctx: Context) -> Receipt:
    return Receipt(payload.value.number * 2)


async def take_order_async(payload: Payload[Order], ctx: Context) -> Receipt:
    return Receipt(payload.value.number * 2)


def takes_bytes(payload: Payload[bytes], ctx: Context) -> bytes:
    return payload.value


def gives_receipt(payload: Payload[Any], ctx: Context) -> Receipt:
    return payload.value  # type: ignore[no-any-return]


def gives_union(payload: Payload[Any], ctx: Context) -> Order | Receipt:
    return Receipt(1)


def delivery_of(payload: Payload[Any], ctx: Context) -> Any:
    return [payload.delivery.name, payload.keys, payload.topics, payload.priority]


# -- lifecycles --


def note(ctx: Context, word: str) -> None:
    with Path(ctx.log).open("a") as file:
        file.write(f"{word} {os.getpid()}\n")


@contextlib.asynccontextmanager
async def in_one_task(ctx: Context) -> AsyncIterator[None]:
    """Fails when it is left by another task than entered it, as any task group does."""
    note(ctx, "entered")
    task, ctx.loop = asyncio.current_task(), asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group, asyncio.timeout(3600):
        ctx.beats = 0
        ctx.opened = True

        async def beat() -> None:
            while True:
                await asyncio.sleep(0)
                ctx.beats += 1

        heart = group.create_task(beat())
        try:
            yield
        finally:
            heart.cancel()
    ctx.opened = False
    note(ctx, "left" if asyncio.current_task() is task else "left by another task")


@contextlib.contextmanager
def plain_lifecycle(ctx: Context) -> Iterator[None]:
    note(ctx, "entered")
    ctx.opened = True
    ctx.loop = None
    try:
        yield
    finally:
        note(ctx, "left")


@contextlib.asynccontextmanager
async def fails_to_open(ctx: Context) -> AsyncIterator[None]:
    raise ConnectionRefusedError("no database there")
    yield


@contextlib.contextmanager
def fails_to_close(ctx: Context) -> Iterator[None]:
    yield
    raise ConnectionResetError("the database is gone")


@contextlib.asynccontextmanager
async def falls_apart(ctx: Context) -> AsyncIterator[None]:
    """A task within it fails when the handler says so."""
    note(ctx, "entered")
    ctx.fall = asyncio.Event()

    async def wait() -> None:
        await ctx.fall.wait()
        raise ConnectionAbortedError("the heartbeat stopped")

    try:
        async with asyncio.TaskGroup() as group:
            waiter = group.create_task(wait())
            yield
            waiter.cancel()
    finally:
        note(ctx, "left")


async def no_manager(ctx: Context) -> AsyncIterator[None]:
    yield


def use_context(payload: Payload[Any], ctx: Context) -> Any:
    ctx.seen = getattr(ctx, "seen", 0) + 1 if "seen" in ctx else 1
    return [os.getpid(), ctx.opened, ctx.seen]


async def use_context_async(payload: Payload[Any], ctx: Context) -> Any:
    await asyncio.sleep(0)
    if ctx.loop is not None and ctx.loop is not asyncio.get_running_loop():
        raise RuntimeError("the lifecycle was entered in another event loop")
    return use_context(payload, ctx)


async def fall(payload: Payload[Any], ctx: Context) -> Any:
    if payload.value == "fall":
        ctx.fall.set()
        for _ in range(10):
            await asyncio.sleep(0)
    return payload.value


async def leaves_a_task(payload: Payload[Any], ctx: Context) -> Any:
    ctx.task = asyncio.create_task(asyncio.sleep(3600))
    return payload.value


async def stops_its_loop(payload: Payload[Any], ctx: Context) -> Any:
    if payload.value == "stop":
        asyncio.get_running_loop().stop()
        await asyncio.sleep(3600)
    return payload.value
