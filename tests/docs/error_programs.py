"""Handlers and lifecycles that bring about the errors of docs/errors.md."""

import functools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from event_collector import Context, Payload


class Order(msgspec.Struct):
    number: int


class Receipt(msgspec.Struct):
    total: int


class OddError(Exception):
    """Raised with an argument that cannot be encoded exactly."""


def handle(payload: Payload[Any], ctx: Context) -> Any:
    if payload.value == "wait":
        time.sleep(60)
    if payload.value == "exit":
        os._exit(3)
    if payload.value == "odd":
        raise OddError(Order(1))
    return payload.value


def bill(payload: Payload[Order], ctx: Context) -> Receipt:
    return 5  # type: ignore[return-value]  # that is the mistake


def ship(payload: Payload[Order], ctx: Context, carrier: str) -> None:
    """Takes one argument too many."""


def pack(order: Order, ctx: Context) -> None:
    """Would get a payload for an order."""


async def pack_here(order: Order) -> int:
    return order.number


def send(order, express=False):  # type: ignore[no-untyped-def]
    """Would get the context for an option."""


def pack_all(order: Order) -> list[None]:
    """Would get a list."""
    return [None]


def store_all(orders: list[Order]) -> None:
    """Has no result for each event."""


def bill_first(orders: list[int]) -> list[int]:
    """Forgets all orders but the first."""
    return orders[:1]


def count(order: int) -> Iterator[int]:
    """Has many results."""
    yield from range(order)


def number(order: int) -> int:
    """Has one."""
    return order


@functools.cache
async def fetch(order: int) -> int:
    """Can be awaited once for each order."""
    return order


def receive(payload: Payload[Order]) -> None:
    """Would get the value for a payload."""


class Desk:
    def answer(self, payload: Payload[Any], ctx: Context) -> None:
        """Is nobody's."""


@contextmanager
def database(ctx: Context) -> Iterator[None]:
    raise ConnectionRefusedError("no database")
    yield


@contextmanager
def shop(ctx: Context) -> Iterator[None]:
    if os.path.exists(ctx.closed):
        raise ConnectionRefusedError("the shop is closed")
    yield


def rest(seconds: float) -> None:
    """Do nothing for so long."""
    time.sleep(seconds)
