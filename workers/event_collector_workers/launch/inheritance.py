"""What an import has left in this process that its forks would share: descriptors, threads, memory."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat
import sys
import threading
import time
import warnings
from typing import Final, NamedTuple

_HARMLESS: Final = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
"""Devices without a position and without a peer: processes may share them."""
_SEMAPHORE: Final = "/dev/shm/sem."  # noqa: S108 - a lock of multiprocessing, which is made to be shared
_SHARED: Final = re.compile(r"^(\w+)-\w+ .w.s \S+ \S+ \S+ *(.*)$", re.MULTILINE).findall
"""Finds the addresses and paths of writable memory that is shared, in /proc/self/maps."""
_LINGERING: Final = 0.02  # seconds that a thread which has been joined may take to be gone
_LOOKS: Final = 20


class OpenFile(NamedTuple):
    """An open file: two descriptors with the same number need not mean the same one."""

    fd: int
    device: int
    inode: int


class Inheritance:
    """The descriptors, threads and shared memory of this process at one moment."""

    def __init__(self) -> None:
        self._files = _open_files()
        self._memory = _shared_memory()
        self.threads = threads()

    def __repr__(self) -> str:
        return f"<Inheritance files={len(self._files)} threads={self.threads}>"

    def new_files(self) -> list[int]:
        """Return the descriptors that have been opened since and that processes must not share."""
        return sorted(file.fd for file in _open_files() - self._files if not _is_harmless(file.fd))

    def addition(self) -> str | None:
        """Say what this process has had since that moment and its forks must not share; None if there is nothing."""
        new = self.new_files()
        if new:
            return f"it opens {_describe(new[0])}" + (f" and {len(new) - 1} more" if len(new) > 1 else "")
        if not are_gone(self.threads):
            names = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
            return f"it starts a thread, {names[0]!r}" if names else "it starts a thread in native code"
        memory = _shared_memory() - self._memory
        return f"it maps memory that processes share ({min(memory)})" if memory else None


def threads() -> int:
    """Return the number of threads; without /proc, of those of Python."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return threading.active_count()


def are_gone(before: int) -> bool:
    """Return whether no more threads than before are left after a fork.

    Libraries such as OpenBLAS end their threads as a process forks, and start them again when they are needed. The
    fork that shows it does nothing but end.
    """
    if threads() <= before:
        return True
    if threading.active_count() == 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python warns of forks of a process with threads
            child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
    for _ in range(_LOOKS):
        if threads() <= before:
            return True
        time.sleep(_LINGERING / _LOOKS)
    return False


def _open_files() -> set[OpenFile]:
    found: set[OpenFile] = set()
    with contextlib.suppress(OSError):
        for name in os.listdir("/dev/fd"):
            with contextlib.suppress(OSError):
                status = os.fstat(int(name))  # the descriptor of the listing itself is closed by now
                found.add(OpenFile(int(name), status.st_dev, status.st_ino))
    return found


def _is_harmless(fd: int) -> bool:
    # The process of multiprocessing that removes its semaphores is one for all forks, as they are.
    tracker = getattr(sys.modules.get("multiprocessing.resource_tracker"), "_resource_tracker", None)
    if fd == getattr(tracker, "_fd", None):
        return True
    status = os.fstat(fd)
    if not stat.S_ISCHR(status.st_mode):
        return False
    for path in _HARMLESS:
        with contextlib.suppress(OSError):
            if os.stat(path).st_rdev == status.st_rdev:
                return True
    return False


def _describe(fd: int) -> str:
    mode = os.fstat(fd).st_mode
    if stat.S_ISSOCK(mode):
        with socket.socket(fileno=os.dup(fd)) as copy, contextlib.suppress(OSError):
            peer = copy.getpeername()
            if isinstance(peer, tuple):
                return f"a socket to {peer[0]} port {peer[1]}"
        return "a socket"
    if stat.S_ISFIFO(mode):
        return "a pipe"
    try:
        target = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return "a file"
    kind = target.removeprefix("anon_inode:").strip("[]")
    return f"the file {target}" if kind == target else "an epoll" if kind == "eventpoll" else f"a descriptor ({kind})"


def _shared_memory() -> set[str]:
    """Return the files, or ends of an address, whose writable memory this process shares. Only Linux tells."""
    try:
        with open("/proc/self/maps") as maps:
            shared = _SHARED(maps.read())
    except OSError:
        return set()
    return {f"{path or 'without a file'}, at {address}" for address, path in shared if not path.startswith(_SEMAPHORE)}
