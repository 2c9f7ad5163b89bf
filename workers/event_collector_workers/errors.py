"""Every error of the worker pool: whose fault it was, which process, and what to do about it."""

from __future__ import annotations

import signal
from concurrent.futures.process import BrokenProcessPool

__all__ = [
    "JobCancelled",
    "JobTimeout",
    "PoolBroken",
    "PoolClosed",
    "TaskError",
    "WorkerCrashed",
    "WorkerPoolError",
    "WorkerStartError",
    "describe_exit",
]


class WorkerPoolError(Exception):
    """Base of every error that the worker pool reports; all of them survive pickle.

    Attributes:
        pid: The worker's process id; None where no single worker is concerned.

    """

    pid: int | None = None

    def __init__(self, message: str = "", *, pid: int | None = None) -> None:
        # Everything but the message is keyword-only and lands in __dict__: that is what pickle restores.
        super().__init__(message)
        self.pid = pid


class WorkerCrashed(BrokenProcessPool, WorkerPoolError):
    """The worker process ended in the middle of this job; whether the job took effect is unknown.

    Attributes:
        exitcode: The exit status; negative is the number of the signal; None when it could not be learned.

    """

    exitcode: int | None = None

    def __init__(self, message: str = "", *, pid: int | None = None, exitcode: int | None = None) -> None:
        WorkerPoolError.__init__(self, message, pid=pid)
        self.exitcode = exitcode


class JobTimeout(WorkerPoolError, TimeoutError):
    """The job ran longer than its timeout, and its worker was killed for it.

    Attributes:
        timeout: The limit in seconds.

    """

    timeout: float = 0.0

    def __init__(self, message: str = "", *, pid: int | None = None, timeout: float = 0.0) -> None:
        WorkerPoolError.__init__(self, message, pid=pid)
        self.timeout = timeout


class JobCancelled(WorkerPoolError):
    """The job was cancelled: withdrawn before it started, or killed together with its worker."""


class TaskError(WorkerPoolError):
    """The task itself raised where it should have replied: the text is the worker's traceback."""


class PoolClosed(WorkerPoolError):
    """The pool is closing, closed or was aborted; it takes no job and finishes none."""


class WorkerStartError(WorkerPoolError):
    """A worker could not be started: the text holds the traceback of the child where it left one.

    Attributes:
        exitcode: The child's exit status; negative is the number of the signal; None when it did not exit.

    """

    exitcode: int | None = None

    def __init__(self, message: str = "", *, pid: int | None = None, exitcode: int | None = None) -> None:
        super().__init__(message, pid=pid)
        self.exitcode = exitcode


class PoolBroken(BrokenProcessPool, WorkerPoolError):
    """The breaker is open: workers died too often in a row, so jobs fail at once until it closes.

    Attributes:
        retry_in: Seconds until the pool tries another worker, counted from the moment of this error.

    """

    retry_in: float = 0.0

    def __init__(self, message: str = "", *, pid: int | None = None, retry_in: float = 0.0) -> None:
        WorkerPoolError.__init__(self, message, pid=pid)
        self.retry_in = retry_in


def describe_exit(exitcode: int | None) -> str:
    """Say in words how a process ended: its signal by name, or its exit code."""
    if exitcode is None:
        return "ended in an unknown way"
    if exitcode >= 0:
        return f"exited with code {exitcode}"
    try:
        name = signal.Signals(-exitcode).name
    except ValueError:
        name = f"signal {-exitcode}"
    return f"was killed by {name}{_HINTS.get(name, '')}"


_HINTS = {
    "SIGKILL": " (often the kernel's out-of-memory killer)",
    "SIGXCPU": " (its limit of CPU seconds, cpu_seconds, is used up)",
}
