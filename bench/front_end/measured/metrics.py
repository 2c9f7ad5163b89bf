"""Seconds per event without the metrics, or without the clock either: what both cost is the difference."""

import contextlib
from collections.abc import Iterator
from itertools import repeat
from typing import Any
from unittest import mock

from .patterns import send_and_await
from .queues import check, running_queue, sizes

__all__ = ["metrics"]


def _settle(self: Any, event: Any, results: Any, now: float) -> None:
    """What Dispatcher.settle() does for an event of a lone collector, but for the times it notes."""
    self.busy -= 1
    event.finished = now
    self.finished += 1
    if event._results is None and event._waiters is None:
        event._results = results
    else:
        event.set_result(results)
    if self._joiners:
        self._wake_joiners()


@contextlib.contextmanager
def _left_out(what: str) -> Iterator[None]:
    """Leave out "nothing", "times" (service and wait times are not noted), or "clock" (nor is that of the end read).

    The time at which an event begins is read in any case: a flood of events gives way to other tasks by it.
    """
    with contextlib.ExitStack() as stack:
        if what != "nothing":
            stack.enter_context(mock.patch("event_collector.dispatch.dispatcher.Dispatcher.settle", _settle))
        if what == "clock":
            stack.enter_context(
                mock.patch("event_collector.tiers.coroutines.consumer.monotonic", repeat(1.0).__next__)
            )
        yield


async def metrics(name: str, events: int, left_out: str, autoscale: bool) -> dict[str, float]:
    """Measure one pattern of sending with something left out."""
    with _left_out(left_out):
        async with running_queue(**sizes(autoscale, 64)) as publisher:
            await send_and_await(name, publisher, max(1, events // 100))
            took = await send_and_await(name, publisher, events)
            noted: Any = publisher._dispatcher._service_times
            check(len(noted) > 0, left_out == "nothing")  # else what was to be left out was not
    return took
