"""The client of a control socket: sends requests, and returns the answers."""

import os
from typing import Final

import msgspec

from event_collector.control.control_messages import (
    LONGEST_ANSWER,
    SUFFIX,
    Answer,
    ProfileRequest,
    Request,
    decode_answer,
    encode_message,
)
from event_collector.watching.socket_lines import SocketLines, Unreachable

TIMEOUT: Final = 60.0
"""Seconds that a program may take to answer: its bound for slow actions is 30 s."""
CONNECT_TIMEOUT: Final = 5.0


class ControlClient:
    """A connection to the control socket beside the monitor socket at `path`.

    It blocks. One thread at a time may use it.

    Raises:
        Unreachable: no queue listens there, its monitor was made without `control=True`, or it is another user's. The
            text is one line for the user.
    """

    def __init__(self, path: str | os.PathLike[str], timeout: float = CONNECT_TIMEOUT) -> None:
        self._path = os.fspath(path)
        try:
            self._lines = SocketLines(self._path + SUFFIX, timeout, LONGEST_ANSWER)
        except Unreachable as exc:
            if os.path.exists(self._path) and not os.path.exists(self._path + SUFFIX):
                raise Unreachable(
                    f"{self._path}: this queue cannot be controlled from outside: its program has to make it with "
                    "monitor=Monitor(path, control=True)"
                ) from None
            raise exc from None

    def __repr__(self) -> str:
        return f"<ControlClient {self._path}>"

    def close(self) -> None:
        """End the connection."""
        self._lines.close()

    def ask(self, request: Request, timeout: float = TIMEOUT) -> Answer:
        """Send a request and return its answer; a profile may take its seconds longer than `timeout`.

        Raises:
            Unreachable: the program has closed the connection, or does not answer. Whether the action was carried out
                is not known then.
        """
        if isinstance(request, ProfileRequest):
            timeout += request.seconds
        try:
            self._lines.send(encode_message(request) + b"\n", timeout)
            line = self._lines.next(timeout)
        except EOFError:
            raise Unreachable(f"{self._path}: the program has closed the connection") from None
        except TimeoutError:
            line = None
        if line is None:
            raise Unreachable(f"{self._path}: no answer within {timeout:g} s: the program is stopped, or very busy")
        try:
            return decode_answer(line)
        except (msgspec.DecodeError, RecursionError) as exc:
            raise Unreachable(f"{self._path}: what it sent is no answer to a request: {exc}") from None
