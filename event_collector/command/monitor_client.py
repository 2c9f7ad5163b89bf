"""The other end of a queue's socket: connects to it, and reads one snapshot after the other."""

import argparse
import os
import socket
import stat
from time import monotonic, sleep
from typing import Final

from event_collector.command.usage import UsageError
from event_collector.watching.snapshot import Snapshot, decode_snapshot

__all__ = ["MonitorClient", "Unreachable", "add_path", "path_of"]

PATH_VARIABLE: Final = "EVENT_COLLECTOR_MONITOR"
"""The environment variable that names the socket where the command line does not."""
LONGEST: Final = 64 * 1024 * 1024
"""Bytes of a snapshot, at most: what sends more is no queue."""
CHUNK: Final = 64 * 1024


class Unreachable(Exception):
    """There is no queue at a path, or it does not answer: one line for the user."""


def add_path(parser: argparse.ArgumentParser) -> None:
    """Add the operand that names the socket."""
    parser.add_argument(
        "path", metavar="PATH", nargs="?", help=f"the socket of the queue (default: ${PATH_VARIABLE})"
    )


def path_of(given: str | None) -> str:
    """Return the path of the socket to look at.

    Raises:
        UsageError: nobody has named one.

    """
    path = given or os.environ.get(PATH_VARIABLE)
    if not path:
        raise UsageError(
            f"name the socket of the queue, the PATH of its monitor= or --monitor, here or in ${PATH_VARIABLE}"
        )
    return path


class MonitorClient:
    """A connection to the socket of a queue.

    Args:
        path: of the socket.
        timeout: seconds to be let in, at most.

    Raises:
        Unreachable: nobody listens there, or not to this user.

    """

    def __init__(self, path: str, timeout: float) -> None:
        if not hasattr(socket, "AF_UNIX"):
            raise Unreachable("this platform has no Unix sockets")
        self._path = path
        self._received = bytearray()
        self._looked_at = 0
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
        """Return the next snapshot; None when there is none within so many seconds.

        Raises:
            EOFError: the queue has ended.
            Unreachable: what was sent is no snapshot.

        """
        deadline = monotonic() + timeout
        while (line := self._take_line()) is None:
            if len(self._received) > LONGEST:
                raise Unreachable(
                    f"{self._path}: it sends a line of more than {LONGEST:,} bytes: this is no queue"
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

    def _take_line(self) -> bytes | None:
        end = self._received.find(b"\n", self._looked_at)
        if end < 0:
            self._looked_at = len(self._received)
            return None
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        self._looked_at = 0
        return line

    def _connect(self, deadline: float) -> None:
        while True:
            self._socket.settimeout(max(0.001, deadline - monotonic()))
            try:
                return self._socket.connect(self._path)
            except (BlockingIOError, TimeoutError):  # many wait to be let in
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
        try:
            is_socket = stat.S_ISSOCK(os.stat(self._path).st_mode)
        except OSError:
            is_socket = True
        if not is_socket:
            return "that is no socket"
        if isinstance(exc, ConnectionRefusedError):
            return "nobody listens there: the program that made it is gone"
        return str(exc.strerror or exc)
