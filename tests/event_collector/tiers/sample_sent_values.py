"""Handlers that return the value that they get, for the tests of values that change after they were sent."""

from collections.abc import Iterator
from typing import Any

from event_collector import Payload
from tests.event_collector.sample_types import Order


def returned(payload: Payload[Any]) -> Any:
    return payload.value


def plain(value: Any) -> Any:
    return value


def ends(value: bytearray) -> list[int]:
    return [value[0], value[-1]]


def typed(order: Order) -> int:
    return order.number


def second_time(payload: Payload[Any], ctx: Any) -> Any:
    if payload.attempt == 1:
        raise ValueError(payload.value)
    return payload.value


def each(values: list[Any]) -> list[Any]:
    return values


def parts(value: Any) -> Iterator[Any]:
    yield value


async def here(value: Any) -> Any:
    return value
