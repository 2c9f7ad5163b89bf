"""ScaledProcessPoolExecutor: the worker pool as a concurrent.futures.Executor, for programs without asyncio."""

import functools
import itertools
import math
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from multiprocessing.context import BaseContext
from typing import Any, ParamSpec, TypeVar, Unpack

from event_collector_workers.environment import WorkerEnvironment, WorkerOptions, make_environment
from event_collector_workers.executor.call_jobs import dump, run_chunk, run_initializer
from event_collector_workers.executor.pool_thread import Call, PoolThread, exiting
from event_collector_workers.machine import granted_cpus
from event_collector_workers.statistics import PoolStatistics

P = ParamSpec("P")
T = TypeVar("T")


class ScaledProcessPoolExecutor(Executor):
    """A concurrent.futures.Executor over worker processes. A crash fails one call, not the pool.

    It follows `concurrent.futures.ProcessPoolExecutor` and adds `resize`, `submit_with_timeout` and `statistics`. A
    call whose worker dies fails with WorkerCrashed, which is a BrokenProcessPool. Other calls are not affected. It
    may be used from any thread, and with asyncio's `run_in_executor`.

    Args:
        max_workers: Maximum number of worker processes; None for the number of processors. They start on demand.
        mp_context: A multiprocessing context that starts them; None for this library's own fork server. If an argument
            of the initializer is one that only multiprocessing can hand to a child, such as a lock, None stands for the
            default context of multiprocessing.
        initializer: Called with `initargs` once in each worker, before its first call. If it raises, the worker does
            not start. After several such failures calls fail with PoolBroken.
        initargs: Arguments of the initializer.
        max_tasks_per_child: Calls after which a worker is replaced; None for no limit.
        worker_options: `seed`, `worker_threads`, `worker_env`, `worker_nice`, `worker_affinity`, `worker_devices`, as
            those of a CollectorQueue. Variables, threads and devices need the "spawn" context or none.

    Raises:
        ValueError: A number is below 1, an option of workers does not accept a value, or the start method of the
            context does not allow an option.
        TypeError: `initializer` is not callable, a number is not an integer, or an option is unknown.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: BaseContext | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
        **worker_options: Unpack[WorkerOptions],
    ) -> None:
        if max_workers is None:
            max_workers = os.cpu_count() or 1
        _check_workers(max_workers)
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        _check_tasks_per_child(max_tasks_per_child, mp_context)
        self._limit = max_workers
        self._options = {
            "mp_context": mp_context,
            "initialize": None if initializer is None else (run_initializer, (initializer, initargs)),
            "max_jobs_per_worker": max_tasks_per_child,
            "environment": _environment_of(worker_options, max_workers, mp_context),
        }
        self._lock = threading.Lock()
        self._pool_thread: PoolThread | None = None
        self._is_shut_down = False

    def __repr__(self) -> str:
        state = "shut down" if self._is_shut_down else self._pool_thread or "idle"
        return f"<ScaledProcessPoolExecutor max_workers={self._limit} {state}>"

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Schedule `fn(*args, **kwargs)` and return the future of its result.

        The future fails with the exception of the call, or with the pickling error of its arguments or result.

        Raises:
            PoolBroken: Too many workers in a row have died. It is a BrokenProcessPool.
            RuntimeError: The executor, or the interpreter, is shutting down.
        """
        return self._submit(None, fn, args, kwargs)

    def submit_with_timeout(
        self, timeout: float, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Schedule a call that is killed after `timeout` seconds, counted from its start in the worker.

        The future of a killed call fails with JobTimeout, which is a TimeoutError. Otherwise the same as `submit`.

        Raises:
            ValueError: The timeout is not such a number.
        """
        given: Any = timeout
        if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 < given < math.inf:
            raise ValueError(f"timeout must be a number of seconds above 0, not {timeout!r}")
        return self._submit(timeout, fn, args, kwargs)

    def map(
        self, fn: Callable[..., T], *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[T]:
        """Call `fn` for the items of the iterables. Return an iterator over the results, in order.

        Args:
            fn: Called with one item of each iterable. The calls start at once.
            iterables: Read at once, to the end of the shortest.
            timeout: Seconds from now after which the iterator raises TimeoutError; None for no limit.
            chunksize: Items that make up one call, at least 1.

        Raises:
            ValueError: The chunk size is below 1.
        """
        if chunksize < 1:
            raise ValueError(f"chunksize must be >= 1, not {chunksize}")
        items = zip(*iterables, strict=False)
        chunks = iter(lambda: list(itertools.islice(items, chunksize)), [])
        return _flatten(super().map(functools.partial(run_chunk, fn), chunks, timeout=timeout))

    def resize(self, max_workers: int) -> None:
        """Set the maximum number of workers, at least 1, without waiting. Surplus workers finish their call.

        Raises:
            ValueError: The number is below 1.
            TypeError: It is not an integer.
        """
        _check_workers(max_workers)
        with self._lock:
            self._limit = max_workers
            pool_thread = self._pool_thread
        if pool_thread is not None:
            pool_thread.resize(max_workers)

    def statistics(self) -> PoolStatistics | None:
        """Return a snapshot of the pool; None before the first call and after shutdown."""
        pool_thread = self._pool_thread
        return None if pool_thread is None else pool_thread.statistics()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Refuse new calls, finish the submitted ones, end the workers. Idempotent.

        Args:
            wait: Return when the workers have ended. If False, return at once; they end in the background.
            cancel_futures: Cancel the calls that no worker holds.
        """
        with self._lock:
            self._is_shut_down = True
            pool_thread = self._pool_thread
        if pool_thread is not None:
            pool_thread.shut_down(cancel=cancel_futures)
            if wait:
                pool_thread.join()
                self._pool_thread = None

    def _submit(
        self, timeout: float | None, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Future[T]:
        pool_thread = self._pool_thread
        if pool_thread is None or self._is_shut_down or exiting.is_set():
            pool_thread = self._start()
        future: Future[T] = Future()
        try:
            body, blob = dump((fn, args, kwargs))
        except Exception as error:
            future.set_exception(error)
            return future
        pool_thread.add(Call(future, body, blob, timeout))
        return future

    def _start(self) -> PoolThread:
        with self._lock:
            if self._is_shut_down:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if exiting.is_set():
                raise RuntimeError("cannot schedule new futures after interpreter shutdown")
            if self._pool_thread is None:
                self._pool_thread = pool_thread = PoolThread(self._limit, **self._options)
                # An executor that is garbage collected finishes its calls and ends.
                weakref.finalize(self, pool_thread.shut_down, cancel=False).atexit = False
            return self._pool_thread


def _check_workers(number: object) -> None:
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError(f"max_workers must be an integer, not {number!r}")
    if number < 1:
        raise ValueError(f"max_workers must be greater than 0, not {number}")


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


def _environment_of(options: WorkerOptions, workers: int, context: BaseContext | None) -> WorkerEnvironment:
    unknown = options.keys() - WorkerOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"ScaledProcessPoolExecutor() has no argument {min(unknown)!r}")
    environment = make_environment(options, share=granted_cpus() / workers)
    if context is not None and environment.precedes_imports and context.get_start_method(allow_none=False) != "spawn":
        raise ValueError(
            "worker_env, worker_threads and worker_devices need a context that starts workers with 'spawn', or none: "
            "others start workers that have imported modules already"
        )
    return environment


def _flatten(chunks: Iterator[list[T]]) -> Iterator[T]:
    for chunk in chunks:
        chunk.reverse()
        while chunk:
            yield chunk.pop()  # keep no reference to the result
