"""ScaledProcessPoolExecutor: the worker pool as a concurrent.futures.Executor, for programs of any shape."""

from __future__ import annotations

import functools
import itertools
import os
import threading
import weakref
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from event_collector_workers.executor.calls import dump, run_chunk, run_initializer
from event_collector_workers.executor.pool_thread import Call, Engine, exiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from multiprocessing.context import BaseContext

    from event_collector_workers.statistics import PoolStatistics

__all__ = ["ScaledProcessPoolExecutor"]

P = ParamSpec("P")
T = TypeVar("T")


class ScaledProcessPoolExecutor(Executor):
    """A concurrent.futures.Executor over worker processes; a crash fails one call, not the pool.

    It follows `concurrent.futures.ProcessPoolExecutor`, and adds `resize`, `submit_with_timeout` and
    `statistics`. A call whose worker dies gets WorkerCrashed, which is a BrokenProcessPool; the others go on.
    Usable from any thread and from asyncio's `run_in_executor`.

    Args:
        max_workers: Most worker processes; None for as many as there are processors. They start on demand.
        mp_context: A multiprocessing context to start them with; None for this library's own way.
        initializer: Called once in each worker, before its first call, with `initargs`. If it raises, the worker
            does not start; if that happens again and again, calls fail with PoolBroken.
        initargs: Arguments for the initializer.
        max_tasks_per_child: Calls after which a worker is replaced; None for no limit.

    Raises:
        ValueError: A number is below 1, or `max_tasks_per_child` is combined with the "fork" start method.
        TypeError: `initializer` is not callable, or `max_tasks_per_child` is no integer.

    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: BaseContext | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
    ) -> None:
        if max_workers is None:
            max_workers = os.cpu_count() or 1
        if max_workers < 1:
            raise ValueError(f"max_workers must be greater than 0, not {max_workers}")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        _check_tasks_per_child(max_tasks_per_child, mp_context)
        self._limit = max_workers
        self._options = {
            "mp_context": mp_context,
            "initialize": None if initializer is None else (run_initializer, (initializer, initargs)),
            "max_jobs_per_worker": max_tasks_per_child,
        }
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._shut_down = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Schedule `fn(*args, **kwargs)`; return the future of its result.

        What cannot be pickled fails the future, as does whatever the call raises.

        Raises:
            PoolBroken: Workers die again and again; it is a BrokenProcessPool.
            RuntimeError: The executor, or the interpreter, is shutting down.

        """
        return self._submit(None, fn, args, kwargs)

    def submit_with_timeout(
        self, timeout: float, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Schedule a call that may run for `timeout` seconds, counted from its start; then it is killed.

        The future of a call that was killed has JobTimeout, which is a TimeoutError. Otherwise as `submit`.
        """
        return self._submit(timeout, fn, args, kwargs)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[T]:
        """Return an iterator over fn of the iterables' items, in order; the calls start at once.

        Args:
            fn: Called with one item of each iterable.
            iterables: Read to the end of the shortest, at once.
            timeout: Seconds from now after which the iterator raises TimeoutError; None for no limit.
            chunksize: Items that are sent, and run, as one call: at least 1.

        Raises:
            ValueError: The chunk size is below 1.

        """
        if chunksize < 1:
            raise ValueError(f"chunksize must be >= 1, not {chunksize}")
        chunks = _chunked(zip(*iterables, strict=False), chunksize)
        return _flatten(super().map(functools.partial(run_chunk, fn), chunks, timeout=timeout))

    def resize(self, max_workers: int) -> None:
        """Have that many workers, at least 1, without waiting: busy ones that are too many finish their call.

        Raises:
            ValueError: The number is below 1.

        """
        if max_workers < 1:
            raise ValueError(f"max_workers must be greater than 0, not {max_workers}")
        with self._lock:
            self._limit = max_workers
            engine = self._engine
        if engine is not None:
            engine.resize(max_workers)

    def statistics(self) -> PoolStatistics | None:
        """Return a snapshot of the pool; None before the first call and after shutdown."""
        engine = self._engine
        return None if engine is None else engine.statistics()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls, finish what was submitted, end the workers. Idempotent.

        Args:
            wait: Return when that is done; otherwise at once, and it is done in the background.
            cancel_futures: Cancel the calls that no worker has yet.

        """
        with self._lock:
            self._shut_down = True
            engine = self._engine
        if engine is not None:
            engine.shut_down(cancel=cancel_futures)
            if wait:
                engine.join()
                self._engine = None

    def _submit(
        self, timeout: float | None, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Future[T]:
        engine = self._engine
        if engine is None or self._shut_down or exiting.is_set():
            engine = self._start()
        future: Future[T] = Future()
        try:
            body, blob = dump((fn, args, kwargs))
        except Exception as error:
            future.set_exception(error)
            return future
        engine.add(Call(future, body, blob, timeout))
        return future

    def _start(self) -> Engine:
        with self._lock:
            if self._shut_down:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if exiting.is_set():
                raise RuntimeError("cannot schedule new futures after interpreter shutdown")
            if self._engine is None:
                self._engine = engine = Engine(self._limit, **self._options)
                # An executor that is forgotten finishes its calls and ends, like one that is shut down.
                weakref.finalize(self, engine.shut_down, cancel=False).atexit = False
            return self._engine


def _check_tasks_per_child(limit: int | None, context: BaseContext | None) -> None:
    if limit is None:
        return
    if not isinstance(limit, int):
        raise TypeError("max_tasks_per_child must be an integer")
    if limit < 1:
        raise ValueError(f"max_tasks_per_child must be >= 1, not {limit}")
    if context is not None and context.get_start_method(allow_none=False) == "fork":
        raise ValueError(
            "max_tasks_per_child is incompatible with the 'fork' multiprocessing start method: "
            "replacing workers would fork a process with threads; supply a different mp_context"
        )


def _chunked(items: Iterable[tuple[Any, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


def _flatten(chunks: Iterator[list[T]]) -> Iterator[T]:
    for chunk in chunks:
        chunk.reverse()
        while chunk:
            yield chunk.pop()  # keep no reference to what the caller has
