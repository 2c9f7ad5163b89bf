"""The handler that all contestants run. It imports little: workers load this module."""

from __future__ import annotations

import time
from typing import Any

import msgspec

VALUE = {"id": 1234, "name": "event", "tags": ["a", "b"], "amount": 12.5}

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder().decode


def work(seconds: float, value: Any) -> Any:
    """The handler: pure Python for `seconds`, then the value itself."""
    if seconds:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            pass
    return value


def burn(seconds: float, count: int, results: Any) -> None:
    """Run the handler `count` times with nothing beside it; put the seconds that took."""
    begun = time.perf_counter()
    for _ in range(count):
        work(seconds, VALUE)
    results.put(time.perf_counter() - begun)


class WorkTask:
    """The handler behind the pool's interface: msgpack in, msgpack out, or a blob."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def run(self, body: bytes | memoryview, blob: bytes | None) -> tuple[bytes, bytes | None]:
        if blob is not None:
            return b"", blob
        return encode(work(self._seconds, decode(body))), None

    def close(self) -> None:
        pass


def open_work(argument: bytes) -> WorkTask:
    return WorkTask(float(argument))
