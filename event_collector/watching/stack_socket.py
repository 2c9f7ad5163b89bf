"""The socket that tells where a program is: the stacks of its threads and workers, while its event loop is blocked too.

It stands beside the monitor socket, for the same user only, and has a thread of its own, which asks nothing of the
event loop. The thread needs the GIL: native code that holds it keeps the answer waiting.

    connect --> a line with a process id, or an empty one for all --> a line of JSON with the stacks --> disconnect
"""

import os
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from event_collector.watching.listener_thread import ListenerThread
from event_collector.watching.socket_file import LONGEST, SocketFile

SUFFIX: Final = ".stacks"
"""What the path of this socket has after that of the monitor socket."""
PATIENCE: Final = 5.0
"""Seconds that a client may take for its request, and for a part of the answer."""
MOST_THREADS: Final = 100
LONGEST_STACK: Final = 16_384
"""Characters of the stack of a thread."""
_REQUEST: Final = 32  # bytes


class ProcessStack(msgspec.Struct, frozen=True):
    """The stacks of a thread of the program, or of a worker process."""

    pid: int
    subject: str
    """Such as "event loop, thread MainThread", or "worker 2"."""
    text: str
    """In the form of a traceback; empty if the process did not answer, or runs no handler."""


WorkerStacks = Callable[[int | None], Sequence[tuple[int, str, str]]]
"""Returns process id, subject and stack of one worker, or of all. Called in a thread."""

_encode: Final = msgspec.json.Encoder().encode
decode_stacks: Final = msgspec.json.Decoder(list[ProcessStack]).decode


class StackSocket:
    """Answers for one queue, one client at a time. Made in the thread of the event loop, by `open_stack_socket`."""

    def __init__(self, file: SocketFile, worker_stacks: WorkerStacks) -> None:
        self._worker_stacks = worker_stacks
        self._loop_thread = threading.get_ident()
        self._listener = ListenerThread(file, self._answer, "event stacks")

    def __repr__(self) -> str:
        return f"<StackSocket {self._listener!r}>"

    def close(self) -> None:
        """Stop listening and remove the socket. A client that is being answered is left to the thread."""
        self._listener.close()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(PATIENCE)
            request = b""
            while not request.endswith(b"\n") and len(request) < _REQUEST:
                request += connection.recv(_REQUEST) or b"\n"
            pid = int(request) if request.strip() else None
            stacks = take_stacks(pid, self._loop_thread, self._worker_stacks)
            connection.sendall(_encode(stacks) + b"\n")


def open_stack_socket(path: str, worker_stacks: WorkerStacks) -> StackSocket | None:
    """Listen beside the monitor socket at this path; None if the path is too long for that.

    Raise MonitorError if the socket cannot be made.
    """
    if len(os.fsencode(path + SUFFIX)) > LONGEST:
        return None
    file = SocketFile(path + SUFFIX)
    try:
        return StackSocket(file, worker_stacks)
    except BaseException:
        file.close()
        raise


def take_stacks(pid: int | None, loop_thread: int, worker_stacks: WorkerStacks) -> list[ProcessStack]:
    """Return the stacks of one process of a program, or of all. Blocks."""
    stacks = [] if pid not in (None, os.getpid()) else thread_stacks(loop_thread)
    if pid != os.getpid():
        stacks += [ProcessStack(*stack) for stack in worker_stacks(pid)]
    return stacks


def thread_stacks(loop_thread: int) -> list[ProcessStack]:
    """Return the stacks of the threads of this process without the calling one, that of the event loop first."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames = sys._current_frames()
    frames.pop(threading.get_ident(), None)
    idents = sorted(frames, key=lambda ident: ident != loop_thread)
    return [
        ProcessStack(
            os.getpid(),
            f"{'event loop, ' if ident == loop_thread else ''}thread {names.get(ident, ident)}",
            "".join(["Traceback (most recent call last):\n", *traceback.format_stack(frames[ident])])[-LONGEST_STACK:],
        )
        for ident in idents[:MOST_THREADS]
    ]
