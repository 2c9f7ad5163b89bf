"""ScaledProcessPoolExecutor: the worker pool as a concurrent.futures.Executor, for programs of any shape.

    submit (any thread) --> incoming --> engine thread: event loop, WorkerPool --> workers
                                              |
    Future <----------------------------------+

A call stays in `incoming`, where Future.cancel() reaches it, until a worker has room for it.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import itertools
import os
import sys
import threading
import time
import weakref
from collections import deque
from concurrent.futures import Executor, Future, wait
from concurrent.futures.process import _RemoteTraceback
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from .calls import REFERENCE, dump, load_reply, run_chunk, run_initializer
from .errors import PoolBroken, PoolClosed, WorkerPoolError
from .job import Job, TaskSpec
from .pool import PoolListener, WorkerPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from multiprocessing.context import BaseContext

    from .statistics import PoolStatistics

__all__ = ["ScaledProcessPoolExecutor"]

P = ParamSpec("P")
T = TypeVar("T")

_engines: weakref.WeakSet[Engine] = weakref.WeakSet()
_exiting = threading.Event()


@atexit.register
def _finish_at_exit() -> None:
    # As in the stdlib, what was submitted is finished before the interpreter goes; engine threads are daemons, so
    # they still run here.
    _exiting.set()
    for engine in list(_engines):
        engine.shut_down(cancel=False)
    for engine in list(_engines):
        engine.join()


class Call(Job):
    """A pickled call and the future that awaits it."""

    __slots__ = ("future",)

    def __init__(self, future: Future[Any], body: bytes, blob: Any, timeout: float | None) -> None:
        super().__init__(0, body, blob, timeout)
        self.future = future

    def succeeded(self, body: bytes | memoryview, blob: bytes | None, elapsed: float) -> None:
        """Set the future's result or exception."""
        try:
            returned, value, text = load_reply(body, blob)
        except BaseException as error:  # unpickling runs the program's own code, which may even say sys.exit
            self.future.set_exception(error)
            return
        if returned:
            self.future.set_result(value)
            return
        value.__cause__ = _RemoteTraceback(f'\n"""\n{text}"""')  # type: ignore[arg-type] # typeshed errs
        self.future.set_exception(value)

    def failed(self, error: BaseException, elapsed: float) -> None:
        """Set the future's exception."""
        self.future.set_exception(error)


class Engine(PoolListener):
    """The thread that owns the pool and its event loop.

    `incoming` and `woken` are guarded by `lock`; everything else is written by the engine's thread only.
    """

    def __init__(self, limit: int, **pool_options: Any) -> None:
        self.incoming: deque[Call] = deque()
        self.lock = threading.Lock()
        self.woken = False
        self.closing = False
        self._refusal: tuple[float, PoolBroken] | None = None  # until when submit raises, and what
        self._limit = limit
        self._pool = WorkerPool(
            [TaskSpec(REFERENCE, b"")], max_workers=sys.maxsize, listener=self, **pool_options
        )
        self._loop = asyncio.new_event_loop()
        self._emptied = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="worker-pool", daemon=True)
        self._started: Future[None] = Future()
        self._thread.start()
        self._started.result()
        _engines.add(self)

    # --- from any thread

    def add(self, call: Call) -> None:
        """Queue a call.

        Raises:
            PoolBroken: Workers die again and again.
            RuntimeError: The engine is ending.

        """
        refusal = self._refusal
        if refusal is not None and time.monotonic() < refusal[0]:
            raise refusal[1]
        with self.lock:
            if self.closing:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self.incoming.append(call)
            if self.woken:
                return
            self.woken = True
        self._post(self._pull)

    def shut_down(self, *, cancel: bool) -> None:
        """End after what was submitted; with `cancel`, after what workers have in hand already."""
        with self.lock:
            self.closing = True
            spared = max(
                0, self._limit - self._pool.outstanding
            )  # as good as running: a worker is on its way
            calls = list(self.incoming)[spared:] if cancel else []
        for call in calls:
            call.future.cancel()
        self._post(self._pull)

    def resize(self, limit: int) -> None:
        """Have `limit` workers."""
        self._post(self._resize, limit)

    def statistics(self) -> PoolStatistics:
        """Return a snapshot, taken in the engine's thread."""
        if threading.current_thread() is self._thread:
            return self._pool.statistics()
        answer: Future[PoolStatistics] = Future()
        self._post(lambda: answer.set_result(self._pool.statistics()))
        while not answer.done() and self._thread.is_alive():
            wait([answer], timeout=0.1)
        return answer.result() if answer.done() else self._pool.statistics()

    def join(self) -> None:
        """Wait until the engine has ended; from within it, do nothing."""
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _post(self, action: Callable[..., object], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the engine has ended, and has failed what it had
            self._loop.call_soon_threadsafe(action, *arguments)

    # --- in the engine's thread

    def room(self) -> None:
        """The pool takes jobs again."""
        self._pull()

    def breaker_opened(self, error: PoolBroken) -> None:
        """No worker lives: what waits fails, and submit raises for a while."""
        self._refusal = (time.monotonic() + error.retry_in, error)
        self._fail_incoming(error)
        self._pull()

    def breaker_closed(self) -> None:
        """A worker has finished a call again."""
        self._refusal = None

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            with self.lock:
                self.closing = True
            self._loop.close()
            self._fail_incoming(PoolClosed("the executor was shut down before this call had started"))

    async def _serve(self) -> None:
        try:
            await self._pool.start(0)
        except BaseException as error:
            self._started.set_exception(error)
            return
        self._started.set_result(None)
        self._pull()
        await self._emptied.wait()
        await self._pool.close()

    def _pull(self) -> None:
        """Hand to the pool a call for each worker to be, then what it has room for; grow it for the rest."""
        pool, incoming = self._pool, self.incoming
        with self.lock:
            self.woken = False
        while incoming and (pool.room or pool.outstanding < self._limit):
            call = incoming.popleft()
            if call.future.set_running_or_notify_cancel():
                pool.submit(call)
        pool.grow(min(self._limit, pool.outstanding + len(incoming)))
        if self.closing and not incoming:
            self._emptied.set()

    def _resize(self, limit: int) -> None:
        self._limit = limit
        self._pool.resize(limit)

    def _fail_incoming(self, error: WorkerPoolError) -> None:
        while self.incoming:
            call = self.incoming.popleft()
            if call.future.set_running_or_notify_cancel():
                call.future.set_exception(error)


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
        """Schedule fn(*args, **kwargs); return the future of its result.

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
        if engine is None or self._shut_down or _exiting.is_set():
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
            if _exiting.is_set():
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
