"""The writer: the thread that owns the file of a journal, and the batches that it writes.

    event loop:  append(), next_changes() --> batch ---hand over---> thread: one transaction, one wait for the disk
                      ^                                                 |
                      +------------- futures of the senders ------------+

Changes that arrive while the thread writes a batch go into the next batch, so that many senders share one wait for the
disk. Changes without a sender wait a little for others. The event loop owns a batch before and after the thread has it;
they never share one.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from event_collector.journal.file import UNWRITABLE, JournalFile
from event_collector.journal.stored_event import Changes, StoredEvent
from event_collector.values.clock import clock
from event_collector.values.errors import JournalError
from event_collector.values.guarded import guarded

T = TypeVar("T")

LINGER: Final = 0.05
"""Seconds that a change without a sender waits for others. More saves writes, and repeats more work after a crash."""
RETRY: Final = 1.0
"""Seconds between two attempts to write a journal that cannot be written."""
TIDY_EVERY: Final = 256
"""Batches between two checks for unused pages."""


class _WriteBatch:
    """Changes of one transaction. Owned by the event loop, except while the thread has it."""

    __slots__ = ("changes", "refused", "senders", "since", "trouble")

    def __init__(self) -> None:
        self.changes = Changes()
        """Before the thread has it: what is to be written. Afterwards: what could not be written and is tried again."""
        self.senders: dict[int, asyncio.Future[None]] = {}
        """Futures of the senders, by event."""
        self.refused: dict[int, JournalError] = {}
        """Events with a sender that could not be written. Written by the thread, as is `trouble`."""
        self.trouble: JournalError | None = None
        """The first error; None if all was written."""
        self.since: float | None = None
        """When its first change came; None before. Written by the event loop."""

    def begin(self) -> None:
        """Note that a change comes."""
        if self.since is None:
            self.since = clock.now()

    def add(self, event: StoredEvent, written: "asyncio.Future[None]") -> None:
        """Add a new event, and what its sender waits for."""
        self.changes.insert(event)
        self.senders[event.id] = written

    def follow(self, written: "_WriteBatch") -> None:
        """Take over what could not be written of the batch before."""
        if written.trouble is not None:
            self.changes.move_to(None)
        if written.changes:
            written.changes.precede(self.changes)
            self.changes, self.since = written.changes, written.since

    # In the thread

    def write(self, file: JournalFile) -> None:
        """Write all. If that fails, write changes one by one: one that cannot be written holds no other up."""
        if (loss := file.loss()) is not None:
            self.refuse_events(loss)
        error = _apply(file, self.changes)
        if error is None:
            self.changes = Changes()
        elif _apply(file, Changes()) is not None:  # no change can be written
            self.refuse_events(error)
        else:
            self.trouble = error
            self._write_parts(file)

    def _write_parts(self, file: JournalFile) -> None:
        rest, self.changes = self.changes, Changes()
        failed = _apply_parts(file, rest.take_inserted())
        if failed:
            rest.move_to(None)  # a line before it is not in the journal
        for part, problem in [*failed, *_apply_parts(file, rest)]:
            senders = part.inserted.keys() & self.senders.keys()
            self.refused |= dict.fromkeys(senders, problem)
            if not senders and not isinstance(problem.__cause__, UNWRITABLE):
                self.changes.precede(part)

    def refuse_events(self, error: JournalError) -> None:
        """Note that none of its events can be written: their senders get the error."""
        self.trouble = error
        self.changes.move_to(None)
        self.refused = dict.fromkeys(self.senders, error)
        for event_id in self.senders:
            self.changes.inserted.pop(event_id, None)


class Writer:
    """Writes one journal, which `open_file` opens in the thread.

    `on_trouble` is called with the error when writing begins to fail, and with None when it succeeds again; its second
    argument is the number of events that could not be written in between.
    """

    def __init__(
        self, open_file: Callable[[], JournalFile], on_trouble: Callable[[JournalError | None, int], None]
    ) -> None:
        self._open_file, self._on_trouble = open_file, on_trouble
        self._loop = asyncio.get_running_loop()
        self._batch = _WriteBatch()
        self._written_now: _WriteBatch | None = None
        """The batch that the thread has."""
        self._idle = asyncio.Event()
        """Set while the thread has no batch."""
        self._idle.set()
        self._due: asyncio.Handle | None = None
        """Call that hands over the batch; None if there is none, or the thread is busy."""
        self._is_due_now = False
        """Whether that call comes at the end of this turn of the loop."""
        self._closing: asyncio.Task[None] | None = None
        self.trouble: JournalError | None = None
        """Error of the last batch; None if it was written."""
        self.saved = ""
        """Path of a copy that was made at the end, because the journal was removed; empty if there is none."""
        self._missed = 0
        """Number of events that could not be written since writing began to fail."""
        self._file: JournalFile | None = None  # written by the thread, and so is the next one
        self._batches = 0
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="event journal", daemon=True)

    # In the event loop

    async def open(self) -> None:
        """Start the thread and open the file. Raises JournalError if it cannot be opened."""
        self._thread.start()
        try:
            await asyncio.shield(self._run(self._open))
        except BaseException:
            await self.close()
            raise

    def call(self, function: Callable[[JournalFile], T]) -> "asyncio.Future[T]":
        """Run a function of the file in the thread; the future gets its value."""
        return self._run(lambda: function(self._opened))

    @property
    def on_record(self) -> int:
        """Events in the file."""
        return 0 if self._file is None else self._file.on_record

    @property
    def unwritten(self) -> int:
        """Events that wait to be written."""
        return len(self._batch.senders) + (0 if self._written_now is None else len(self._written_now.senders))

    @property
    def lag(self) -> float:
        """Seconds for which the oldest change has waited to be written; 0 if none waits."""
        oldest = self._written_now or self._batch
        return 0.0 if oldest.since is None else max(0.0, clock.now() - oldest.since)

    def append(self, event: StoredEvent) -> "asyncio.Future[None]":
        """Add an event to the next batch.

        The future is done when the event is on the disk; it fails with JournalError if the event cannot be written.
        """
        written = self._loop.create_future()
        self._batch.begin()
        self._batch.add(event, written)
        self._schedule(now=True)
        return written

    def next_changes(self) -> Changes:
        """Return the changes of the next batch, for adding changes without a sender before the next await."""
        self._schedule(now=False)
        self._batch.begin()
        return self._batch.changes

    async def close(self) -> None:
        """Write what is left and close the file. Cancellation does not stop this; a second call waits for its end."""
        if self._closing is None:
            self._closing = asyncio.Task(self._close(), loop=self._loop, name="end of the event journal")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        await self._idle.wait()
        self._hand_over()
        await self._idle.wait()
        closed = self._run(self._close_file)
        self._jobs.put(None)
        try:
            self.saved = await closed
        except JournalError as exc:
            self.trouble = exc
            guarded("the log of the journal", self._on_trouble, exc, self._missed)

    def _schedule(self, *, now: bool, wait: float = LINGER) -> None:
        """Hand over the batch after `wait` seconds, or at the end of this turn: all events of a turn share a batch."""
        is_closing = self._closing is not None
        if not self._idle.is_set() or self._is_due_now or is_closing or (self._due is not None and not now):
            return
        if self._due is not None:
            self._due.cancel()
        self._is_due_now = now
        self._due = self._loop.call_soon(self._hand_over) if now else self._loop.call_later(wait, self._hand_over)

    def _hand_over(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due, self._is_due_now = None, False
        if not self._idle.is_set():
            return
        batch, self._batch = self._batch, _WriteBatch()
        if not batch.changes:  # an event that has ended before it was written
            return
        self._written_now = batch
        self._idle.clear()
        self._jobs.put(lambda: self._write(batch))

    def _written(self, batch: _WriteBatch) -> None:
        """Take a batch back from the thread."""
        self._written_now = None
        for event_id, sender in batch.senders.items():
            problem = batch.refused.get(event_id)
            self._missed += problem is not None
            _settle(sender, None if problem is None else JournalError(*problem.args), None)
        self._batch.follow(batch)
        self._note_trouble(batch.trouble)
        self._idle.set()  # last: a sender that withdraws its event does so before `_close()` goes on
        if self._batch.changes:
            self._schedule(
                now=bool(self._batch.senders), wait=LINGER if self.trouble is None else clock.source.patience(RETRY)
            )

    def _note_trouble(self, trouble: JournalError | None) -> None:
        has_changed = (trouble is None) is not (self.trouble is None)
        self.trouble = trouble
        if has_changed:
            guarded("the log of the journal", self._on_trouble, trouble, self._missed)
        if trouble is None:
            self._missed = 0

    def _run(self, call: Callable[[], T]) -> "asyncio.Future[T]":
        done: asyncio.Future[T] = self._loop.create_future()

        def work() -> None:
            try:
                value = call()
            except Exception as exc:
                self._post(_settle, done, exc, None)
            else:
                self._post(_settle, done, None, value)

        self._jobs.put(work)
        return done

    # In the thread

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            with suppress(Exception):  # of tidying: the next batch reports a journal that cannot be used
                job()

    def _open(self) -> None:
        self._file = self._open_file()

    @property
    def _opened(self) -> JournalFile:
        if self._file is None:
            raise JournalError("the journal is closed")
        return self._file

    def _close_file(self) -> str:
        file, self._file = self._file, None
        return "" if file is None else file.close()

    def _write(self, batch: _WriteBatch) -> None:
        try:
            batch.write(self._opened)
        except Exception as exc:
            error = exc if isinstance(exc, JournalError) else JournalError(f"the journal cannot be written: {exc!r}")
            batch.refuse_events(error)
        self._post(self._written, batch)
        self._batches += 1
        if self._batches % TIDY_EVERY == 0:
            self._opened.tidy()

    def _post(self, call: Callable[..., None], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:  # the loop is closed, and its tasks with it
            return


def _settle(future: "asyncio.Future[Any]", error: Exception | None, value: Any) -> None:
    if future.done():  # cancelled
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(value)


def _apply_parts(file: JournalFile, changes: Changes) -> list[tuple[Changes, JournalError]]:
    """Write changes together, or one by one if that fails; return those that cannot be written, and why."""
    if _apply(file, changes) is None:
        return []
    outcomes = [(part, _apply(file, part)) for part in changes.parts()]
    return [(part, error) for part, error in outcomes if error is not None]


def _apply(file: JournalFile, changes: Changes) -> JournalError | None:
    try:
        file.apply(changes)
    except JournalError as exc:
        return exc
    return None
