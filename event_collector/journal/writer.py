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
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from event_collector.journal.file import JournalFile
from event_collector.journal.stored_event import Changes, StoredEvent
from event_collector.values.clock import clock
from event_collector.values.errors import JournalError

T = TypeVar("T")

LINGER: Final = 0.05
"""Seconds that a change without a sender waits for others. More saves writes, and repeats more work after a crash."""
RETRY: Final = 1.0
"""Seconds between two attempts to write a journal that cannot be written."""
TIDY_EVERY: Final = 256
"""Batches between two checks for unused pages."""


class _WriteBatch:
    """Changes of one transaction. Owned by the event loop, except while the thread has it."""

    __slots__ = ("changes", "refused", "senders")

    def __init__(self) -> None:
        self.changes = Changes()
        self.senders: dict[int, asyncio.Future[None]] = {}
        """Futures of the senders, by event."""
        self.refused: dict[int, JournalError] = {}
        """Events that could not be written although others could. Written by the thread."""

    def add(self, event: StoredEvent, written: "asyncio.Future[None]") -> None:
        """Add a new event, and what its sender waits for."""
        self.changes.insert(event)
        self.senders[event.id] = written

    def refuse(self, event: StoredEvent, problem: JournalError) -> None:
        """Note that an event could not be written although others could."""
        self.refused[event.id] = problem

    def follow(self, failed: "_WriteBatch") -> None:
        """Take over the changes of the batch before, which could not be written; its senders have the error."""
        for event_id in failed.senders:
            failed.changes.withdraw(event_id)
        failed.changes.precede(self.changes)
        self.changes = failed.changes


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

    async def call(self, function: Callable[[JournalFile], T]) -> T:
        """Run a function of the file in the thread and return its value."""
        return await self._run(lambda: function(self._opened))

    def append(self, event: StoredEvent) -> "asyncio.Future[None]":
        """Add an event to the next batch.

        The future is done when the event is on the disk; it fails with JournalError if the event cannot be written.
        """
        written = self._loop.create_future()
        self._batch.add(event, written)
        self._schedule(now=True)
        return written

    def next_changes(self) -> Changes:
        """Return the changes of the next batch, for adding changes without a sender before the next await."""
        self._schedule(now=False)
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
        await closed

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
        if not (self._idle.is_set() and self._batch.changes):
            return
        batch, self._batch = self._batch, _WriteBatch()
        self._idle.clear()
        self._jobs.put(lambda: self._write(batch))

    def _written(self, batch: _WriteBatch, error: JournalError | None) -> None:
        """Take a batch back from the thread. `error` says why none of it was written."""
        for event_id, sender in batch.senders.items():
            problem = error or batch.refused.get(event_id)
            self._missed += problem is not None
            _settle(sender, None if problem is None else JournalError(*problem.args), None)
        if error is not None:
            self._batch.follow(batch)
        self._note_trouble(error or next(iter(batch.refused.values()), None))
        self._idle.set()  # last: a sender that withdraws its event does so before `_close()` goes on
        if self._batch.changes:
            self._schedule(
                now=bool(self._batch.senders), wait=LINGER if self.trouble is None else clock.source.patience(RETRY)
            )

    def _note_trouble(self, trouble: JournalError | None) -> None:
        has_changed = (trouble is None) is not (self.trouble is None)
        self.trouble = trouble
        if has_changed:
            self._on_trouble(trouble, self._missed)
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
            job()

    def _open(self) -> None:
        self._file = self._open_file()

    @property
    def _opened(self) -> JournalFile:
        if self._file is None:
            raise JournalError("the journal is closed")
        return self._file

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _write(self, batch: _WriteBatch) -> None:
        error: JournalError | None = None
        try:
            _write(self._opened, batch)
        except JournalError as exc:
            error = exc
        except Exception as exc:
            error = JournalError(f"the journal cannot be written: {exc!r}")
            error.__cause__ = exc
        self._post(self._written, batch, error)
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


def _write(file: JournalFile, batch: _WriteBatch) -> None:
    """Write a batch. If that fails, write each of its events alone, so that one that is too large fails alone."""
    try:
        file.apply(batch.changes)
    except JournalError as exc:
        if len(batch.senders) < 2:
            raise
        events = batch.changes.take_inserted()
        try:
            file.apply(batch.changes)
        except JournalError:
            for event in events.values():
                batch.changes.insert(event)
            raise exc from None
        for event in events.values():
            alone = Changes()
            alone.insert(event)
            try:
                file.apply(alone)
            except JournalError as problem:
                batch.refuse(event, problem)
