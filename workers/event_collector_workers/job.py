"""A job, and the task that runs it in a worker."""

from collections.abc import Generator
from typing import Protocol, TypeAlias

import msgspec

Buffer = bytes | bytearray | memoryview

Steps: TypeAlias = Generator[tuple[Buffer, Buffer | None], bool | None, tuple[Buffer, Buffer | None]]
"""A job that gives parts: it yields the body and blob of each, and returns those of the reply. It is sent True to have
it end, else None."""

PARTS_AHEAD = 16
"""Parts that a handler may yield and nobody has read. More hide a longer way, and cost memory for each event."""


class TaskSpec(msgspec.Struct, frozen=True):
    """Refers to a task factory, which each worker calls once, before its first job."""

    reference: str
    """"module:qualname" of a callable that takes `argument` and returns a `Task`."""
    argument: bytes


class Task(Protocol):
    """The result of a task factory. Runs jobs in the worker's main thread, one at a time."""

    def run(self, body: bytes | memoryview, blob: bytes | None) -> tuple[Buffer, Buffer | None]:
        """Run one job and return the body and blob of the reply. An exception fails the job with TaskError."""

    def close(self) -> None:
        """Release resources when the worker stops in an orderly way. Tasks close in reverse order of opening."""


class PartsTask(Task, Protocol):
    """A task whose jobs give parts. They are suspended while their parts wait to be read, and others run meanwhile."""

    def produce(self, body: bytes | memoryview, blob: bytes | None) -> Steps:
        """Begin one job. An exception of the generator fails the job with TaskError."""


class Job:
    """One call of a task. Subclasses receive the outcome.

    Either `succeeded` or `failed` is called, exactly once, in the thread of the pool's event loop.

    Args:
        task: Index of the task in the pool's sequence of tasks.
        body: Passed to `Task.run`.
        blob: A large value, sent beside the body without a copy. It must not change until the job has ended.
        timeout: Seconds that the task may run, counted from its start in the worker; None for no limit.
    """

    __slots__ = ("_place", "blob", "body", "task", "timeout")

    def __init__(self, task: int, body: bytes, blob: Buffer | None = None, timeout: float | None = None) -> None:
        self.task = task
        self.body = body
        self.blob = blob
        self.timeout = timeout
        self._place: object = None

    def move_to(self, place: object) -> None:
        """Note which object of a pool has the job. For the pool only."""
        self._place = place

    def produced(self, body: bytes | memoryview, blob: bytes | None) -> bool:
        """Receive a part; return whether the job may go on. Else it is suspended, until the pool has it `go_on`."""
        return True

    def succeeded(self, body: bytes | memoryview, blob: bytes | None, elapsed: float) -> None:
        """Receive the reply. `elapsed`: seconds in `Task.run`, measured in the worker."""

    def failed(self, error: BaseException, elapsed: float) -> None:
        """Receive the error. `elapsed`: seconds that the task ran, or 0.0."""
