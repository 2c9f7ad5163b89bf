"""The client of a queue's monitor socket: connects to it and reads snapshots."""

import argparse
import os
from typing import Final

from event_collector.command.options import UsageError
from event_collector.watching.snapshot import Snapshot, decode_snapshot
from event_collector.watching.socket_lines import SocketLines, Unreachable

PATH_VARIABLE: Final = "EVENT_COLLECTOR_MONITOR"  # the environment variable with the default path of the socket
MAX_SNAPSHOT: Final = 64 * 1024 * 1024  # bytes of a snapshot, at most: a peer that sends more is not a queue


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
    """A connection to the socket of a queue; see SocketLines."""

    def __init__(self, path: str, timeout: float) -> None:
        self._lines = SocketLines(path, timeout, MAX_SNAPSHOT)

    def close(self) -> None:
        """End the connection."""
        self._lines.close()

    def next(self, timeout: float) -> Snapshot | None:
        """Return the next snapshot; None if there is none within `timeout` seconds.

        Raises EOFError if the queue has closed the connection, and Unreachable if the peer did not send a snapshot.
        """
        line = self._lines.next(timeout)
        if line is None:
            return None
        try:
            return decode_snapshot(line)
        except ValueError as exc:
            raise Unreachable(f"{self._lines.path}: {exc}") from None

    def ask(self, request: bytes, timeout: float) -> bytes:
        """Send a request, and return the line that answers it.

        Raises Unreachable if there is no answer within `timeout` seconds.
        """
        try:
            self._lines.send(request, timeout)
            answer = self._lines.next(timeout)
        except TimeoutError:
            answer = None
        except EOFError:
            raise Unreachable(f"{self._lines.path}: the program has closed the connection") from None
        if answer is None:
            raise Unreachable(
                f"{self._lines.path}: no answer within {timeout:g} s: the program is stopped, or native code holds its "
                "GIL"
            )
        return answer
