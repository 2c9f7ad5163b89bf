"""A queue for programs without an event loop: scripts, notebooks, code that others call."""

import builtins
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack, overload

from event_collector.calls.crossing import Crossing
from event_collector.calls.other_threads import ThreadCalls, is_loop_here
from event_collector.calls.stream import AHEAD
from event_collector.life.loop_thread import LoopThread
from event_collector.life.settings import CONSUMER_SHUTDOWN_TIMEOUT
from event_collector.queue import CollectorQueue
from event_collector.values.errors import ConfigError
from event_collector.values.refusals import QueueShutDown
from event_collector.values.results import Keyed, Result, T

if TYPE_CHECKING:
    from concurrent.futures import Future

    from event_collector.calls.caller import CallOptions, StreamOptions
    from event_collector.calls.pipeline import Pipeline
    from event_collector.calls.targets import Target
    from event_collector.handlers.collector import CollectorList
    from event_collector.watching.metrics import Accounting, Metrics

__all__ = ["Queue", "SyncPipeline"]

_Item = TypeVar("_Item")


class Queue:
    """A CollectorQueue in a thread of its own: `with Queue([square]) as queue: print(queue.call(square, 7))`.

    The queue runs from `with` to the end of its block. Any thread may call its methods, except one that runs an event
    loop: a call would hold up that loop, and CollectorQueue does the same with `await`. The cells of a notebook may,
    since they wait for each other anyway.

    The end of the block finishes what was submitted within `consumer_shutdown_timeout`, cancels the rest, and ends
    workers and lifecycles. Streams that are not at their end are withdrawn. Ctrl-C cancels the events of `call()` and
    `submit()`, and withdraws the streams. Handlers of streams that have begun are finished, or cancelled by a second
    Ctrl-C. KeyboardInterrupt leaves the block when all has ended.

    Args:
        collectors: as for CollectorQueue.
        options: the other options of CollectorQueue.

    Raises:
        ConfigError: as for CollectorQueue; in `with`: an event loop runs in this thread, or the queue runs already.
        Exception: in `with`, what `CollectorQueue.init_queue()` raises; at the end of the block, what
            `CollectorQueue.shut_down_queue()` raises.
    """

    def __init__(self, collectors: "CollectorList", **options: Any) -> None:
        self._queue = CollectorQueue(collectors, **options)
        self._patience = options.get("consumer_shutdown_timeout", CONSUMER_SHUTDOWN_TIMEOUT)
        self._thread: LoopThread | None = None
        # All threads add to this set and remove from it, each in one step of the interpreter.
        self._crossings: set[Crossing] = set()

    def __enter__(self) -> "Queue":
        _check_no_loop()
        if self._thread is not None:
            raise ConfigError("the queue runs already: its block is entered once")
        thread = LoopThread()
        try:
            _run(thread, self._queue.init_queue)
        except BaseException:
            thread.close()
            raise
        self._thread = thread
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        thread, self._thread = self._running(), None
        interruption: KeyboardInterrupt | None = None
        try:
            interruption = self._end(thread, is_interrupted=isinstance(exc, KeyboardInterrupt))
        finally:
            thread.close()
            for crossing in tuple(self._crossings):
                crossing.abandon()
        if interruption is not None:
            raise interruption

    def _end(self, thread: LoopThread, *, is_interrupted: bool) -> KeyboardInterrupt | None:
        """Shut the queue down. Return the last interruption that has hurried it."""
        interruption = None
        while True:
            try:
                for crossing in tuple(self._crossings):
                    crossing.close()
                bound = 0 if is_interrupted else self._patience if self._patience > 0 else None
                _run(thread, partial(self._shut_down, bound))
            except KeyboardInterrupt as exc:  # it has cancelled the shutdown, which hurries it
                interruption, is_interrupted = exc, True
            else:
                return interruption

    async def _shut_down(self, bound: float | None) -> None:
        # An event that waits for room is not accepted yet, and the shutdown would refuse it.
        await self._queue.thread_calls.finish(bound)
        await self._queue.shut_down_queue()

    if TYPE_CHECKING:

        @overload
        def call(self, target: Keyed[T], value: Any, **options: Unpack[CallOptions]) -> T: ...
        @overload
        def call(self, target: Target, value: Any, **options: Unpack[CallOptions]) -> Any: ...

    def call(self, target: Any, value: Any, **options: "Unpack[CallOptions]") -> Any:
        """Send a value to one collector, wait, and return what its handler returns, as `CollectorQueue.call()` does.

        The arguments, options and errors are those of `CollectorQueue.call()`.

        Raises:
            ConfigError: as for `CollectorQueue.call()`, or an event loop runs in this thread.
            QueueShutDown: as for `CollectorQueue.call()`, or the queue does not run.
        """
        _check_no_loop()
        self._running()
        return self._queue.call_threadsafe(target, value, **options)

    if TYPE_CHECKING:

        @overload
        def submit(self, target: Keyed[T], value: Any, **options: Unpack[CallOptions]) -> Future[T]: ...
        @overload
        def submit(self, target: Target, value: Any, **options: Unpack[CallOptions]) -> Future[Any]: ...

    def submit(self, target: Any, value: Any, **options: "Unpack[CallOptions]") -> "Future[Any]":
        """Send a value to one collector, and return a `concurrent.futures.Future` of what `call()` returns or raises.

        Cancelling the future cancels the event. The arguments, options and errors are those of `call()`.
        """
        self._running()
        return self._queue.submit_threadsafe(target, value, **options)

    if TYPE_CHECKING:

        @overload
        def stream(
            self, target: Keyed[T], values: Iterable[Any], **options: Unpack[StreamOptions]
        ) -> Iterator[Result[T]]: ...
        @overload
        def stream(
            self, target: Target, values: Iterable[Any], **options: Unpack[StreamOptions]
        ) -> Iterator[Result[Any]]: ...

    def stream(
        self, target: Any, values: Iterable[Any], *, ahead: int = AHEAD, **options: Any
    ) -> Iterator[Result[Any]]:
        """Send many values to one collector and yield a Result for each, as `CollectorQueue.stream()` does.

        Values are taken in the thread that reads the results, while it waits for the next one. A source that blocks
        holds up the results. Leaving the loop withdraws the values that no handler has begun.

        Args:
            target: the Collector, its function, or its key.
            values: an iterable.
            ahead: the number of values that are taken and whose results are not yielded yet, at most. At least 1.
            options: `ordered` and `priority`, as for `CollectorQueue.stream()`.

        Raises:
            ConfigError: as for `CollectorQueue.stream()`, or `values` is no iterable; while iterating: an event loop
                runs in this thread.
            QueueShutDown: the queue does not run; while iterating, as for `CollectorQueue.stream()`.
        """
        return self._cross(lambda intake: self._queue.stream(target, intake, ahead=ahead, **options), values, ahead)

    if TYPE_CHECKING:

        @overload
        def map(self, target: Keyed[T], values: Iterable[Any], **options: Unpack[StreamOptions]) -> Iterator[T]: ...
        @overload
        def map(self, target: Target, values: Iterable[Any], **options: Unpack[StreamOptions]) -> Iterator[Any]: ...

    def map(self, target: Any, values: Iterable[Any], *, ahead: int = AHEAD, **options: Any) -> Iterator[Any]:
        """Yield the values of the results of `stream()`, and raise the first error, which ends the stream.

        The arguments and errors are those of `stream()`.
        """
        return self._cross(lambda intake: self._queue.map(target, intake, ahead=ahead, **options), values, ahead)

    if TYPE_CHECKING:

        @overload
        def pipeline(self, last: Keyed[T], /, **options: Unpack[StreamOptions]) -> "SyncPipeline[T]": ...
        @overload
        def pipeline(self, first: Target, last: Keyed[T], /, **options: Unpack[StreamOptions]) -> "SyncPipeline[T]": ...
        @overload
        def pipeline(
            self, first: Target, second: Target, last: Keyed[T], /, **options: Unpack[StreamOptions]
        ) -> "SyncPipeline[T]": ...
        @overload
        def pipeline(self, *stages: Target, **options: Unpack[StreamOptions]) -> "SyncPipeline[Any]": ...

    def pipeline(self, *stages: Any, **options: "Unpack[StreamOptions]") -> "SyncPipeline[Any]":
        """Return a pipeline: `for result in queue.pipeline(download, take_apart, keep).stream(urls)`.

        The arguments and errors are those of `CollectorQueue.pipeline()`.
        """
        return SyncPipeline(self._cross, self._queue.pipeline(*stages, **options))

    def accounting(self) -> "Accounting":
        """Return the numbers of events: accepted = finished + in_handlers + queued + scheduled + dead."""
        return self._look(self._queue.accounting)

    def get_metrics(self) -> "Metrics":
        """Return the current metrics; after the end, the last ones."""
        return self._look(self._queue.get_metrics)

    def __repr__(self) -> str:
        return f"<Queue of {self._look(self._queue.__repr__)}>"

    def _look(self, read: Callable[[], _Item]) -> _Item:
        """Read figures in the thread that changes them."""
        thread = self._thread
        if thread is None or is_loop_here(thread.loop):
            return read()

        async def look() -> _Item:
            return read()

        return _run(thread, look)

    def _running(self) -> LoopThread:
        if self._thread is None:
            raise QueueShutDown("the queue does not run: use it within the block of `with Queue(...) as queue:`")
        return self._thread

    def _cross(
        self, stream: Callable[[Any], AsyncGenerator[_Item, None]], values: Iterable[Any], ahead: int | None
    ) -> Iterator[_Item]:
        if not isinstance(values, Iterable):
            raise ConfigError(
                f"a stream outside of an event loop takes an iterable of values, not {type(values).__name__}"
            )
        return self._read(Crossing(self._running().loop, stream, values, ahead))

    def _read(self, crossing: Crossing) -> Iterator[Any]:
        _check_no_loop()
        self._crossings.add(crossing)
        try:
            yield from crossing.results()
        finally:
            if crossing.has_ended():  # else the end of the block closes it
                self._crossings.discard(crossing)


class SyncPipeline(Generic[T]):
    """A pipeline that a thread reads; made by `Queue.pipeline()`."""

    def __init__(
        self,
        cross: "Callable[[Callable[[Any], AsyncGenerator[Any, None]], Iterable[Any], int | None], Iterator[Any]]",
        pipeline: "Pipeline[T]",
    ) -> None:
        self._cross, self._pipeline = cross, pipeline
        self._ahead = None if pipeline.has_parts else pipeline.ahead

    def stream(self, values: Iterable[Any]) -> Iterator[Result[T]]:
        """Send many values through the stages and yield a Result for each, as `Pipeline.stream()` and `stream()` do."""
        return self._cross(self._pipeline.stream, values, self._ahead)

    def map(self, values: Iterable[Any]) -> Iterator[T]:
        """Yield the values of the results of `stream()`, and raise the first error, which ends the stream."""
        return self._cross(self._pipeline.map, values, self._ahead)

    def __repr__(self) -> str:
        return f"<SyncPipeline of {self._pipeline}>"


def _run(thread: LoopThread, act: Callable[[], Coroutine[Any, Any, _Item]]) -> _Item:
    """Wait for a coroutine of the event loop. An interruption cancels it."""
    return ThreadCalls(lambda: thread.loop, instead="CollectorQueue").run(act)


def _check_no_loop() -> None:
    """Raise ConfigError where an event loop runs in this thread, unless it is that of a notebook."""
    if is_loop_here() and not hasattr(builtins, "get_ipython"):  # IPython sets it while a cell runs
        raise ConfigError(
            "an event loop runs in this thread, and would stand still: use CollectorQueue there, with `await`"
        )
