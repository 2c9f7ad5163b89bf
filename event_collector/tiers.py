"""Where handlers run that are neither coroutines nor in our worker processes: threads, and anybody's Executor."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Final

from event_collector.codec import ReplyDecoder, encode_payload
from event_collector.collector import Collector, runs_in_threads, within
from event_collector.data import Payload
from event_collector.exceptions import ConfigError
from event_collector.handler import describe
from event_collector.host import run_encoded, seal
from event_collector.remote_exceptions import presentable
from event_collector.running_event import THREAD, RunningEvent, running_event, running_id

__all__ = ["ExecutorTier", "ThreadTier"]

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
            future = _call(self._executor, collector, payload)
        except BaseException:
            self._free.release()
            raise
        self._running.add(future)
        future.add_done_callback(lambda _: _in_loop(loop, self._ended, future))
        return await within(collector, asyncio.wrap_future(future))

    def close(self) -> None:
        """End the threads. Those still in a handler, after its timeout or cancellation, end with it."""
        idle = all(future.done() for future in self._running)
        self._executor.shutdown(wait=idle, cancel_futures=True)

    def _ended(self, future: "Future[Any]") -> None:
        self._running.discard(future)
        self._free.release()


class ExecutorTier:
    """Runs handlers in a `concurrent.futures.Executor` that belongs to the application, which also closes it.

    Args:
        collectors: those whose mode is an executor.

    Raises:
        ConfigError: a handler cannot be sent to the processes of its executor, or is a coroutine function for an
            executor of threads.

    """

    def __init__(self, collectors: list[Collector]) -> None:
        self._sealed: dict[Collector, tuple[bytes, ReplyDecoder]] = {}
        for collector in collectors:
            if not runs_in_threads(_executor_of(collector)):
                self._sealed[collector] = seal(collector), ReplyDecoder(collector.result_type, collector.key)
            elif collector.asynchronous:
                raise ConfigError(f"{_no_coroutine(collector)}: {WAYS_OUT_OF_THREADS}")

    async def run(self, collector: Collector, payload: Payload[Any]) -> Any:
        """Run the handler in the collector's executor and return its outcome.

        The collector's timeout counts from here, including the wait for a free place in the executor. After
        it, or when this is cancelled, a job that has not started is withdrawn; one that has runs on, unheard.

        Raises:
            EncodeError: the payload cannot be sent to a process.
            HandlerTimeout: it took longer than the collector's timeout.

        """
        executor, sealed = _executor_of(collector), self._sealed.get(collector)
        if sealed is None:
            return await within(collector, asyncio.wrap_future(_call(executor, collector, payload)))
        setup, decode = sealed
        body, _ = encode_payload(payload, collector.key, running_id(), inline=True)
        reply = await within(collector, asyncio.wrap_future(executor.submit(run_encoded, setup, body)))
        return decode(reply, None)


def _executor_of(collector: Collector) -> Executor:
    if collector.executor is None:
        raise ConfigError(f"collector {collector.key!r} has mode={collector.mode!r}, not an executor")
    return collector.executor


def _call(executor: Executor, collector: Collector, payload: Payload[Any]) -> "Future[Any]":
    return executor.submit(copy_context().run, _call_plain, collector, payload, running_event())


def _call_plain(collector: Collector, payload: Payload[Any], event: RunningEvent | None) -> Any:
    """Run a handler in a thread; let out only what a future, and the coroutine that awaits it, can take."""
    THREAD.event = event
    try:
        outcome = collector.processor(payload, collector.ctx)
    except BaseException as exc:
        shown = presentable(exc)
        if shown is exc:
            raise
        raise shown from exc
    finally:
        THREAD.event = None
    if hasattr(outcome, "__await__"):
        if hasattr(outcome, "close"):
            outcome.close()  # a coroutine that is not awaited complains
        raise ConfigError(f"{_no_coroutine(collector)}: {WAYS_OUT_OF_THREADS}")
    return outcome


def _no_coroutine(collector: Collector) -> str:
    name = describe(collector.handler)
    return f"collector {collector.key!r}: {name} returns something to await, which a thread cannot do"


def _in_loop(
    loop: asyncio.AbstractEventLoop, call: Callable[["Future[Any]"], None], future: "Future[Any]"
) -> None:
    try:
        loop.call_soon_threadsafe(call, future)
    except RuntimeError:  # the loop is closed: nobody waits for the place any more
        return
