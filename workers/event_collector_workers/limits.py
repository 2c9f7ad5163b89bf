"""Resource limits of one worker process, enforced by the kernel. Errors name the limit that was exceeded."""

import errno
import os
import sys
from typing import Final

import msgspec

GRACE: Final = 5
"""CPU seconds between SIGXCPU, which a worker may handle, and SIGKILL."""

_RESOURCES: Final = {"address_space": "RLIMIT_AS", "cpu_seconds": "RLIMIT_CPU", "open_files": "RLIMIT_NOFILE"}


class WorkerLimits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Limits of each worker process; None for no limit. Processes that handlers start inherit them.

    Attributes:
        address_space: Bytes of memory that a worker may map, which is more than it uses. Beyond it, MemoryError.
        cpu_seconds: Seconds of CPU time in its whole life. Beyond it, the worker is killed and replaced, and its event
            ends with WorkerCrashed.
        open_files: Files and sockets that it may have open at once, including the few of the worker itself. Beyond
            it, OSError.

    Raises:
        ValueError: A limit is not an integer of at least 1, or this platform cannot enforce it.
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
            if not _is_enforceable(resource_name):
                raise ValueError(f"{name} cannot be limited on this platform, {sys.platform}")

    def __str__(self) -> str:
        values = ((name, getattr(self, name)) for name in _RESOURCES)
        return ", ".join(f"{name}={value}" for name, value in values if value is not None) or "none"


def _is_enforceable(resource_name: str) -> bool:
    try:
        import resource
    except ImportError:  # Windows
        return False
    return hasattr(resource, resource_name) and not (sys.platform == "darwin" and resource_name == "RLIMIT_AS")


_applied: list[WorkerLimits] = []
"""The limits of this process. `apply` writes them once, at its start."""


def apply(limits: WorkerLimits) -> None:
    """Set the limits of this process. Raises ValueError if one is above the maximum of this process."""
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
    """Add a note to an error of this process that names the exceeded limit, if there is one."""
    if not _applied or not issubclass(type(error), (OSError, MemoryError)):  # an odd __class__ may raise
        return
    limits = _applied[0]
    number = error.errno if isinstance(error, OSError) else None
    if (isinstance(error, MemoryError) or number == errno.ENOMEM) and limits.address_space is not None:
        error.add_note(f"a worker may map {limits.address_space} bytes of memory (address_space)")
    elif number == errno.EMFILE and limits.open_files is not None:
        error.add_note(f"a worker may have {limits.open_files} files open (open_files); pid {os.getpid()}")
