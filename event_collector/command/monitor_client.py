"""The client of a queue's monitor socket: connects to it and reads snapshots."""

import argparse
import contextlib
import os
import socket
import stat
from time import monotonic, sleep
from typing import Final

from event_collector.command.options import UsageError
from event_collector.watching.snapshot import Snapshot, decode_snapshot

PATH_VARIABLE: Final = "EVENT_COLLECTOR_MONITOR"  # the environment variable with the default path of the socket
MAX_SNAPSHOT: Final = 64 * 1024 * 1024  # bytes of a snapshot, at most: a peer that sends more is not a queue
CHUNK: Final = 64 * 1024


class Unreachable(Exception):
    """No queue answers at the path: one line for the user."""


def add_path(parser: argparse.ArgumentParser) -> None:
    """Add the operand PATH."""
    parser.add_argument("path", metavar="PATH", nargs="?", help=f"the socket of the queue (default: ${PATH_VARIABLE})")


def path_of(operand: str | None) -> str:
    """Return the path of the socket: the operand, or else the environment variable; UsageError if neither is set."""
    path = operand or os.environ.get(PATH_VARIABLE)
    if not path:
        raise UsageError(
            f"name the socket of the queue, the PATH of its monitor= or --monitor, here or in ${PATH_VARIABLE}"
        )
    return path


class MonitorClient:
    """A connection to the socket of a queue.

    The constructor takes at most `timeout` seconds. It raises Unreachable if no queue listens there, or if this user
    may not connect.
    """

    def __init__(self, path: str, timeout: float) -> None:
        if not hasattr(socket, "AF_UNIX"):
            raise Unreachable("this platform has no Unix sockets")
        self._path = path
        self._received = bytearray()
        self._searched = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._connect(monotonic() + timeout)
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def next(self, timeout: float) -> Snapshot | None:
        """Return the next snapshot; None if there is none within `timeout` seconds.

        Raises EOFError if the queue has closed the connection, and Unreachable if the peer did not send a snapshot.
        """
        deadline = monotonic() + timeout
        while (line := self._take_line()) is None:
            if len(self._received) > MAX_SNAPSHOT:
                raise Unreachable(
                    f"{self._path}: it sends a line of more than {MAX_SNAPSHOT:,} bytes: this is no queue"
                )
            left = deadline - monotonic()
            if left <= 0:
                return None
            self._socket.settimeout(left)
            try:
                received = self._socket.recv(CHUNK)
            except TimeoutError:
                return None
            except ConnectionError:
                received = b""
            if not received:
                raise EOFError
            self._received += received
        try:
            return decode_snapshot(line)
        except ValueError as exc:
            raise Unreachable(f"{self._path}: {exc}") from None

    def ask(self, request: bytes, timeout: float) -> bytes:
        """Send a request, and return all that comes until the peer closes the connection.

        Raises Unreachable if there is no answer within `timeout` seconds.
        """
        deadline, answer = monotonic() + timeout, bytearray()
        try:
            self._socket.settimeout(timeout)
            self._socket.sendall(request)
            while received := self._socket.recv(CHUNK):
                answer += received
                if len(answer) > MAX_SNAPSHOT:
                    raise Unreachable(f"{self._path}: it sends more than {MAX_SNAPSHOT:,} bytes: this is no queue")
                self._socket.settimeout(max(0.001, deadline - monotonic()))
        except TimeoutError:
            raise Unreachable(
                f"{self._path}: no answer within {timeout:g} s: the program is stopped, or native code holds its GIL"
            ) from None
        except ConnectionError:
            raise Unreachable(f"{self._path}: the program has closed the connection") from None
        return bytes(answer)

    def _take_line(self) -> bytes | None:
        end = self._received.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._received)
            return None
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        self._searched = 0
        return line

    def _connect(self, deadline: float) -> None:
        while True:
            self._socket.settimeout(max(0.001, deadline - monotonic()))
            try:
                return self._socket.connect(self._path)
            except (BlockingIOError, TimeoutError):  # the backlog of the listener is full
                if monotonic() >= deadline:
                    raise Unreachable(f"{self._path}: the program does not answer") from None
                sleep(0.01)
            except OSError as exc:
                raise Unreachable(f"{self._path}: {self._reason(exc)}") from None

    def _reason(self, exc: OSError) -> str:
        if isinstance(exc, FileNotFoundError):
            return "there is no socket: is the program running, with this path as its monitor= or --monitor?"
        if isinstance(exc, PermissionError):
            return "it is for the user only who runs the program"
        with contextlib.suppress(OSError):
            if not stat.S_ISSOCK(os.stat(self._path).st_mode):
                return "that is no socket"
        if isinstance(exc, ConnectionRefusedError):
            return "nobody listens there: the program that made it is gone"
        return str(exc.strerror or exc)
