"""The control socket of a queue: takes requests from outside, beside the monitor socket, for the same user only.

Threads accept and read, so a blocked event loop costs a client its action but not its answer, and stacks and profiles
need no event loop. All else is done by the event loop.

    connect --> request --> thread: decode --> event loop: act --> thread: answer --> next request ... --> disconnect
                                  '--> stack, profile ---------------^
"""

import asyncio
import concurrent.futures
import contextlib
import os
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec

from event_collector.control.control_messages import (
    LONGEST_REQUEST,
    SUFFIX,
    Answer,
    Failed,
    ProfileRequest,
    Request,
    StackPage,
    StackRequest,
    decode_request,
    encode_message,
)
from event_collector.control.profile import take_profile
from event_collector.values.clock import clock
from event_collector.values.errors import MonitorError
from event_collector.watching.listener_thread import ListenerThread
from event_collector.watching.socket_file import LONGEST, SocketFile
from event_collector.watching.stack_socket import WorkerStacks, take_stacks

MOST_CLIENTS: Final = 16
"""Connections at a time. Each has a thread. A further one is told so, and disconnected."""
IDLE: Final = 300.0
"""Seconds that a client may be silent, or take to read an answer."""
LOOP_PATIENCE: Final = 5.0
"""Seconds in which the event loop has to begin an action; after that it is not done."""
ACTION_TIME: Final = 30.0
"""Seconds that an action may take that the event loop has begun."""

Act = Callable[[Request], Coroutine[Any, Any, Answer]]


class ControlSocket:
    """Answers for one queue from `open()` to `close()`, in the thread of its event loop.

    Args:
        path: of the monitor socket, absolute.
        act: carries out a request in the event loop.
        worker_stacks: returns stacks of worker processes; called in a thread.
    """

    def __init__(self, path: str, act: Act, worker_stacks: WorkerStacks) -> None:
        self._path, self._act, self._worker_stacks = path + SUFFIX, act, worker_stacks
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = 0
        self._listener: ListenerThread | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._lock = threading.Lock()  # guards the next one, which the threads of clients change, too
        self._clients: set[socket.socket] = set()
        self._profiling = threading.Lock()

    def __repr__(self) -> str:
        state = "closed" if self._listener is None else f"{len(self._clients)} clients"
        return f"<ControlSocket {self._path}: {state}>"

    def open(self) -> None:
        """Listen. Raise MonitorError if the socket cannot be made."""
        if len(os.fsencode(self._path)) > LONGEST:
            raise MonitorError(f"the socket {self._path} cannot be made: its path is too long. Choose a shorter one")
        self._loop, self._loop_thread = asyncio.get_running_loop(), threading.get_ident()
        file = SocketFile(self._path)
        try:
            self._listener = ListenerThread(file, self._admit, "event control")
        except BaseException:
            file.close()
            raise

    def close(self) -> None:
        """Stop listening, read no more requests, and remove the socket. Answers that are due are sent. Idempotent."""
        if self._listener is None:
            return
        self._listener.close()
        self._listener = self._loop = None
        for task in self._tasks:
            task.cancel()
        with self._lock:
            for client in self._clients:
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_RD)

    # In the thread of the listener, and in one for each client

    def _admit(self, client: socket.socket) -> None:
        client.settimeout(IDLE)
        with self._lock:
            is_full = len(self._clients) >= MOST_CLIENTS
            if not is_full:
                self._clients.add(client)
        if is_full:
            with client:
                _send(client, Failed(text=f"{MOST_CLIENTS} clients are connected already: try again later"))
            return
        threading.Thread(target=self._serve, args=(client,), name="event control client", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client, contextlib.suppress(OSError, ValueError):
                received = bytearray()
                while (line := _next_line(client, received)) is not None:
                    _send(client, self._answer(line))
                if len(received) > LONGEST_REQUEST:
                    _send(client, Failed(text=f"a request has at most {LONGEST_REQUEST:,} bytes"))
        finally:
            with self._lock:
                self._clients.discard(client)

    def _answer(self, line: bytes) -> Answer:
        try:
            request = decode_request(line)
        except (msgspec.DecodeError, RecursionError) as exc:
            return Failed(text=f"this is no request: {exc}")
        if isinstance(request, StackRequest):
            stacks = self._stacks(request.pid)
            return StackPage(stacks=stacks) if stacks else Failed(text=f"this program has no process {request.pid}")
        if isinstance(request, ProfileRequest):
            return self._profile(request)
        return self._ask_loop(request)

    def _stacks(self, pid: int | None) -> Any:
        return take_stacks(pid, self._loop_thread, self._worker_stacks)

    def _profile(self, request: ProfileRequest) -> Answer:
        if not self._profiling.acquire(blocking=False):
            return Failed(text="another profile is being taken: try again later")
        try:
            page = take_profile(
                lambda: self._stacks(request.pid), request.seconds, request.interval, lambda: self._listener is None
            )
        finally:
            self._profiling.release()
        return page if page.stacks else Failed(text=f"this program has no process {request.pid}")

    def _ask_loop(self, request: Request) -> Answer:
        answer: concurrent.futures.Future[Answer] = concurrent.futures.Future()
        loop = self._loop
        try:
            if loop is None:
                raise RuntimeError
            loop.call_soon_threadsafe(self._begin, request, answer)
        except RuntimeError:  # the loop has closed meanwhile
            return Failed(text="the queue has ended")
        try:
            return answer.result(clock.source.patience(LOOP_PATIENCE))
        except concurrent.futures.TimeoutError:
            if answer.cancel():
                return Failed(
                    text=f"the event loop is blocked: it has not begun this within {LOOP_PATIENCE:g} s, and nothing "
                    "was done. Ask for a stack to see what blocks it"
                )
        except concurrent.futures.CancelledError:
            return Failed(text="the queue has ended")
        try:
            return answer.result(ACTION_TIME)
        except (concurrent.futures.TimeoutError, concurrent.futures.CancelledError):
            return Failed(text=f"the event loop has begun this, and not finished it within {ACTION_TIME:g} s")

    # In the thread of the event loop

    def _begin(self, request: Request, answer: "concurrent.futures.Future[Answer]") -> None:
        loop = self._loop
        if loop is None or not answer.set_running_or_notify_cancel():
            answer.cancel()
            return
        # Not loop.create_task(): a task factory of the application has no part in this.
        task = asyncio.Task(self._carry_out(request, answer), loop=loop, name="queue control")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry_out(self, request: Request, answer: "concurrent.futures.Future[Answer]") -> None:
        try:
            answer.set_result(await self._act(request))
        except asyncio.CancelledError:
            answer.set_result(Failed(text="the queue has ended meanwhile"))
            raise


def _next_line(client: socket.socket, received: bytearray) -> bytes | None:
    """Return the next line; None if the client has left, or sends a line that is too long."""
    while (end := received.find(b"\n")) < 0:
        if len(received) > LONGEST_REQUEST or not (more := client.recv(LONGEST_REQUEST)):
            return None
        received += more
    line = bytes(received[:end])
    del received[: end + 1]
    return line


def _send(client: socket.socket, answer: Answer) -> None:
    client.sendall(encode_message(answer) + b"\n")
