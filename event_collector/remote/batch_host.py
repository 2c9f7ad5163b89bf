"""Batches of events in the processes of an executor.

The input is the setup of a collector and encoded payloads. The output is always one encoded reply: an exception that
cannot be pickled, or SystemExit, would break some executors.

    executor's thread -- no timeout --> runs the handlers
                      -- timeout -----> watches a runner, a second thread, which runs the handlers;
                                        replies without it when a handler takes too long
"""

import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from time import perf_counter
from typing import Any

import msgspec

from event_collector.handlers.stack_frames import hide_modules, stack_text
from event_collector.remote.codec import encode_raised
from event_collector.remote.host import Host, open_host

hide_modules(__name__)

CLOSE_TIMEOUT = 5.0
"""Seconds that closing a collector waits for its running batch."""


class BatchReply(msgspec.Struct, array_like=True, frozen=True):
    """The outcome of a batch: one reply for each event that was begun, in order. Later events were not begun."""

    replies: list[bytes]
    """Encoded like the replies of a worker."""
    seconds: list[float]
    """Time of each event in the handler."""
    begun_by: str = ""
    """The lost process that began this batch earlier, or empty. If set, nothing was run here."""


encode_reply: Callable[[BatchReply], bytes] = msgspec.msgpack.Encoder().encode
decode_reply: Callable[[bytes], BatchReply] = msgspec.msgpack.Decoder(BatchReply).decode


def run_batch(name: str, setup: bytes, bodies: list[bytes], timeout: float | None) -> bytes:
    """Run encoded payloads as a job of a `concurrent.futures.Executor`, in any process; return an encoded BatchReply.

    The collector is opened for its first event in each thread that runs batches, and closed when the process ends or
    by `close_hosts()`. A handler that exceeds its timeout is cancelled if it awaits something. Otherwise it runs on in
    its thread, its result is dropped, and later events get a new thread. The rest of its batch is not begun.

    `name` is the one for `close_hosts()`. `timeout` is in seconds for each payload; None for no limit.
    """
    try:
        return encode_reply(_open(name, setup, timeout is not None).run(bodies, timeout or 0.0))
    except BaseException as exc:  # the collector cannot be opened: each event gets the error
        raised = encode_raised(exc)
        return encode_reply(BatchReply([raised] * len(bodies), [0.0] * len(bodies)))


def close_hosts(name: str) -> None:
    """Close the collectors of a setup that are open in this process."""
    with _lock:
        finalizers = _finalizers.pop(name, [])
    for finalize in finalizers:
        finalize()


class _DirectHost:
    """A collector whose handlers run in the executor's thread, one after the other and without a time limit."""

    closed = False

    def __init__(self, setup: bytes) -> None:
        self._busy = threading.Lock()
        self._host = open_host(setup)

    def run(self, bodies: list[bytes], timeout: float) -> BatchReply:
        with self._busy:
            return _reply([_run_one(self._host, body) for body in bodies])

    def close(self) -> None:
        """Leave the lifecycle when the running batch has ended; it stays open if that takes too long."""
        self.closed = True
        if self._busy.acquire(timeout=CLOSE_TIMEOUT):
            try:
                self._host.close()
            finally:
                self._busy.release()


class _WatchedHost:
    """A collector whose handlers run in a runner, which is replaced after a timeout."""

    closed = False

    def __init__(self, setup: bytes) -> None:
        self._setup = setup
        self._runner: _Runner | None = None

    def run(self, bodies: list[bytes], timeout: float) -> BatchReply:
        """Run the payloads one after the other, until one takes longer than `timeout` seconds."""
        if self._runner is None:
            self._runner = _Runner(self._setup)
        runner = self._runner
        runner.begin(bodies)
        while not runner.ended.wait(runner.left(timeout)):
            reply = runner.abandon(timeout)
            if reply is not None:
                self._runner = None
                return reply
        return runner.reply()

    def close(self) -> None:
        self.closed = True
        if self._runner is not None:
            self._runner.close()


class _Runner:
    """A thread that runs the handlers of a collector.

    The lock guards the end of an event against a concurrent timeout: the event that has just ended must not be reported
    as late, nor the next one get its timeout.
    """

    def __init__(self, setup: bytes) -> None:
        self.ended = threading.Event()
        self._setup = setup
        self._jobs: SimpleQueue[list[bytes] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._host: Host | None = None
        self._began: float | None = None
        self._done: list[tuple[bytes, float]] = []
        self._error: BaseException | None = None
        self._abandoned = False
        self._thread = threading.Thread(target=self._serve, name="event batch", daemon=True)
        self._thread.start()

    def begin(self, bodies: list[bytes]) -> None:
        self.ended.clear()
        self._done = []
        self._jobs.put(bodies)

    def left(self, timeout: float) -> float:
        began = self._began  # None while the collector is opened, which has no limit
        return timeout if began is None else max(0.0, began + timeout - perf_counter())

    def reply(self) -> BatchReply:
        """Return the outcome of a batch that has ended, or raise the error of opening the collector."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return _reply(self._done)

    def abandon(self, timeout: float) -> BatchReply | None:
        """Abandon the running handler and return the outcome of the batch with its timeout; None if it is not late."""
        with self._lock:
            host = self._host
            if host is None or self._began is None or self.left(timeout) > 0.0:
                return None
            self._abandoned = True
        late = host.timeout_error(timeout)
        frame = sys._current_frames().get(self._thread.ident or 0)
        trace = f"{stack_text(frame)}HandlerTimeout: {late}\n"
        host.interrupt()
        self._jobs.put(None)
        return _reply([*self._done, (encode_raised(late, trace), timeout)])

    def close(self) -> None:
        self._jobs.put(None)
        self._thread.join(CLOSE_TIMEOUT)

    def _serve(self) -> None:
        while (bodies := self._jobs.get()) is not None:
            try:
                self._run(bodies)
            except BaseException as exc:
                self._error = exc
            self.ended.set()
        if self._host is not None:
            self._host.close()

    def _run(self, bodies: list[bytes]) -> None:
        host = self._host = self._host or open_host(self._setup)
        for body in bodies:
            self._began = perf_counter()
            done = _run_one(host, body)
            with self._lock:
                if self._abandoned:
                    return
                self._began = None
                self._done.append(done)


def _run_one(host: Host, body: bytes) -> tuple[bytes, float]:
    began = perf_counter()
    try:
        answer = host.run(body, None, inline=True)[0]
    except SystemExit as exc:
        answer = encode_raised(exc)
    return answer, perf_counter() - began


def _reply(done: list[tuple[bytes, float]]) -> BatchReply:
    return BatchReply([answer for answer, _ in done], [seconds for _, seconds in done])


_thread = threading.local()
_lock = threading.Lock()
_finalizers: dict[str, list[Callable[[], Any]]] = {}
"""The finalizers of the collectors that any thread of this process has opened; guarded by the lock."""


def _open(name: str, setup: bytes, watched: bool) -> _DirectHost | _WatchedHost:
    opened: dict[tuple[str, bool], _DirectHost | _WatchedHost] = getattr(_thread, "opened", {})
    host = opened.get((name, watched))
    if host is None or host.closed:
        from multiprocessing.util import Finalize  # the processes of multiprocessing do not run atexit

        host = _WatchedHost(setup) if watched else _DirectHost(setup)
        # Processes of executors outlive queues: forget the hosts of earlier ones.
        kept = {key: each for key, each in opened.items() if not each.closed}
        _thread.opened = {**kept, (name, watched): host}
        with _lock:
            _finalizers.setdefault(name, []).append(Finalize(None, host.close, exitpriority=1))
    return host
