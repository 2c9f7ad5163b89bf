"""A job, and the task that runs it in a worker."""

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import ClassVar, NamedTuple, Protocol, TypeAlias, TypeVar

import msgspec

Buffer = bytes | bytearray | memoryview
T = TypeVar("T")

Blob = Buffer | list[Buffer]
"""A large value: contiguous bytes, or several that are sent one after the other and arrive as one."""

Copy: TypeAlias = Callable[[Sequence[Buffer]], memoryview]
"""Returns the bytes of its argument, one after the other, in read-only memory of their own."""

Steps: TypeAlias = Generator[tuple[Buffer, Blob | None], bool | None, tuple[Buffer, Blob | None]]
"""A job that gives parts: it yields the body and blob of each, and returns those of the reply. It is sent True to have
it end, else None."""

PARTS_AHEAD = 16
"""Parts that a handler may yield and nobody has read. More hide a longer way, and cost memory for each event."""


class TaskSpec(msgspec.Struct, frozen=True):
    """Refers to a task factory, which each worker calls once, before its first job."""

    reference: str
    """"module:qualname" of a callable that takes `argument` and returns a `Task`."""
    argument: bytes
    data: Sequence[Buffer] = ()
    """Buffers that all workers read, without a copy in each. If there are any, the callable gets a second argument: a
    list of read-only views of them."""


class Task(Protocol):
    """The result of a task factory. Runs jobs in the worker's main thread, one at a time."""

    def run(self, body: bytes | memoryview, blob: Buffer | None) -> tuple[Buffer, Blob | None]:
        """Run one job and return the body and blob of the reply. An exception fails the job with TaskError.

        A blob that was sent as bytes arrives as bytes. Any other may be a read-only view of shared memory, which stays
        as it is for as long as anything refers to it.
        """

    def close(self) -> None:
        """Release resources when the worker stops in an orderly way. Tasks close in reverse order of opening."""


class Items(Protocol):
    """The items of one chunk, as a task sees them. The current item is the one that was begun last."""

    def begin(self) -> bool:
        """Begin the first item. Return False if it is not to be run."""

    def keep(self, outcome: bytes) -> bool:
        """End the current item with this outcome, and begin the next one. Return False if none is to be run."""

    def keep_each(self, inputs: Iterator[T], outcome_of: Callable[[T], bytes | None], /) -> bool:
        """Do this with the outcome of each input, the first one that of the current item.

        Return True as soon as there is None in place of an outcome: that item is to be ended by `keep()` or `answer()`.
        Return False if none is to be run.
        """

    def answer(self, body: Buffer, blob: Blob | None) -> bool:
        """Do what `keep()` does with an outcome that travels in a record of its own: a failure, or a large value."""

    @property
    def index(self) -> int:
        """The place of the current item in the chunk."""


class ItemsTask(Task, Protocol):
    """A task that takes chunks."""

    def run_items(self, body: Buffer, items: Items) -> None:
        """Run the items of a chunk, one after the other. An exception fails the whole chunk with TaskError.

        The body may be a read-only view of shared memory, as a blob in `run()`.
        """


class TimeLimit(NamedTuple):
    """How long a job may run, and for how long it may report no progress. In seconds; None for no limit."""

    timeout: float | None = None
    heartbeat: float | None = None

    def left(self, running_for: float = 0.0, silent_for: float = 0.0) -> float:
        """Return the seconds until the earlier limit of a job; 0 or less if it is exceeded."""
        timeout, heartbeat = self
        left = math.inf if timeout is None else timeout - running_for
        return left if heartbeat is None else min(left, heartbeat - silent_for)


class PartsTask(Task, Protocol):
    """A task whose jobs give parts. They are suspended while their parts wait to be read, and others run meanwhile."""

    def produce(self, body: bytes | memoryview, blob: Buffer | None) -> Steps:
        """Begin one job. An exception of the generator fails the job with TaskError."""


class Job:
    """One call of a task. Subclasses receive the outcome.

    Either `succeeded` or `failed` is called, exactly once, in the thread of the pool's event loop.

    Args:
        task: Index of the task in the pool's sequence of tasks.
        body: Passed to `Task.run`.
        blob: A large value, sent beside the body. It must not change until the job has ended.
        timeout: Seconds that the task may run, counted from its start in the worker; None for no limit.

    Attributes:
        limit: The limits of its time; None if there are none.
    """

    __slots__ = ("_place", "blob", "body", "limit", "task")

    count: ClassVar[int] = 1
    """Sequence numbers that it needs."""

    def __init__(self, task: int, body: bytes, blob: Blob | None = None, timeout: float | None = None) -> None:
        self.task = task
        self.body = body
        self.blob = blob
        self.limit = None if timeout is None else TimeLimit(timeout)
        self._place: object = None

    def move_to(self, place: object) -> None:
        """Note which object of a pool has the job. For the pool only."""
        self._place = place

    def produced(self, body: bytes | memoryview, blob: Buffer | None) -> bool:
        """Receive a part; return whether the job may go on. Else it is suspended, until the pool has it `go_on`."""
        return True

    def succeeded(self, body: bytes | memoryview, blob: Buffer | None, elapsed: float) -> None:
        """Receive the reply. `elapsed`: seconds in `Task.run`, measured in the worker.

        A blob that was sent as bytes arrives as bytes. Any other is a writable view; it may be of shared memory, which
        is not used again for as long as anything refers to it.
        """

    def failed(self, error: BaseException, elapsed: float) -> None:
        """Receive the error. `elapsed`: seconds that the task ran, or 0.0."""


class ChunkJob(Job):
    """A list of items that one worker runs one after the other, by `ItemsTask.run_items`.

    Each item has its own outcome, start and time limit. Subclasses receive the outcomes in the order of the items:
    `items_ended`, `item_answered` or `item_failed`. Items that a worker will not begin, since it died, is held up by
    another item or was asked for them, are returned by `given_back`. At last `ended` is called, or `failed` if the
    pool cannot run what is left. Do not submit jobs within these calls.

    Args:
        task: Index of the task in the pool's sequence of tasks.
        items: The encoded list, passed to `ItemsTask.run_items`.
        count: Number of items, at least 1.
        timeout: Seconds that each item may run; None for no limit.
    """

    __slots__ = ("count", "taken")

    count: int  # type: ignore[misc]  # of each job here, of all jobs there
    """Items that are left to this job. Those behind them were given back."""
    taken: int
    """Items that have their outcome."""

    def __init__(self, task: int, items: Buffer, count: int, timeout: float | None = None) -> None:
        super().__init__(task, b"", items, timeout)
        self.count, self.taken = count, 0

    # For the pool

    def take(self, first: int, outcomes: bytes, seconds: list[float]) -> None:
        """Note outcomes, the first one of item `first`. Those that are known already are passed over.

        So are those behind outcomes that are not known yet: the worker has just written the record of these, and the
        record of the others follows.
        """
        known = self.taken - first
        if 0 <= known < len(seconds):
            self.taken = first + len(seconds)
            self.items_ended(outcomes, seconds, known)

    def take_one(self, body: Buffer, blob: Buffer | None, seconds: float) -> None:
        """Note the outcome of one item."""
        self.taken += 1
        self.item_answered(body, blob, seconds)

    def fail_one(self, error: BaseException, seconds: float) -> None:
        """Note that the worker has died in an item, or was killed."""
        self.taken += 1
        self.item_failed(error, seconds)

    def leave_only(self, count: int) -> None:
        """Give the items behind the first `count` back."""
        if count < self.count:
            self.count = count
            self.given_back(count)

    # For subclasses

    def items_ended(self, outcomes: bytes, seconds: list[float], known: int) -> None:
        """Receive outcomes of consecutive items, of which the first `known` were received before."""

    def item_answered(self, body: Buffer, blob: Buffer | None, seconds: float) -> None:
        """Receive the outcome of the next item, which the task has answered by itself."""

    def item_failed(self, error: BaseException, seconds: float) -> None:
        """Receive the error of the next item: its worker died in it."""

    def given_back(self, first: int) -> None:
        """Receive the items from `first` on. No worker has begun them, and none will."""

    def ended(self) -> None:
        """Note that the job has ended."""
