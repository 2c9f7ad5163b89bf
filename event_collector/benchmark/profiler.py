"""The profiler: how long a handler takes by itself, how much of that it computes, and for how long it blocks."""

from collections.abc import Awaitable, Callable, Generator, Iterator
from statistics import median
from time import perf_counter, thread_time
from typing import Any, Generic, NamedTuple, TypeVar

from event_collector.benchmark.figures import Profile
from event_collector.handlers.collector import Processor
from event_collector.values.context import Context
from event_collector.values.payload import Payload

try:
    from resource import RUSAGE_THREAD, getrusage
except ImportError:  # Linux has both; macOS lacks the first, Windows the module
    _getrusage = None
else:
    _getrusage = getrusage

__all__ = ["Profiler"]

T = TypeVar("T")


class _Times(NamedTuple):
    wall: float
    cpu: float
    block: float


class Profiler:
    """A handler that runs another one and takes its times; for one event at a time.

    Args:
        processor: a handler whose outcome can be awaited.

    """

    def __init__(self, processor: Processor) -> None:
        self._processor = processor
        self._times: list[_Times] = []

    async def __call__(self, payload: Payload[Any], ctx: Context) -> Any:
        """Run it."""
        steps = _Steps(lambda: self._processor(payload, ctx))
        begun = perf_counter()
        try:
            return await steps
        finally:
            wall = perf_counter() - begun - steps.disturbed
            self._times.append(_Times(max(wall, steps.cpu), steps.cpu, steps.block))

    async def profile(self) -> Profile | None:
        """Return what was found, less what taking the times costs; None before the first event has ended."""
        if not self._times:
            return None
        warm = self._times[1:] or self._times
        empty = Profiler(_nothing)
        for _ in range(100):
            await empty(Payload(None), Context())
        own = _Times(*(median(values) for values in zip(*empty._times, strict=True)))
        wall, cpu, block = (
            max(0.0, median(values) - less) for values, less in zip(zip(*warm, strict=True), own, strict=True)
        )
        worst = max(0.0, max(times.block for times in warm) - own.block)
        return Profile(len(warm), max(wall, cpu), cpu, block, worst)


async def _nothing(_payload: Payload[Any], _ctx: Context) -> None:
    return None


class _Steps(Generic[T]):
    """Awaits what a call returns, and takes the time of each step between two waits.

    A step that takes longer than its CPU time, and never gave up the CPU by itself, was interrupted: by other programs,
    or by the host of a virtual machine. That time is not the handler's.
    """

    def __init__(self, call: Callable[[], Awaitable[T]]) -> None:
        self._call = call
        self.cpu = 0.0
        self.block = 0.0
        self.disturbed = 0.0

    def __await__(self) -> Generator[Any, Any, T]:
        begun = _instant()
        iterator: Any = None
        send: Callable[[Any], Any] = self._begin
        value: Any = None
        while True:
            try:
                waiting = send(value)
            except StopIteration as end:
                result: T = end.value
                return result
            finally:
                self._note(begun)
            if iterator is None:
                iterator = self._iterator
            try:
                value, send = (yield waiting), iterator.send
            except BaseException as exc:
                value, send = exc, iterator.throw
            begun = _instant()

    def _begin(self, _value: None) -> Any:
        self._iterator: Iterator[Any] = self._call().__await__()
        return next(self._iterator)

    def _note(self, begun: "_Instant") -> None:
        now = _instant()
        wall, cpu = now.wall - begun.wall, now.cpu - begun.cpu
        if now.waits == begun.waits:
            self.disturbed += max(0.0, wall - cpu)
            wall = min(wall, cpu)
        self.cpu += cpu
        self.block = max(self.block, wall)


class _Instant(NamedTuple):
    wall: float
    cpu: float
    waits: float
    """How often this thread has given up the CPU by itself; never the same twice where nobody counts that."""


def _instant() -> _Instant:
    wall = perf_counter()
    waits = _getrusage(RUSAGE_THREAD).ru_nvcsw if _getrusage is not None else wall
    return _Instant(wall, thread_time(), waits)
