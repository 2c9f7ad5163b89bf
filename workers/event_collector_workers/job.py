"""What a caller hands to the pool: a job, and the task that runs it in a worker."""

from __future__ import annotations

from typing import Protocol

import msgspec

__all__ = ["Buffer", "Job", "Task", "TaskSpec"]

Buffer = bytes | bytearray | memoryview


class TaskSpec(msgspec.Struct, frozen=True):
    """Names a task factory, which each worker calls once, before its first job."""

    reference: str
    """"module:qualname" of a callable that takes `argument` and returns a `Task`."""
    argument: bytes


class Task(Protocol):
    """What a task factory returns: runs jobs in the worker's main thread, one at a time."""

    def run(self, body: bytes | memoryview, blob: bytes | None) -> tuple[Buffer, Buffer | None]:
        """Run one job; return the reply's body and blob. What it raises fails the job with TaskError."""

    def close(self) -> None:
        """Called when the worker stops in an orderly way; tasks close in reverse order of opening."""


class Job:
    """One call of a task. Callers subclass it to receive the outcome.

    Exactly one of `succeeded` and `failed` is called, exactly once, in the thread of the pool's event loop.

    Args:
        task: Index of the task in the pool's sequence of tasks. body: Handed to `Task.run`. blob: A large
        value, sent beside the body without being copied; must not change until the job has ended. timeout:
        Seconds that the task may run, counted from its start in the worker; None for no limit.

    """

    __slots__ = ("_place", "blob", "body", "task", "timeout")

    def __init__(
        self, task: int, body: bytes, blob: Buffer | None = None, timeout: float | None = None
    ) -> None:
        self.task = task
        self.body = body
        self.blob = blob
        self.timeout = timeout
        self._place: object = None

    def succeeded(self, body: bytes | memoryview, blob: bytes | None, elapsed: float) -> None:
        """Receive the reply. `elapsed`: seconds inside `Task.run`, measured in the worker."""

    def failed(self, error: BaseException, elapsed: float) -> None:
        """Receive the reason why there is no reply. `elapsed`: seconds that the task ran, or 0.0."""
