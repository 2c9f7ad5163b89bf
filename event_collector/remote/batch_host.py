"""A batch of events in a process of an executor: opened there, run one after the other, closed at the end.

What comes in is the setup of a collector and encoded payloads; what goes out is one message, whatever goes wrong: an
exception that cannot be pickled, or SystemExit, would break some executors.

    the thread of the executor -- no timeout --> the handlers
                               -- timeout -----> a runner, a thread of ours: the handlers
                                                 the executor's thread only watches, and answers without it
"""

import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from time import perf_counter
from typing import Any

import msgspec

from event_collector.remote.codec import encode_raised
from event_collector.remote.host import Host, open_host, stack_of, trace_of
from event_collector.values.errors import HandlerTimeout

__all__ = ["BatchReply", "close_hosts", "decode_reply", "encode_reply", "run_batch"]

PATIENCE = 5.0
"""Seconds that the closing of a collector waits for the batch that it is in."""


class BatchReply(msgspec.Struct, array_like=True, frozen=True):
    """What became of a batch: of its first events, one reply each. The others were not begun.

    Attributes:
        replies: encoded as a worker's.
        seconds: what each handler took.
        begun_by: who had begun the batch before, and is gone; empty otherwise. Then nothing of it was run here.

    """

    replies: list[bytes]
    seconds: list[float]
    begun_by: str = ""


encode_reply: Callable[[BatchReply], bytes] = msgspec.msgpack.Encoder().encode
decode_reply: Callable[[bytes], BatchReply] = msgspec.msgpack.Decoder(BatchReply).decode


def run_batch(name: str, setup: bytes, bodies: list[bytes], timeout: float | None) -> bytes:
    """Run encoded payloads in any process, as a job for a `concurrent.futures.Executor`; return a BatchReply.

    Args:
        name: of the setup; what is opened here is kept under it.
        setup: of the collector.
        bodies: the payloads.
        timeout: seconds that the handler may take for each; None for no limit.

    The collector is opened at its first event in this process (in each thread of it, for executors whose processes
    have several), and closed when the process ends, or by `close_hosts()`. A handler over its time cannot be stopped
    unless it awaits something: it runs on in its thread, unheard, and events that follow get another. What was behind
    it in its batch is not begun.

    """
    try:
        return encode_reply(_place(name, setup, timeout is not None).run(bodies, timeout or 0.0))
    except BaseException as exc:  # it could not be opened: the error of each event
        raised = encode_raised(exc, trace_of(exc))
        return encode_reply(BatchReply([raised] * len(bodies), [0.0] * len(bodies)))


def close_hosts(name: str) -> None:
    """Leave the lifecycles of a setup that were entered in this process."""
    with _lock:
        places = _opened.pop(name, [])
    for place in places:
        place.finalize()


class _Place:
    """A collector that is open for one thread of the executor."""

    def __init__(self, setup: bytes) -> None:
        from multiprocessing.util import Finalize  # atexit is not run in the processes of multiprocessing

        self.closed = False
        self._busy = threading.Lock()
        self._host = open_host(setup)
        self.finalize: Callable[[], Any] = Finalize(None, self._close, exitpriority=1)

    def run(self, bodies: list[bytes], timeout: float) -> BatchReply:
        """Run the payloads, one after the other, without a limit."""
        with self._busy:
            done = [_run_one(self._host, body) for body in bodies]
        return _reply(done)

    def _close(self) -> None:
        self.closed = True
        if self._busy.acquire(timeout=PATIENCE):  # else its handler does not end
            try:
                self._host.close()
            finally:
                self._busy.release()


class _WatchedPlace:
    """A collector that is open for one thread of the executor, in a runner; after a timeout in the next one."""

    closed = False

    def __init__(self, setup: bytes) -> None:
        from multiprocessing.util import Finalize

        self._setup = setup
        self._runner: _Runner | None = None
        self.finalize: Callable[[], Any] = Finalize(None, self._close, exitpriority=1)

    def run(self, bodies: list[bytes], timeout: float) -> BatchReply:
        """Run the payloads, one after the other, up to one that takes too long."""
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

    def _close(self) -> None:
        self.closed = True
        if self._runner is not None:
            self._runner.close()


class _Runner:
    """A thread with a collector that is open in it.

    What the two threads share is written under the lock: else an event could be taken for late that has just ended,
    and the next one would get its timeout.
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
        """Have a batch run."""
        self.ended.clear()
        self._done = []
        self._jobs.put(bodies)

    def left(self, timeout: float) -> float:
        """Return the seconds until the handler that runs is over its time; to open a collector has no limit."""
        began = self._began
        return timeout if began is None else max(0.0, began + timeout - perf_counter())

    def reply(self) -> BatchReply:
        """Return what became of the batch, all of which has run."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return _reply(self._done)

    def abandon(self, timeout: float) -> BatchReply | None:
        """Go on without the handler that runs; return what was done, and its timeout. None if it is not late."""
        with self._lock:
            host = self._host
            if host is None or self._began is None or self.left(timeout) > 0.0:
                return None
            self._abandoned = True
        late = HandlerTimeout(host.overdue(timeout))
        frame = sys._current_frames().get(self._thread.ident or 0)
        trace = f"{stack_of(frame)}HandlerTimeout: {late}\n"
        host.interrupt()
        self._jobs.put(None)
        return _reply([*self._done, (encode_raised(late, trace), timeout)])

    def close(self) -> None:
        """Have it end, and leave the lifecycle."""
        self._jobs.put(None)
        self._thread.join(PATIENCE)

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
    """Return the reply to a payload, and the seconds that its handler took."""
    began = perf_counter()
    try:
        answer = host.run(body, None, inline=True)[0]
    except SystemExit as exc:
        answer = encode_raised(exc, trace_of(exc))
    return answer, perf_counter() - began


def _reply(done: list[tuple[bytes, float]]) -> BatchReply:
    return BatchReply([answer for answer, _ in done], [seconds for _, seconds in done])


class _Places(threading.local):
    """What a thread of an executor's process has opened, by name, and whether it is watched."""

    def __init__(self) -> None:
        self.open: dict[tuple[str, bool], _Place | _WatchedPlace] = {}


_places = _Places()
_lock = threading.Lock()
_opened: dict[str, list[_Place | _WatchedPlace]] = {}
"""All that is open in this process, whichever thread has opened it; under the lock."""


def _place(name: str, setup: bytes, watched: bool) -> _Place | _WatchedPlace:
    place = _places.open.get((name, watched))
    if place is None or place.closed:
        place = _WatchedPlace(setup) if watched else _Place(setup)
        # Workers outlive queues, which leave closed ones behind.
        _places.open = {each: known for each, known in _places.open.items() if not known.closed}
        _places.open[name, watched] = place
        with _lock:
            _opened.setdefault(name, []).append(place)
    return place
