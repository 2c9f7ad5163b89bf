"""Handlers for the tests of shared data and of large arrays."""

import os
import pickle
from collections.abc import Iterator
from typing import Any

from event_collector import Context, Payload

kept: list[Any] = []


class Model:
    """An object with a large buffer, which pickle takes out of band."""

    def __init__(self, weights: Any, name: str) -> None:
        self.weights, self.name = weights, name

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Model, (pickle.PickleBuffer(self.weights), self.name)


def about(payload: Payload[int], ctx: Context) -> list[Any]:
    """Return what the handler sees of its shared data, and where it runs."""
    with memoryview(ctx.model.weights) as weights, memoryview(ctx.raw) as raw:
        return [ctx.model.name, weights[payload.value], weights.readonly, bytes(raw[:3]), raw.readonly, os.getpid()]


def numbers(payload: Payload[int], ctx: Context) -> Iterator[int]:
    """Yield the first bytes of the shared data."""
    yield from ctx.raw[: payload.value]


def keep(array: Any) -> list[float]:
    """Keep a slice of each array; return the sums of all."""
    kept.append(array[::2])
    return [float(each.sum()) for each in kept]


def halves(array: Any) -> dict[str, Any]:
    """Return two views of the payload."""
    return {"low": array[: len(array) // 2], "high": array[len(array) // 2 :]}


def parts(array: Any) -> Iterator[Any]:
    """Yield quarters of the payload."""
    quarter = len(array) // 4
    for start in range(0, len(array), quarter):
        yield array[start : start + quarter]


def is_writable(array: Any) -> bool:
    """Return whether the handler may write to its payload."""
    return bool(array.flags.writeable)
