"""Errors of the worker pool. Each one says what happened, to which process, and what to do about it."""

import signal
from concurrent.futures.process import BrokenProcessPool

from event_collector_workers.base_error import EventCollectorException


class WorkerPoolError(EventCollectorException):
    """The base of every error that the worker pool reports. All of them survive pickle."""

    pid: int | None = None
    """The worker's process id; None if no single worker is concerned."""

    def __init__(self, message: str = "", *, pid: int | None = None) -> None:
        # Everything but the message is keyword-only and lands in __dict__, which is what pickle restores.
        super().__init__(message)
        self.pid = pid


class _ProcessError(WorkerPoolError):
    """A worker process ended."""

    exitcode: int | None = None
    """The exit status. A negative number is a signal; None if the status is unknown."""

    def __init__(self, message: str = "", *, pid: int | None = None, exitcode: int | None = None) -> None:
        super().__init__(message, pid=pid)
        self.exitcode = exitcode


class WorkerCrashed(_ProcessError, BrokenProcessPool):
    """The worker process ended during this job. It is unknown whether the job took effect."""

    stack: str = ""
    """The Python stack of a process that a fatal signal has ended, which is a note of the error too; else empty."""

    def __init__(
        self, message: str = "", *, pid: int | None = None, exitcode: int | None = None, stack: str = ""
    ) -> None:
        super().__init__(message, pid=pid, exitcode=exitcode)
        self.stack = stack
        if stack:
            self.add_note(f"The Python stack of the worker when it crashed:\n{stack}")


class WorkerStartError(_ProcessError):
    """A worker could not be started. The text holds the child's traceback if it left one."""


class JobTimeout(WorkerPoolError, TimeoutError):
    """The job exceeded its timeout, and its worker was killed."""

    timeout: float = 0.0
    """The limit in seconds."""
    stack: str = ""
    """The Python stack of the worker before it was killed, which is a note of the error too; empty if it is unknown."""
    place: str = ""
    """Where that stack ends: function, file and line."""

    def __init__(
        self, message: str = "", *, pid: int | None = None, timeout: float = 0.0, stack: str = "", place: str = ""
    ) -> None:
        super().__init__(message, pid=pid)
        self.timeout = timeout
        self.stack, self.place = stack, place
        if stack:
            self.add_note(f"The Python stack of the worker before it was killed:\n{stack}")


class JobSilent(JobTimeout):
    """The job reported no progress for as long as its heartbeat, and its worker was killed."""


class JobCancelled(WorkerPoolError):
    """The job was cancelled: withdrawn before it started, or killed together with its worker."""


class TaskError(WorkerPoolError):
    """The task raised instead of replying. The text is the worker's traceback."""


class PoolClosed(WorkerPoolError):
    """The pool is closing, closed or aborted. It accepts no job and finishes none."""


class PoolBroken(WorkerPoolError, BrokenProcessPool):
    """The breaker is open: too many workers in a row have died, so jobs fail at once until it closes."""

    retry_in: float = 0.0
    """Seconds from the creation of this error until the pool starts a worker again."""

    def __init__(self, message: str = "", *, pid: int | None = None, retry_in: float = 0.0) -> None:
        super().__init__(message, pid=pid)
        self.retry_in = retry_in


def crash_error(number: int, pid: int | None, exitcode: int | None, complaint: str, stack: str) -> WorkerCrashed:
    """Return the error of a job during which its worker ended."""
    reason = f"; {complaint}" if complaint else ""
    return WorkerCrashed(
        f"worker {number} (pid {pid}) {describe_exit(exitcode)} while it ran this job{reason}; the job may have taken "
        "effect. Look for what ended the process: a crash in native code, too little memory, os._exit or sys.exit",
        pid=pid,
        exitcode=exitcode,
        stack=stack,
    )


def describe_exit(exitcode: int | None) -> str:
    """Describe how a process ended: the name of its signal, or its exit code."""
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
