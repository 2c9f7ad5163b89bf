"""What one worker process may take of the machine, kept by the kernel; an exceeded limit is told by name."""

from __future__ import annotations

import errno
import os
import sys
from typing import Final

import msgspec

__all__ = ["WorkerLimits", "apply", "explain"]

GRACE: Final = 5
"""CPU seconds between the signal that ends a worker and the one that it cannot ignore."""

_RESOURCES: Final = {"address_space": "RLIMIT_AS", "cpu_seconds": "RLIMIT_CPU", "open_files": "RLIMIT_NOFILE"}


class WorkerLimits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Limits of each worker process; None for none. What handlers start inherits them.

    Attributes:
        address_space: bytes of memory it may map, which is more than it uses. Beyond it, MemoryError.
        cpu_seconds: of CPU time in its whole life. Beyond it, it is killed, its event ends with WorkerCrashed, and
            another worker takes its place.
        open_files: files and sockets it may have open at once, its own few among them. Beyond it, OSError.

    Raises:
        ValueError: A limit is no whole number of at least 1, or this platform cannot keep it.

    """

    address_space: int | None = None
    cpu_seconds: int | None = None
    open_files: int | None = None

    def __post_init__(self) -> None:
        for name, resource_name in _RESOURCES.items():
            value = getattr(self, name)
            if value is None:
                continue
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} is a whole number of at least 1, not {value!r}")
            if not _is_kept(resource_name):
                raise ValueError(f"{name} cannot be limited on this platform, {sys.platform}")

    def __str__(self) -> str:
        given = ((name, getattr(self, name)) for name in _RESOURCES)
        return ", ".join(f"{name}={value}" for name, value in given if value is not None) or "none"


def _is_kept(resource_name: str) -> bool:
    try:
        import resource
    except ImportError:  # Windows
        return False
    return hasattr(resource, resource_name) and not (
        sys.platform == "darwin" and resource_name == "RLIMIT_AS"
    )


_applied: list[WorkerLimits] = []
"""Of this process; written once, at its start."""


def apply(limits: WorkerLimits) -> None:
    """Set the limits of this process.

    Raises:
        ValueError: One is above what this process may have.

    """
    import resource

    for name, resource_name in _RESOURCES.items():
        value = getattr(limits, name)
        if value is not None:
            most = value + GRACE if name == "cpu_seconds" else value
            try:
                resource.setrlimit(getattr(resource, resource_name), (value, most))
            except (ValueError, OSError) as exc:
                raise ValueError(f"{name}={value} cannot be set: {exc}") from exc
    _applied[:] = [limits]


def explain(error: BaseException) -> None:
    """Add to an error of this process which limit it comes from, if it does."""
    if not _applied:
        return
    limits = _applied[0]
    if isinstance(error, MemoryError) and limits.address_space is not None:
        error.add_note(f"a worker may map {limits.address_space} bytes of memory (address_space)")
    elif (
        isinstance(error, OSError)
        and error.errno in (errno.EMFILE, errno.ENOMEM)
        and _limit_of(error, limits)
    ):
        error.add_note(f"a worker may have {_limit_of(error, limits)}")


def _limit_of(error: OSError, limits: WorkerLimits) -> str:
    if error.errno == errno.EMFILE and limits.open_files is not None:
        return f"{limits.open_files} files open (open_files); pid {os.getpid()}"
    if error.errno == errno.ENOMEM and limits.address_space is not None:
        return f"{limits.address_space} bytes of memory mapped (address_space)"
    return ""
