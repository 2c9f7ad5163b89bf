"""A listening Unix socket with a path: for its user only, one program at a time, removed at the end.

The socket of a dead program is replaced. A socket in use, another user's socket, and anything else at the path are
refused and never touched.
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

LONGEST: Final = 107 if sys.platform == "linux" else 103
"""Bytes of a socket's path at most, a limit of the kernel."""
BACKLOG: Final = 16
PATIENCE: Final = 1.0
"""Seconds to wait for another program that opens a socket in the same folder."""


def check_path(path: Any) -> str:
    """Return the absolute path of a socket to make, or raise ConfigError if a socket cannot have this path."""
    if not isinstance(path, (str, os.PathLike)) or not isinstance(os.fspath(path), str) or not os.fspath(path):
        raise ConfigError(
            f"monitor takes a Monitor, or the path of a socket to make, such as '/run/app/queue.sock', not {path!r}"
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
    """A socket that listens until `close()` at an absolute path, whose folder must exist.

    Raises MonitorError if the socket is in use, or cannot be made; the message says why and what to do.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _folder_lock(path):
                _clear(path)
                self._bind()
        except BaseException as exc:
            self.socket.close()
            if isinstance(exc, OSError) and not isinstance(exc, MonitorError):
                needed = "It needs a folder that exists and that this user may write to"
                raise _refusal(path, f"{exc.strerror}. {needed}") from exc
            raise

    def __repr__(self) -> str:
        return f"<SocketFile {self.path}>"

    def _bind(self) -> None:
        with contextlib.suppress(AttributeError, OSError):  # only Linux gives the file the mode of the socket
            os.fchmod(self.socket.fileno(), 0o600)
        self.socket.bind(self.path)
        made = os.lstat(self.path)
        self._made = made.st_dev, made.st_ino
        if stat.S_IMODE(made.st_mode) != 0o600:
            os.chmod(self.path, 0o600)
        self.socket.setblocking(False)
        self.socket.listen(BACKLOG)  # before this, nothing could connect, whatever the mode

    def close(self) -> None:
        """Stop listening, and remove the file unless another has taken its place."""
        self.socket.close()
        with contextlib.suppress(OSError):
            there = os.lstat(self.path)
            if (there.st_dev, there.st_ino) == self._made:
                os.unlink(self.path)


@contextlib.contextmanager
def _folder_lock(path: str) -> Iterator[None]:
    """Lock the folder: of two programs that find a dead socket, the second must not remove the socket of the first."""
    fd = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = monotonic() + PATIENCE
        while not _try_lock(fd):
            if monotonic() >= deadline:
                raise _refusal(path, "another program locks its folder")
            sleep(0.01)
        yield
    finally:
        os.close(fd)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # the file system has no locks: two programs that start at once may collide
        pass
    return True


def _clear(path: str) -> None:
    """Remove the socket of a dead program; refuse anything else at the path."""
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(there.st_mode):
        kinds = {stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a folder"}
        kind = kinds.get(stat.S_IFMT(there.st_mode), "a file")
        raise _refusal(path, f"{kind} is there, which is not touched. Choose another path")
    if there.st_uid != os.geteuid():
        owner = f"the user with id {there.st_uid}"
        raise _refusal(path, f"{owner} has one there, which is not touched. Choose another path")
    holder = _listener(path)
    if holder is not None:
        raise MonitorError(
            f"the socket {path} is in use by {holder}: end that program first, or give this one a path of its own"
        )
    os.unlink(path)


def _listener(path: str) -> str | None:
    """Return the process that listens at a socket, in words; None for a dead socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return None
        except BlockingIOError:  # its backlog is full, so a process listens
            return "another process"
        if not hasattr(socket, "SO_PEERCRED"):
            return "another process"
        pid, _, _ = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return f"another {'queue of this process' if pid == os.getpid() else 'process'}, pid {pid}"


def _refusal(path: str, reason: str) -> MonitorError:
    return MonitorError(f"the socket {path} cannot be made: {reason}")
