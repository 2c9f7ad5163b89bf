"""A listening Unix socket with a path: for its user only, one program at a time, removed at the end.

What a dead program has left behind is replaced. A socket that somebody listens on, another user's, and whatever is no
socket are refused and never touched.
"""

import contextlib
import os
import socket
import stat
import struct
import sys
from collections.abc import Iterator
from time import monotonic, sleep
from typing import Any, Final

from event_collector.values.errors import ConfigError, MonitorError

if sys.platform != "win32":
    import fcntl

__all__ = ["SocketFile", "check_path"]

LONGEST: Final = 107 if sys.platform == "linux" else 103
"""Bytes of the path of a Unix socket, at most: so the kernel has it."""
BACKLOG: Final = 16
PATIENCE: Final = 1.0
"""Seconds to wait for another program that opens a socket in the same folder at the same time."""


def check_path(path: Any) -> str:
    """Return the path of a socket that is to be made, as an absolute one.

    Raises:
        ConfigError: no socket can have this path.

    """
    if (
        not isinstance(path, (str, os.PathLike))
        or not isinstance(os.fspath(path), str)
        or not os.fspath(path)
    ):
        raise ConfigError(
            f"monitor takes the path of a socket to make, such as '/run/app/queue.sock', not {path!r}"
        )
    if not hasattr(socket, "AF_UNIX") or sys.platform == "win32":
        raise ConfigError("monitor needs Unix sockets, which this platform does not have")
    full = os.path.abspath(path)
    if "\0" in full or len(os.fsencode(full)) > LONGEST:
        raise ConfigError(
            f"monitor: the path of a socket has at most {LONGEST} bytes, and no zero byte; {full!r} has "
            f"{len(os.fsencode(full))}: choose a shorter one"
        )
    return full


class SocketFile:
    """A socket that listens at a path, from the beginning until `close()`.

    Args:
        path: absolute; its folder must exist.

    Raises:
        MonitorError: somebody listens there, or it cannot be had; the message says why and what to do.

    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _alone_in(os.path.dirname(path), path):
                _clear(path)
                self._bind()
        except OSError as exc:
            self.socket.close()
            if isinstance(exc, MonitorError):
                raise
            raise _cannot(path, exc) from exc

    def _bind(self) -> None:
        with contextlib.suppress(OSError):  # Linux makes the file with the mode of the socket, others do not
            os.fchmod(self.socket.fileno(), 0o600)
        self.socket.bind(self.path)
        made = os.lstat(self.path)
        self._made = made.st_dev, made.st_ino
        if stat.S_IMODE(made.st_mode) != 0o600:
            os.chmod(self.path, 0o600)
        self.socket.setblocking(False)
        self.socket.listen(BACKLOG)  # until now nobody could connect, whatever the mode was

    def close(self) -> None:
        """Listen no more, and remove the file, if it still is this one."""
        self.socket.close()
        with contextlib.suppress(OSError):
            there = os.lstat(self.path)
            if (there.st_dev, there.st_ino) == self._made:
                os.unlink(self.path)


@contextlib.contextmanager
def _alone_in(folder: str, path: str) -> Iterator[None]:
    """Hold the folder's lock: of two programs that find a dead socket, the second must not remove the first's."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        raise _cannot(path, exc) from exc
    try:
        deadline = monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if monotonic() >= deadline:
                    raise MonitorError(
                        f"the socket {path} cannot be made: another program locks its folder"
                    ) from None
                sleep(0.01)
            except OSError:  # a file system without locks: two that start at once are on their own
                break
            else:
                break
        yield
    finally:
        os.close(fd)


def _clear(path: str) -> None:
    """Remove the socket of a dead program; refuse whatever else is in the way."""
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(there.st_mode):
        what = {stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a folder"}.get(
            stat.S_IFMT(there.st_mode), "a file"
        )
        raise MonitorError(
            f"the socket {path} cannot be made: {what} is there, which is not touched. Choose another path"
        )
    if there.st_uid != os.geteuid():
        raise MonitorError(
            f"the socket {path} cannot be made: the user with id {there.st_uid} has one there, which is not touched. "
            f"Choose another path"
        )
    holder = _listener(path)
    if holder is not None:
        raise MonitorError(
            f"the socket {path} is in use by {holder}: end that program first, or give this one a path of its own"
        )
    os.unlink(path)


def _listener(path: str) -> str | None:
    """Return who listens at a socket, in words; None if nobody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
        knock.setblocking(False)
        try:
            knock.connect(path)
        except ConnectionRefusedError:
            return None
        except BlockingIOError:  # so many wait to be let in that it must be somebody
            return "another process"
        if not hasattr(socket, "SO_PEERCRED"):
            return "another process"
        pid, _, _ = struct.unpack("3i", knock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return (
            f"another queue of this process, pid {pid}"
            if pid == os.getpid()
            else f"another process, pid {pid}"
        )


def _cannot(path: str, exc: OSError) -> MonitorError:
    return MonitorError(
        f"the socket {path} cannot be made: {exc.strerror}. It needs a folder that exists and that this user may "
        f"write to"
    )
