"""Handlers in threads: the threads of the queue, and calls in the threads of any executor."""

import asyncio
import threading
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from typing import Any

from event_collector.handlers.collector import Collector
from event_collector.handlers.running_event import RunningEvent, register_finder, running_event
from event_collector.handlers.signature import describe
from event_collector.remote.remote_exceptions import presentable
from event_collector.values.clock import clock
from event_collector.values.errors import ConfigError
from event_collector.values.payload import Payload


class ThreadTier:
    """Runs plain handlers in up to `threads` threads. Each is started when it is first needed."""

    def __init__(self, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="event handler")
        self._free = asyncio.Semaphore(threads)
        self._running: set[Future[Any]] = set()

    async def run(self, collector: Collector, payload: Payload[Any]) -> Any:
        """Run the handler in a thread and return its outcome.

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

    def close(self) -> None:
        """End the threads. A thread whose handler continues after its timeout ends with the handler."""
        idle = all(future.done() for future in self._running)
        self._executor.shutdown(wait=idle, cancel_futures=True)

    def __repr__(self) -> str:
        return f"<ThreadTier {len(self._running)} threads busy>"

    def _ended(self, future: "Future[Any]") -> None:
        self._running.discard(future)
        self._free.release()


class _ThreadEvent(threading.local):
    event: RunningEvent | None = None
    """The event whose handler runs in this thread."""


_thread = _ThreadEvent()
register_finder(lambda: _thread.event)


def call_in_thread(executor: Executor, collector: Collector, payload: Payload[Any]) -> "Future[Any]":
    """Run the handler in a thread of the executor. The future has no exception that would end this program."""
    call = executor.submit(copy_context().run, _call_plain, collector, payload, running_event())
    clock.source.watch(call)
    return call


def _call_plain(collector: Collector, payload: Payload[Any], event: RunningEvent | None) -> Any:
    _thread.event = event
    try:
        outcome = collector.processor(payload, collector.ctx)
    except BaseException as exc:
        shown = presentable(exc)
        if shown is exc:
            raise
        raise shown from exc
    finally:
        _thread.event = None
    if hasattr(outcome, "__await__"):
        if hasattr(outcome, "close"):
            outcome.close()  # avoids the warning of a coroutine that was never awaited
        raise no_coroutine(collector)
    return outcome


def no_coroutine(collector: Collector) -> ConfigError:
    """Return the error of a collector in threads whose handler needs an event loop."""
    return ConfigError(
        f"collector {collector.key!r}: {describe(collector.handler)} returns something to await, which a thread "
        f"cannot do: use mode='coroutine', mode='process', or an executor of processes"
    )
