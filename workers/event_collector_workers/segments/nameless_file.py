"""Files without a name, for memory that processes share. They vanish with the last process that has them open."""

import mmap
import os
import sys
from typing import Any, Final

_MAPPED_ALONE: Final[dict[str, Any]] = {"trackfd": False} if sys.version_info >= (3, 13) else {}
"""Since Python 3.13, a mapping needs no descriptor."""

_POPULATE: Final = 23  # MADV_POPULATE_WRITE of Linux 5.14, which no module has


def create_nameless_file(flags: int = 0) -> int:
    """Return the descriptor of an empty file. `flags`: of `memfd_create()`, where there is one. Raises OSError."""
    try:
        return os.memfd_create("event_collector_workers", os.MFD_CLOEXEC | flags)
    except (AttributeError, OSError):  # another platform, a Python built for an old one, a sandbox
        import tempfile  # takes a worker longer to import than the whole transport

        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())


def map_file(fd: int, size: int, access: int = mmap.ACCESS_WRITE) -> mmap.mmap:
    """Map the first `size` bytes of a file. Raises OSError, for example beyond RLIMIT_AS."""
    return mmap.mmap(fd, size, access=access, **_MAPPED_ALONE)


def allocate(fd: int, mapping: mmap.mmap, start: int, size: int) -> None:
    """Allocate a part of a mapped file, so that writing to the mapping cannot fail. Raises OSError if memory runs out.

    Writing to pages that are not there would end the process by SIGBUS if the file system is full, and faults are slow.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, start, size)
    else:
        os.pwrite(fd, bytes(size), start)
    try:
        mapping.madvise(_POPULATE, start, size)
    except (AttributeError, OSError, ValueError):  # an older kernel, another platform: the pages come one by one
        pass
