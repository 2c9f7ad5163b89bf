"""Samples of what a handler's steps take: CPU time, time for which the loop is held, and how many there are.

A *step* is what a coroutine runs from one wait to the next. To measure each of every event would cost more than
many handlers do. So a sampler stands in for the handler of its collector for the few events that are due, and
steps aside again: events in between, and queues that ask for no samples, pay nothing.
"""

import functools
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from time import monotonic, thread_time
from typing import Any, Final, NamedTuple

from event_collector.handlers.collector import Collector, Processor

__all__ = ["Sample", "StepSampler"]

KEPT: Final = 256
"""Samples kept until they are taken; more would be of no use."""


class Sample(NamedTuple):
    """One event: seconds on a CPU, seconds in its steps, and the number of these."""

    cpu: float
    held: float
    steps: float


class StepSampler:
    """Samples the events of one collector, on the event loop or in threads.

    Args:
        collector: whose `processor` it stands in for while samples are due.
        examine: called with the payload and the outcome of each sampled event that returns, there where it ran.

    """

    def __init__(self, collector: Collector, examine: Callable[[Any, Any], None] | None = None) -> None:
        self._collector = collector
        processor = collector.processor  # the stand-in of another queue's sampler, if that is at it right now
        self._handler: Processor = getattr(processor, "sampled_handler", processor)
        self._stand_in = self._make_stand_in(self._handler)
        self._examine = examine
        self._due = 0
        # Appended to by whichever thread runs the handler, emptied by the loop's: both are atomic.
        self._samples: deque[Sample] = deque(maxlen=KEPT)

    def arm(self, events: int) -> None:
        """Sample the next so many events; a handler that somebody has exchanged is left alone."""
        if self._collector.processor is self._handler:
            self._collector.processor = self._stand_in
        self._due = events

    def disarm(self) -> None:
        """Step aside."""
        if self._collector.processor is self._stand_in:
            self._collector.processor = self._handler

    def take(self) -> list[Sample]:
        """Return the samples that have come in, and forget them."""
        return [self._samples.popleft() for _ in range(len(self._samples))]

    def _make_stand_in(self, handler: Processor) -> Processor:
        def stand_in(payload: Any, ctx: Any) -> Any:
            self._due -= 1
            if self._due <= 0:
                self.disarm()
            began, cpu = monotonic(), thread_time()
            outcome = handler(payload, ctx)
            if hasattr(outcome, "__await__"):
                return _Sampled(outcome, functools.partial(self._ended, payload))
            self._ended(payload, Sample(thread_time() - cpu, monotonic() - began, 1), outcome)
            return outcome

        functools.update_wrapper(stand_in, handler, updated=())
        stand_in.sampled_handler = handler  # type: ignore[attr-defined]
        return stand_in

    def _ended(self, payload: Any, sample: Sample, outcome: Any) -> None:
        self._samples.append(sample)
        if self._examine is not None:
            self._examine(payload, outcome)


class _Sampled:
    """Awaits what a handler gave, and measures each step of it."""

    __slots__ = ("_awaitable", "_cpu", "_ended", "_held", "_steps")

    def __init__(self, awaitable: Awaitable[Any], ended: Callable[[Sample, Any], None]) -> None:
        self._awaitable = awaitable
        self._ended = ended
        self._cpu = self._held = 0.0
        self._steps = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        coroutine = _coroutine(self._awaitable)
        try:
            waits_for = self._step(coroutine.send, None)
            while True:
                try:
                    sent = yield waits_for
                except GeneratorExit:
                    coroutine.close()
                    raise
                except BaseException as exc:
                    waits_for = self._step(coroutine.throw, exc)
                else:
                    waits_for = self._step(coroutine.send, sent)
        except StopIteration as stop:
            self._ended(Sample(self._cpu, self._held, self._steps), stop.value)
            return stop.value

    def close(self) -> None:
        """End it without having awaited it, as a thread does, which cannot."""
        if hasattr(self._awaitable, "close"):
            self._awaitable.close()  # else a coroutine would complain

    def _step(self, proceed: Callable[[Any], Any], value: Any) -> Any:
        began, cpu = monotonic(), thread_time()
        try:
            return proceed(value)
        finally:
            del value  # an exception whose traceback holds this frame: it would form a cycle
            self._cpu += thread_time() - cpu
            self._held += monotonic() - began
            self._steps += 1


def _coroutine(awaitable: Awaitable[Any]) -> Coroutine[Any, Any, Any]:
    if isinstance(awaitable, Coroutine):
        return awaitable

    async def wait() -> Any:
        return await awaitable

    return wait()
