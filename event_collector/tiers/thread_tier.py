"""Handlers in the threads of the queue."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from event_collector.handlers.collector import Collector
from event_collector.handlers.parts import TimeLeft, open_sink, wait_for_room
from event_collector.handlers.stack_frames import hide_modules
from event_collector.tiers.generator_thread import SUSPENDED, GeneratorThread
from event_collector.tiers.thread_call import call_in_thread
from event_collector.values.payload import Payload


class ThreadTier:
    """Runs plain handlers in up to `threads` threads. Each is started when it is first needed."""

    def __init__(self, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="event handler")
        self._free = asyncio.Semaphore(threads)
        self._running: set[Future[Any]] = set()

    async def run(self, collector: Collector, payload: Any) -> Any:
        """Run the handler in a thread and return its outcome; a batch handler with a list of payloads.

        A thread cannot be stopped. After a timeout or a cancellation the handler continues in a thread that counts as
        busy, and its outcome is dropped.

        Raises:
            HandlerTimeout: the handler exceeded the collector's timeout or heartbeat.
        """
        await self._free.acquire()
        try:
            pulse = collector.begin_pulse()  # first: the thread has a copy of this context
            future = call_in_thread(self._executor, collector, payload)
        except BaseException:
            self._free.release()
            raise
        self._running.add(future)
        loop = asyncio.get_running_loop()

        def notify(future: Future[Any]) -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._ended, future)

        future.add_done_callback(notify)
        return await collector.within_limits(asyncio.wrap_future(future), pulse)

    async def run_parts(self, collector: Collector, payload: Payload[Any]) -> Any:
        """Run a handler that yields, in a thread of its own, and return what its generator returns.

        The thread counts among the `threads` only while it does something: others may run while it is suspended. It is
        closed at its `yield` if the reader leaves. After a timeout or a cancellation it continues up to its `yield`.

        Raises:
            HandlerTimeout: the handler exceeded the collector's timeout.
        """
        sink, time_left = open_sink(collector.key), TimeLeft(collector.timeout, collector.timeout_error)
        thread = GeneratorThread(collector, payload, sink)
        try:
            while not sink.is_left:
                step = await self._in_turn(lambda: thread.go_on(sink.room))
                outcome = await time_left.step(asyncio.wrap_future(step))
                if outcome is not SUSPENDED:
                    return outcome
                await wait_for_room(sink)
            return await time_left.step(asyncio.wrap_future(await self._in_turn(thread.close)))
        finally:
            thread.end()

    async def _in_turn(self, begin: Callable[[], "Future[Any]"]) -> "Future[Any]":
        """Begin a step of a handler when no more than the other threads are busy."""
        await self._free.acquire()
        step = begin()
        self._running.add(step)
        loop = asyncio.get_running_loop()

        def notify(step: "Future[Any]") -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._ended, step)

        step.add_done_callback(notify)
        return step

    def close(self) -> None:
        """End the threads. A thread whose handler continues after its timeout ends with the handler."""
        idle = all(future.done() for future in self._running)
        self._executor.shutdown(wait=idle, cancel_futures=True)

    def __repr__(self) -> str:
        return f"<ThreadTier {len(self._running)} threads busy>"

    def _ended(self, future: "Future[Any]") -> None:
        self._running.discard(future)
        self._free.release()


hide_modules(__name__)
