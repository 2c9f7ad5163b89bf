"""Worker processes that are simulated: the pool is real, and each process does its next step when a test says so."""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic_ns
from typing import Any

from event_collector_workers import WorkerPool
from event_collector_workers.child.workplace import resolve
from event_collector_workers.transport.frames import HEADER, Kind, Outcome, decode_batch, decode_setup, encode, message
from event_collector_workers.transport.lifeline import Lifeline
from event_collector_workers.transport.page import WorkerPage

FIRST_PID = 1 << 23
"""Above all process ids that Linux gives."""
MINUTE_NS = 60 * 10**9


class SimulatedProcess:
    """The other end of a worker's socket and page. It is what its launcher hands out, too."""

    def __init__(self, pid: int, connection: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        self.pid = pid
        self.current: tuple[int, int, bytes] | None = None
        """Sequence number, task and body of the job that it is in."""
        self.is_alive, self.is_killed, self.is_open = True, False, False
        self._loop, self._socket = loop, connection
        self._data = b""
        self._jobs: deque[tuple[int, int, bytes]] = deque()
        self._is_stopping = False
        self._tasks: list[Any] = []
        self._page: WorkerPage | None = None
        self._on_exit: Callable[[int | None], None]

    # As a handle of the launcher

    def watch(self, on_exit: Callable[[int | None], None]) -> None:
        self._on_exit = on_exit

    def expect_exit(self) -> None:
        """Do nothing: the pool hears of each exit."""

    def kill(self) -> None:
        """Note the signal: the process ends when time passes for it."""
        self.is_killed = True

    # What it does

    def exit(self, code: int) -> None:
        """End, and have the pool hear of it."""
        if not self.is_alive:
            return
        self.is_alive, self.current = False, None
        for task in self._tasks:
            task.close()
        if self._page is not None:
            self._page.close()
        self._socket.close()
        self._loop.call_soon(self._on_exit, code)

    def open(self) -> None:
        """Open the tasks and be ready, unless the pool does not want that any more."""
        self._socket.setblocking(True)
        self._data, fds, _, _ = socket.recv_fds(self._socket, HEADER.size, 2)
        size = HEADER.unpack(self._data)[1]
        setup = decode_setup(self._socket.recv(size, socket.MSG_WAITALL))
        self._data = b""
        self._page = WorkerPage(fds[0])
        for fd in fds:
            socket.close(fd)
        self._socket.setblocking(False)
        self.is_open = True
        if not self._page.begin_opening():
            self.exit(0)
            return
        self._tasks = [resolve(reference)(argument) for reference, argument in setup.tasks]
        self._socket.sendall(message(Kind.READY))

    def proceed(self) -> None:
        """Read what the pool has sent, and begin the next job if there is none."""
        if not (self.is_alive and self.is_open and self._page is not None):
            return
        with suppress(BlockingIOError):
            while data := self._socket.recv(1 << 16):
                self._data += data
        while len(self._data) >= HEADER.size:
            kind, size, _ = HEADER.unpack_from(self._data)
            head, self._data = self._data[HEADER.size : HEADER.size + size], self._data[HEADER.size + size :]
            if kind == Kind.STOP:
                self._is_stopping = True
            else:
                first, jobs = decode_batch(head)
                self._jobs.extend((first + index, *job) for index, job in enumerate(jobs))
        while self.current is None and self._jobs:
            sequence, task, body = self._jobs.popleft()
            # In the future: the pool does not find it long, however slow the machine is.
            if self._page.begin(sequence, monotonic_ns() + MINUTE_NS):
                self.current = sequence, task, body
            else:
                self._answer((sequence, Outcome.SKIPPED.value, 0.0, b""))
        if self.current is None and self._is_stopping:
            self._socket.sendall(message(Kind.STOPPED))
            self.exit(0)

    def finish(self) -> None:
        """End the current job, which seems to have taken a second."""
        assert self.current is not None
        (sequence, task, body), self.current = self.current, None
        reply, _ = self._tasks[task].run(body, None)
        self._answer((sequence, Outcome.DONE.value, 1.0, bytes(reply)))
        self.proceed()

    def skip(self) -> None:
        """Find that the pool has taken the current job back, although it was claimed before."""
        assert self.current is not None
        (sequence, _, _), self.current = self.current, None
        self._answer((sequence, Outcome.SKIPPED.value, 0.0, b""))

    def grow_old(self) -> None:
        """Have the current job be one that began a minute ago."""
        assert self.current is not None
        assert self._page is not None
        self._page.begin(self.current[0], max(0, monotonic_ns() - MINUTE_NS))

    def _answer(self, record: Any) -> None:
        assert self._page is not None
        assert self._page.write(encode(record))
        self._socket.sendall(message(Kind.LOOK))


class SimulatedLauncher:
    """Makes processes, which wait for `open()`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, processes: list[SimulatedProcess]) -> None:
        self._loop, self._processes = loop, processes
        self.lifeline = Lifeline()

    def launch(self, connection: socket.socket, _birth: Any, on_launched: Callable[[Any], None]) -> None:
        process = SimulatedProcess(FIRST_PID + len(self._processes), connection, self._loop)
        self._processes.append(process)
        self._loop.call_soon(on_launched, process)

    def reset(self) -> None:
        """Do nothing: there is no helper."""

    def close(self) -> None:
        """Close the lifeline: there is no process."""
        self.lifeline.close()


class SimulatedPool(WorkerPool):
    """The pool, whose processes are simulated."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.processes: list[SimulatedProcess] = []
        self._make_launcher: Any = lambda loop, **_: SimulatedLauncher(loop, self.processes)
