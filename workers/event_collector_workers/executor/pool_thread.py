"""The thread of an executor: it runs an event loop and owns a worker pool.

    add (any thread) --> _incoming --> pool thread: event loop, WorkerPool --> workers
                                           |
    Future <-------------------------------+

A call stays in `_incoming`, where Future.cancel() still has an effect, until a worker has room for it.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import sys
import threading
import time
import weakref
from collections import deque
from concurrent.futures import Future, wait
from concurrent.futures.process import _RemoteTraceback
from typing import TYPE_CHECKING, Any

from event_collector_workers.executor import call_jobs
from event_collector_workers.executor.call_jobs import REFERENCE, load
from event_collector_workers.job import Buffer, Job, TaskSpec
from event_collector_workers.pool.listener import PoolListener
from event_collector_workers.pool.worker_pool import WorkerPool
from event_collector_workers.pool_errors import PoolBroken, PoolClosed, WorkerPoolError
from event_collector_workers.stack_dumps import hide_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from event_collector_workers.statistics import PoolStatistics

_alive: weakref.WeakSet[PoolThread] = weakref.WeakSet()
exiting = threading.Event()
hide_files(call_jobs.__file__)


@atexit.register
def _finish_at_exit() -> None:
    # As in the stdlib, submitted calls finish before the interpreter exits. Pool threads are daemons, so they still
    # run here.
    exiting.set()
    for pool_thread in list(_alive):
        pool_thread.shut_down(cancel=False)
    for pool_thread in list(_alive):
        pool_thread.join()


class Call(Job):
    """A pickled call and the future that awaits it."""

    __slots__ = ("future",)

    def __init__(self, future: Future[Any], body: bytes, blob: Any, timeout: float | None) -> None:
        super().__init__(0, body, blob, timeout)
        self.future = future

    def succeeded(self, body: bytes | memoryview, blob: Buffer | None, elapsed: float) -> None:
        """Set the future's result or exception."""
        try:
            returned, value, text = load(body, blob)
        except BaseException as error:  # unpickling runs code of the program, which may even call sys.exit
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


class PoolThread(PoolListener):
    """The thread that owns the pool and its event loop.

    `_lock` guards `_incoming`, `_is_woken` and `_is_closing`. The pool thread alone writes the other fields. `limit` is
    the maximum number of workers, at least 1. `pool_options` are passed on to WorkerPool.
    """

    def __init__(self, limit: int, **pool_options: Any) -> None:
        self._incoming: deque[Call] = deque()
        self._lock = threading.Lock()
        self._is_woken = False
        self._is_closing = False
        self._refusal: tuple[float, PoolBroken] | None = None  # `add` raises this error until this time
        self._limit = limit
        self._pool = WorkerPool(
            [TaskSpec(REFERENCE, b"")], max_workers=sys.maxsize, listener=self, forward_output=False, **pool_options
        )
        self._loop = asyncio.new_event_loop()
        self._emptied = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="worker-pool", daemon=True)
        self._started: Future[None] = Future()
        self._thread.start()
        self._started.result()
        _alive.add(self)

    def __repr__(self) -> str:
        state = "closing" if self._is_closing else "running"
        return f"<PoolThread {state} limit={self._limit} incoming={len(self._incoming)} {self._pool!r}>"

    # --- from any thread

    def add(self, call: Call) -> None:
        """Queue a call. Raises PoolBroken after too many deaths in a row, RuntimeError after shutdown."""
        refusal = self._refusal
        if refusal is not None and time.monotonic() < refusal[0]:
            raise refusal[1]
        with self._lock:
            if self._is_closing:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._incoming.append(call)
            if self._is_woken:
                return
            self._is_woken = True
        self._post(self._pull)

    def shut_down(self, *, cancel: bool) -> None:
        """End after the submitted calls; with `cancel`, after the calls that workers hold."""
        with self._lock:
            self._is_closing = True
            spared = max(0, self._limit - self._pool.outstanding)  # as good as running: a worker is starting
            calls = list(self._incoming)[spared:] if cancel else []
        for call in calls:
            call.future.cancel()
        self._post(self._pull)

    def resize(self, limit: int) -> None:
        """Set the maximum number of workers."""
        self._post(self._resize, limit)

    def statistics(self) -> PoolStatistics:
        """Return a snapshot, taken in the pool thread."""
        if threading.current_thread() is self._thread:
            return self._pool.statistics()
        answer: Future[PoolStatistics] = Future()
        self._post(lambda: answer.set_result(self._pool.statistics()))
        while not answer.done() and self._thread.is_alive():
            wait([answer], timeout=0.1)
        return answer.result() if answer.done() else self._pool.statistics()

    def join(self) -> None:
        """Wait until the thread has ended. A no-op in the thread itself."""
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _post(self, action: Callable[..., object], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the thread has ended and has failed the remaining calls
            self._loop.call_soon_threadsafe(action, *arguments)

    # --- in the pool thread

    def room(self) -> None:
        """Hand over more calls."""
        self._pull()

    def breaker_opened(self, error: PoolBroken) -> None:
        """Fail the waiting calls. `add` raises until the pool starts a worker again."""
        self._refusal = (time.monotonic() + error.retry_in, error)
        self._fail_incoming(error)
        self._pull()

    def breaker_closed(self) -> None:
        """Accept calls again."""
        self._refusal = None

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            with self._lock:
                self._is_closing = True
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
        """Hand the pool one call for each possible worker, then as many as it has room for. Grow it for the others."""
        pool, incoming = self._pool, self._incoming
        with self._lock:
            self._is_woken = False
        while incoming and (room := max(pool.room, self._limit - pool.outstanding)) > 0:
            calls = [incoming.popleft() for _ in range(min(room, len(incoming)))]
            pool.submit_all([call for call in calls if call.future.set_running_or_notify_cancel()])
        pool.grow(min(self._limit, pool.outstanding + len(incoming)))
        if self._is_closing and not incoming:
            self._emptied.set()

    def _resize(self, limit: int) -> None:
        self._limit = limit
        self._pool.resize(limit)

    def _fail_incoming(self, error: WorkerPoolError) -> None:
        while self._incoming:
            call = self._incoming.popleft()
            if call.future.set_running_or_notify_cancel():
                call.future.set_exception(error)
