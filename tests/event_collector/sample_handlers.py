"""Handlers for the tests of modes: at the top level of a module, where worker processes can import them."""

import asyncio
import ctypes
import functools
import itertools
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from event_collector import Context, Error, Ok, Payload
from tests.event_collector.sample_exceptions import DISGUISED, RAISED, ExitsWhenShown, Mute
from tests.event_collector.sample_types import Order, Receipt, Unknown

_calls = itertools.count(1)


def number_of_call(payload: Payload[float], ctx: Context) -> int:
    """Stay for as many seconds as the payload says; tell how many calls there have been in this process."""
    number = next(_calls)
    time.sleep(payload.value)
    return number


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


def hold(path: str) -> None:
    """Make the file, so that the test knows where the handler is, and stay until it is gone."""
    Path(path).touch()
    while Path(path).exists():
        time.sleep(0.005)


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
    "hold": hold,
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
    async def __call__(self, payload: Payload[Any], ctx: Context) -> Any:
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
