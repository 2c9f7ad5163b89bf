"""The cost of one event: times of its handler by itself, and the transfer of its values."""

import os
from collections.abc import Awaitable, Callable, Generator, Sequence
from statistics import median
from time import perf_counter, thread_time
from typing import Any, NamedTuple

from event_collector.benchmark.gauge import NANOSECONDS
from event_collector.benchmark.trial_figures import HandlerProfile, TransferCost
from event_collector.encoding.codec_options import coding_of
from event_collector.handlers.collector import Collector, Processor
from event_collector.remote.codec import PayloadDecoder, ReplyDecoder, encode_payload, encode_result
from event_collector.remote.fidelity import Fidelity
from event_collector.values.context import Context
from event_collector.values.payload import Payload
from event_collector.values.results import Error, Result

try:
    from resource import RUSAGE_THREAD, getrusage
except ImportError:  # Linux has both; macOS lacks the first, Windows the module
    _getrusage = None
else:
    _getrusage = getrusage


class _Times(NamedTuple):
    wall: float
    cpu: float
    block: float


class Profiler:
    """A handler that runs another, asynchronous one and measures it; for one event at a time."""

    def __init__(self, processor: Processor) -> None:
        self._processor = processor
        self._times: list[_Times] = []
        self._queue = _RunQueue()

    async def __call__(self, payload: Payload[Any], ctx: Context) -> Any:
        """Run the handler."""
        steps = _Steps(lambda: self._processor(payload, ctx), self._queue)
        begun = perf_counter()
        try:
            return await steps
        finally:
            wall = perf_counter() - begun - steps.preempted
            self._times.append(_Times(max(wall, steps.cpu), steps.cpu, steps.block))

    async def profile(self) -> HandlerProfile | None:
        """Return the profile, without the overhead of measuring; None if no event has ended."""
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
        return HandlerProfile(len(warm), max(wall, cpu), cpu, block, worst)


async def _nothing(_payload: Payload[Any], _ctx: Context) -> None:
    return None


class _Steps:
    """Awaits the result of a call, and measures each step between two waits.

    The time for which the thread waited for a CPU is not counted as the handler's. A step that takes longer than its
    CPU time without a voluntary context switch was preempted too, perhaps by the host of a virtual machine.
    """

    def __init__(self, call: Callable[[], Awaitable[Any]], queue: "_RunQueue") -> None:
        self._call, self._queue = call, queue
        self.cpu = 0.0
        self.block = 0.0
        self.preempted = 0.0

    def __await__(self) -> Generator[Any, Any, Any]:
        begun = self._queue.instant()
        iterator: Any = self._call().__await__()
        send, value = iterator.send, None
        while True:
            try:
                waiting = send(value)
            except StopIteration as end:
                return end.value
            finally:
                self._note(begun)
            try:
                value, send = (yield waiting), iterator.send
            except BaseException as exc:
                value, send = exc, iterator.throw
            begun = self._queue.instant()

    def _note(self, begun: "_Instant") -> None:
        now = self._queue.instant()
        wall, cpu = now.wall - begun.wall, now.cpu - begun.cpu
        idle = max(0.0, wall - cpu)
        preempted = idle if now.waits == begun.waits else min(idle, now.queued - begun.queued)
        self.preempted += preempted
        wall -= preempted
        self.cpu += cpu
        self.block = max(self.block, wall)


class _Instant(NamedTuple):
    wall: float
    cpu: float
    waits: float  # voluntary context switches of this thread; a number that always changes if these are not counted
    queued: float  # seconds for which this thread waited for a CPU; 0 if they are not counted


class _RunQueue:
    """Reads how long the thread that made it has waited for a CPU, by Linux's schedstat."""

    def __init__(self) -> None:
        try:
            self._fd = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        except OSError:
            self._fd = -1

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def instant(self) -> _Instant:
        wall = perf_counter()
        waits = _getrusage(RUSAGE_THREAD).ru_nvcsw if _getrusage is not None else wall
        queued = int(os.pread(self._fd, 100, 0).split()[1]) / NANOSECONDS if self._fd >= 0 else 0.0
        return _Instant(wall, thread_time(), waits, queued)


def measure_transfer(collector: Collector, pairs: Sequence[tuple[Any, Result[Any]]]) -> TransferCost | None:
    """Return the median cost over values and their results; None if no result is a success."""
    coding = coding_of(collector.codec)
    decode_payload = PayloadDecoder(collector.payload_type, collector.key, coding)
    decode_reply = ReplyDecoder(collector.result_type, collector.key, coding)
    seconds, sizes = [], []
    for value, result in pairs:
        if isinstance(result, Error):
            continue
        begun = perf_counter()
        request = encode_payload(Payload(value), collector.key, fidelity=Fidelity(collector.payload_type, coding))
        decode_payload(*request)
        reply = encode_result(result.value, collector.key, fidelity=Fidelity(collector.result_type, coding))
        decode_reply(*reply)
        seconds.append(perf_counter() - begun)
        sizes.append(sum(len(part) for part in (*request, *reply) if part is not None))
    return TransferCost(median(seconds), round(median(sizes))) if seconds else None
