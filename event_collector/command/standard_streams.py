"""Standard input, output and error of the command, in whatever state the parent process hands them over.

They may be closed. They may have O_NONBLOCK, which belongs to the pipe or terminal and not to a process: a parent with
an event loop leaves it set, and may set it at any time. A health probe imports this, so it imports little.
"""

import contextlib
import io
import os
import select
import sys

from event_collector.command.options import UsageError


def prepare_standard_streams() -> None:
    """Make the descriptors 0 to 2 open and blocking, and have errors of writing to standard error ignored."""
    for fd in range(3):
        try:
            if not os.get_blocking(fd):
                _make_blocking(fd)
        except OSError:  # closed: the next file that is opened would get its number
            _replace(fd, os.open(os.devnull, os.O_RDWR))
    if sys.stderr is sys.__stderr__:  # not replaced by a test
        encoding = "utf-8" if sys.stderr is None else sys.stderr.encoding
        raw = _ForgivingFile(2, "w", closefd=False)
        sys.stderr = io.TextIOWrapper(raw, encoding, "backslashreplace", line_buffering=True)


def take_standard_streams() -> tuple[int | None, int]:
    """Return private descriptors of standard input (None if it is closed) and standard output.

    From now on handlers, also in worker processes, read nothing from standard input, and what they print goes to
    standard error, where it cannot garble the output.
    """
    sys.stdout.flush()
    stdin, stdout = None if sys.stdin is None else os.dup(0), os.dup(1)
    _replace(0, os.open(os.devnull, os.O_RDWR))
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return stdin, stdout


def require_stdout() -> None:
    """Raise UsageError if standard output is closed."""
    if sys.stdout is None:
        raise UsageError("standard output is closed")


def read_some(fd: int, size: int) -> bytes:
    """Return the next bytes, at least one; none at the end. Blocks, also if the descriptor does not."""
    while True:
        try:
            return os.read(fd, size)
        except BlockingIOError:
            _wait(fd, select.POLLIN)


def write_all(fd: int, data: bytes) -> None:
    """Write all of the data. Blocks, also if the descriptor does not."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            _wait(fd, select.POLLOUT)


class _ForgivingFile(io.FileIO):
    """What is written here helps the user. No event may fail because the disk is full or the reader has gone."""

    def write(self, data: bytes) -> int:  # type: ignore[override]  # of a Buffer
        with contextlib.suppress(OSError):
            write_all(self.fileno(), data)
        return len(data)


def _make_blocking(fd: int) -> None:
    """Open the pipe or terminal anew if possible: its flags are then not those that other processes use."""
    mode = os.O_RDONLY if fd == 0 else os.O_WRONLY
    try:
        # With O_NONBLOCK, since it would wait for the other end of a pipe that is closed.
        _replace(fd, os.open(f"/proc/self/fd/{fd}", mode | os.O_NONBLOCK | os.O_NOCTTY))
    except OSError:  # a socket, or not Linux
        pass
    os.set_blocking(fd, True)


def _replace(fd: int, by: int) -> None:
    """Let `fd` be the file of the descriptor `by`, for child processes too; `by` is closed."""
    os.dup2(by, fd)
    if by == fd:
        os.set_inheritable(fd, True)
    else:
        os.close(by)


def _wait(fd: int, event: int) -> None:
    poll = select.poll()
    poll.register(fd, event)
    poll.poll()
