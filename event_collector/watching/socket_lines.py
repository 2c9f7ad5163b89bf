"""Clients of a queue's sockets: a connection that carries lines, and the reasons why there is none."""

import contextlib
import os
import socket
import stat
from time import monotonic, sleep
from typing import Final

CHUNK: Final = 64 * 1024


class Unreachable(Exception):
    """No queue answers at the path: one line for the user."""


class SocketLines:
    """A connection to a socket of a queue. It blocks.

    The constructor takes at most `timeout` seconds. It raises Unreachable if no queue listens there, or if this user
    may not connect. A peer that sends a line of more than `longest` bytes is not a queue.
    """

    def __init__(self, path: str, timeout: float, longest: int) -> None:
        if not hasattr(socket, "AF_UNIX"):
            raise Unreachable("this platform has no Unix sockets")
        self.path, self._longest = path, longest
        self._received = bytearray()
        self._searched = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._connect(monotonic() + timeout)
        except BaseException:
            self._socket.close()
            raise

    def __repr__(self) -> str:
        return f"<SocketLines {self.path}>"

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def send(self, line: bytes, timeout: float) -> None:
        """Send a line, with its newline.

        Raises EOFError if the queue has closed the connection, and TimeoutError.
        """
        self._socket.settimeout(timeout)
        try:
            self._socket.sendall(line)
        except ConnectionError:
            raise EOFError from None

    def next(self, timeout: float) -> bytes | None:
        """Return the next line without its newline; None if there is none within `timeout` seconds.

        Raises EOFError if the queue has closed the connection, and Unreachable if the line is too long.
        """
        deadline = monotonic() + timeout
        while (line := self._take_line()) is None:
            if len(self._received) > self._longest:
                raise Unreachable(
                    f"{self.path}: it sends a line of more than {self._longest:,} bytes: this is no queue"
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
        return line

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
                return self._socket.connect(self.path)
            except (BlockingIOError, TimeoutError):  # the backlog of the listener is full
                if monotonic() >= deadline:
                    raise Unreachable(f"{self.path}: the program does not answer") from None
                sleep(0.01)
            except OSError as exc:
                raise Unreachable(f"{self.path}: {self._reason(exc)}") from None

    def _reason(self, exc: OSError) -> str:
        if isinstance(exc, FileNotFoundError):
            return "there is no socket: is the program running, with this path as its monitor= or --monitor?"
        if isinstance(exc, PermissionError):
            return "it is for the user only who runs the program"
        with contextlib.suppress(OSError):
            if not stat.S_ISSOCK(os.stat(self.path).st_mode):
                return "that is no socket"
        if isinstance(exc, ConnectionRefusedError):
            return "nobody listens there: the program that made it is gone"
        return str(exc.strerror or exc)
