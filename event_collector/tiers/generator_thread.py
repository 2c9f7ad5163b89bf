"""A thread for one handler that yields: its generator stays in the thread in which it began."""

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Final

from event_collector.handlers.collector import Collector
from event_collector.handlers.parts import PartSink, as_part
from event_collector.handlers.running_event import running_event
from event_collector.tiers.thread_call import in_this_thread
from event_collector.values.clock import clock
from event_collector.values.payload import Payload

SUSPENDED: Final = object()
"""The outcome of a step after which the generator has not ended."""


class GeneratorThread:
    """Runs the generator of one event in steps, and hands its parts to a sink, in the thread of the event loop.

    Args:
        collector: its handler makes the generator.
        payload: what the handler gets.
        sink: takes the parts.
    """

    def __init__(self, collector: Collector, payload: Payload[Any], sink: PartSink) -> None:
        self._collector, self._payload, self._sink = collector, payload, sink
        self._loop, self._variables, self._event = asyncio.get_running_loop(), copy_context(), running_event()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="event handler")
        self._generator: Generator[Any, Any, Any] | None = None  # set and used in the thread

    def go_on(self, credit: int) -> "Future[Any]":
        """Run up to so many parts more. The outcome is SUSPENDED, or what the generator returns."""
        return self._submit(lambda: self._produce(credit))

    def close(self) -> "Future[Any]":
        """Close the generator at its `yield`."""
        return self._submit(self._close)

    def end(self) -> None:
        """End the thread, after the step that it is in. A generator that has not ended is closed."""
        self._executor.submit(self._variables.run, self._run, self._close)
        self._executor.shutdown(wait=False)

    def _submit(self, step: Callable[[], Any]) -> "Future[Any]":
        call = self._executor.submit(self._variables.run, self._run, step)
        clock.source.watch(call)
        return call

    def _run(self, step: Callable[[], Any]) -> Any:
        return in_this_thread(self._event, step)

    def _produce(self, credit: int) -> Any:
        if self._generator is None:
            self._generator = self._collector.processor(self._payload, self._collector.ctx)
        for _ in range(credit):
            try:
                part = next(self._generator)
            except StopIteration as stop:
                return stop.value
            self._loop.call_soon_threadsafe(self._sink.add, as_part(part))
            if self._sink.is_left:  # only read here: a step more or less does no harm
                break
        return SUSPENDED

    def _close(self) -> None:
        if self._generator is not None:
            self._generator.close()
