"""Samples of the steps of a handler: their number, their CPU time, and the time for which they hold the event loop.

A *step* is the code that a coroutine runs between two waits. Measuring all steps would cost more than many handlers do.
Therefore a stand-in replaces the collector's processor for the few events that are sampled. Other events, and queues
without sampling, pay nothing.
"""

import functools
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from time import monotonic, thread_time
from typing import Any, Final, NamedTuple

from event_collector.handlers.collector import Collector, Processor
from event_collector.handlers.stack_frames import hide_modules

KEPT: Final = 256
"""Maximum number of samples that are kept until `take()`."""


class Sample(NamedTuple):
    """One event: seconds on a CPU, seconds in its steps, and the number of these."""

    cpu: float
    held: float
    steps: float

    def plus(self, other: "Sample", times: float = 1.0) -> "Sample":
        """Return the sum of this sample and `times` times the other."""
        return Sample(*(mine + times * its for mine, its in zip(self, other, strict=True)))


NO_TIME: Final = Sample(0.0, 0.0, 0.0)


class StepSampler:
    """Samples the events of one collector, on the event loop or in threads.

    The processor of the collector is replaced while samples are due. `examine` is called with payload and outcome of
    each sampled event that returns, in the thread of the handler.
    """

    def __init__(self, collector: Collector, examine: Callable[[Any, Any], None] | None = None) -> None:
        self._collector = collector
        processor = collector.processor  # may be the stand-in of another queue's sampler
        self._handler: Processor = getattr(processor, "sampled_handler", processor)
        self._stand_in = self._make_stand_in(self._handler)
        self._examine = examine
        self._due = 0
        # The thread of the handler appends, the thread of the event loop removes; both operations are atomic.
        self._samples: deque[Sample] = deque(maxlen=KEPT)

    def arm(self, events: int) -> None:
        """Sample the next `events` events, unless the application has replaced the processor."""
        self._collector.replace_processor(self._handler, self._stand_in)
        self._due = events

    def disarm(self) -> None:
        """Stop sampling."""
        self._collector.replace_processor(self._stand_in, self._handler)

    def take(self) -> list[Sample]:
        """Return and remove the samples."""
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
    """Awaits the awaitable of a handler and measures each step."""

    __slots__ = ("_awaitable", "_cpu", "_ended", "_held", "_steps")

    def __init__(self, awaitable: Awaitable[Any], ended: Callable[[Sample, Any], None]) -> None:
        self._awaitable, self._ended = awaitable, ended
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
        """Close an awaitable that was never awaited, to avoid the warning of a coroutine."""
        if hasattr(self._awaitable, "close"):
            self._awaitable.close()

    def _step(self, proceed: Callable[[Any], Any], value: Any) -> Any:
        began, cpu = monotonic(), thread_time()
        try:
            return proceed(value)
        finally:
            del value  # breaks a reference cycle: an exception, its traceback, this frame
            self._cpu += thread_time() - cpu
            self._held += monotonic() - began
            self._steps += 1


def _coroutine(awaitable: Awaitable[Any]) -> Coroutine[Any, Any, Any]:
    if isinstance(awaitable, Coroutine):
        return awaitable

    async def wait() -> Any:
        return await awaitable

    return wait()


hide_modules(__name__)
