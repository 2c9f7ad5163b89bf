"""Handlers in threads: those of the queue, and how to call one in the threads of an executor."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Final

from event_collector.handlers.collector import Collector
from event_collector.handlers.running_event import RunningEvent, register_finder, running_event
from event_collector.handlers.signature import describe
from event_collector.remote.remote_exceptions import presentable
from event_collector.values.clock import clock
from event_collector.values.errors import ConfigError
from event_collector.values.payload import Payload

WAYS_OUT_OF_THREADS: Final = "use mode='coroutine', mode='process', or an executor of processes"


class ThreadTier:
    """Runs plain handlers in threads.

    Args:
        threads: how many may run at once; each is started when it is first needed.

    """

    def __init__(self, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="event handler")
        self._free = asyncio.Semaphore(threads)
        self._running: set[Future[Any]] = set()

    async def run(self, collector: Collector, payload: Payload[Any]) -> Any:
        """Run the handler in a thread and return its outcome.

        A thread cannot be stopped: after a timeout, or when this is cancelled, the handler runs on in a thread
        that counts as busy, and what it returns is dropped.

        Raises:
            HandlerTimeout: it took longer than the collector's timeout.

        """
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        try:
            future = call_in_thread(self._executor, collector, payload)
        except BaseException:
            self._free.release()
            raise
        self._running.add(future)
        future.add_done_callback(lambda _: _in_loop(loop, self._ended, future))
        return await collector.within_timeout(asyncio.wrap_future(future))

    def close(self) -> None:
        """End the threads. Those still in a handler, after its timeout or cancellation, end with it."""
        idle = all(future.done() for future in self._running)
        self._executor.shutdown(wait=idle, cancel_futures=True)

    def _ended(self, future: "Future[Any]") -> None:
        self._running.discard(future)
        self._free.release()


class _ThreadEvent(threading.local):
    """The event in the handler of a thread."""

    event: RunningEvent | None = None


_thread = _ThreadEvent()
register_finder(lambda: _thread.event)


def call_in_thread(executor: Executor, collector: Collector, payload: Payload[Any]) -> "Future[Any]":
    """Have a thread of the executor run the handler; nothing that would end this program comes out of it."""
    call = executor.submit(copy_context().run, _call_plain, collector, payload, running_event())
    clock.source.watch(call)
    return call


def _call_plain(collector: Collector, payload: Payload[Any], event: RunningEvent | None) -> Any:
    """Run a handler in a thread; let out only what a future, and the coroutine that awaits it, can take."""
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
            outcome.close()  # a coroutine that is not awaited complains
        raise no_coroutine(collector)
    return outcome


def no_coroutine(collector: Collector) -> ConfigError:
    """Return the error of a collector whose handler is one for an event loop."""
    return ConfigError(
        f"collector {collector.key!r}: {describe(collector.handler)} returns something to await, which a thread "
        f"cannot do: {WAYS_OUT_OF_THREADS}"
    )


def _in_loop(loop: asyncio.AbstractEventLoop, call: Callable[["Future[Any]"], None], future: "Future[Any]") -> None:
    try:
        loop.call_soon_threadsafe(call, future)
    except RuntimeError:  # the loop is closed: nobody waits for the place any more
        return
