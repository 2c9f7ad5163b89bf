"""The writer: the thread that has the file of a journal, and the batches that it writes.

    event loop:  append(), note() -> changes ---hand over---> thread: one transaction, one wait for the disk
                      ^                                          |
                      +------------- the senders are told -------+

All that happens while the thread is busy with one batch goes into the next, so that many senders share one wait for
the disk. What nobody waits for waits a little for company. The thread gets a batch and gives it back: nothing of it is
shared.
"""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from event_collector.journal.changes import Changes
from event_collector.journal.file import JournalFile
from event_collector.journal.record import Record
from event_collector.values.errors import JournalError

__all__ = ["Writer"]

T = TypeVar("T")

COMPANY: Final = 0.05
"""Seconds that a change nobody waits for may wait for others: more saves writing, and is run again after a crash."""
RETRY: Final = 1.0
"""Seconds between two tries of a journal that cannot be written."""
TIDY_EVERY: Final = 256
"""Batches between two looks for unused pages."""


class _Batch:
    """What is written at once. It belongs to the event loop, except while the thread has it."""

    __slots__ = ("changes", "refused", "senders")

    def __init__(self) -> None:
        self.changes = Changes()
        self.senders: dict[int, asyncio.Future[None]] = {}
        """Who waits, by event."""
        self.refused: dict[int, JournalError] = {}
        """Written by the thread: the events that could not be written, if others could."""


class Writer:
    """Writes to one journal.

    Args:
        open_file: opens it; called in the thread.
        on_trouble: told of the error when writing begins to fail, and None when it succeeds again; and how many events
            could not be written until then.

    """

    def __init__(
        self, open_file: Callable[[], JournalFile], on_trouble: Callable[[JournalError | None, int], None]
    ) -> None:
        self._open_file, self._on_trouble = open_file, on_trouble
        self._loop = asyncio.get_running_loop()
        self._batch = _Batch()
        self._busy = False
        self._due: asyncio.Handle | None = None
        """Will hand over the batch; None while there is none, or the thread is busy."""
        self._due_now = False
        """Whether it will at the end of this turn of the loop."""
        self._idle: asyncio.Future[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self.trouble: JournalError | None = None
        """Why the last batch could not be written; None if it was."""
        self._missed = 0
        """How many events could not be written since writing began to fail."""
        self._file: JournalFile | None = None  # by the thread, as well as the next
        self._batches = 0
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="event journal", daemon=True)

    # In the event loop

    async def open(self) -> None:
        """Start the thread and open the file.

        Raises:
            JournalError: it cannot be opened.

        """
        self._thread.start()
        try:
            await asyncio.shield(self._run(self._open))
        except BaseException:
            await self.close()
            raise

    async def call(self, function: Callable[[JournalFile], T]) -> T:
        """Return what a function of the file returns, which runs in the thread."""
        return await self._run(lambda: function(self._opened))

    def append(self, record: Record) -> "asyncio.Future[None]":
        """Put a record into the next batch; the future is done when it is on the disk, or fails with JournalError."""
        written = self._loop.create_future()
        self._batch.changes.inserted[record.id] = record
        self._batch.senders[record.id] = written
        self._schedule(now=True)
        return written

    def note(self) -> Changes:
        """Return the changes of the next batch, to be added to at once. Nobody waits for these."""
        self._schedule(now=False)
        return self._batch.changes

    async def close(self) -> None:
        """Write what is left, and close the file. Cancelled, it goes on; call it again to see the end."""
        if self._closing is None:
            self._closing = asyncio.Task(self._close(), loop=self._loop, name="end of the event journal")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        await self._see_idle()
        if self._batch.changes:
            self._hand_over()
            await self._see_idle()
        if self._due is not None:
            self._due.cancel()
        closed = self._run(self._close_file)
        self._jobs.put(None)
        await closed

    async def _see_idle(self) -> None:
        while self._busy:
            self._idle = self._loop.create_future()
            await self._idle

    def _schedule(self, *, now: bool, wait: float = COMPANY) -> None:
        """Hand over in a while, or at the end of this turn of the loop: all that is sent in it shares a batch."""
        if self._busy or self._due_now or self._closing is not None or (self._due is not None and not now):
            return
        if self._due is not None:
            self._due.cancel()
        self._due_now = now
        self._due = (
            self._loop.call_soon(self._hand_over) if now else self._loop.call_later(wait, self._hand_over)
        )

    def _hand_over(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due, self._due_now = None, False
        if self._busy or not self._batch.changes:
            return
        batch, self._batch = self._batch, _Batch()
        self._busy = True
        self._jobs.put(lambda: self._write(batch))

    def _written(self, batch: _Batch, error: JournalError | None) -> None:
        """A batch is on the disk, or is not."""
        self._busy = False
        for number, sender in batch.senders.items():
            problem = error or batch.refused.get(number)
            self._missed += problem is not None
            if sender.done():
                continue
            if problem is None:
                sender.set_result(None)
            else:
                sender.set_exception(JournalError(*problem.args))
        if error is not None:
            for number in batch.senders:
                batch.changes.inserted.pop(number, None)  # their senders know
            batch.changes.precede(self._batch.changes)
            self._batch.changes = batch.changes
        self._tell(error or next(iter(batch.refused.values()), None))
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)
        if self._batch.changes:
            self._schedule(now=bool(self._batch.senders), wait=COMPANY if self.trouble is None else RETRY)

    def _tell(self, trouble: JournalError | None) -> None:
        changed = (trouble is None) is not (self.trouble is None)
        self.trouble = trouble
        if changed:
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

    def _write(self, batch: _Batch) -> None:
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
        except RuntimeError:  # the loop is closed: nobody waits any more
            return


def _settle(done: "asyncio.Future[Any]", exc: Exception | None, value: Any) -> None:
    if done.done():
        return
    if exc is not None:
        done.set_exception(exc)
    else:
        done.set_result(value)


def _write(file: JournalFile, batch: _Batch) -> None:
    """Write a batch; if that fails, each of its events on its own, so that one that is too large fails alone."""
    try:
        file.apply(batch.changes)
    except JournalError as exc:
        if len(batch.senders) < 2:
            raise
        rest, batch.changes.inserted = batch.changes.inserted, {}
        try:
            file.apply(batch.changes)
        except JournalError:
            batch.changes.inserted = rest
            raise exc from None
        for number, record in rest.items():
            alone = Changes()
            alone.inserted[number] = record
            try:
                file.apply(alone)
            except JournalError as problem:
                batch.refused[number] = problem
