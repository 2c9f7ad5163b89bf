"""Seconds per event without the metrics, or without the clock either: what both cost is the difference."""

import contextlib
from collections.abc import Iterator
from itertools import repeat
from typing import Any
from unittest import mock

from .patterns import send_and_await
from .queues import running_queue, sizes

__all__ = ["metrics"]


def _finish(self: Any, event: Any, results: Any, now: float) -> None:
    """What Dispatcher.finish() does, but for the times it notes."""
    self.busy -= 1
    self._now = event.finished = now
    self.finished += 1
    event.set_result(results)
    if self._joiners:
        self._wake_joiners()


@contextlib.contextmanager
def _left_out(what: str) -> Iterator[None]:
    """Leave out "nothing", "times" (service and wait times are not noted), or "clock" (nor is the time read)."""
    with contextlib.ExitStack() as stack:
        if what != "nothing":
            stack.enter_context(mock.patch("event_collector.dispatcher.Dispatcher.finish", _finish))
        if what == "clock":
            still = repeat(1.0).__next__
            for module in ("dispatcher", "consumer", "publisher"):
                stack.enter_context(mock.patch(f"event_collector.{module}.monotonic", still))
        yield


async def metrics(name: str, events: int, left_out: str, autoscale: bool) -> dict[str, float]:
    """Measure one pattern of sending with something left out."""
    with _left_out(left_out):
        async with running_queue(**sizes(autoscale, 64)) as publisher:
            await send_and_await(name, publisher, max(1, events // 100))
            return await send_and_await(name, publisher, events)
