"""Figures of a journal for snapshots. The oldest event is asked for only while they are taken."""

import os
from typing import TYPE_CHECKING, Final

from event_collector.journal.file import JournalFile
from event_collector.journal.recovered import Recovered
from event_collector.journal.writer import Writer
from event_collector.values.clock import clock
from event_collector.watching.snapshot import JournalSnapshot, RecoveredCounts

if TYPE_CHECKING:
    from asyncio import Future

STALE: Final = 10.0
"""Seconds after which the answer to an earlier look is too old."""


class JournalFigures:
    """What a queue tells of the journal at a path. Its methods belong to the thread of the event loop."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._recovered = RecoveredCounts()
        self._last_error, self._last_error_time = "", 0.0
        self._asked: Future[float | None] | None = None
        self._asked_at = 0.0

    def __repr__(self) -> str:
        return f"<JournalFigures of {self._path}>"

    def begin(self, recovered: Recovered) -> None:
        """Note a start, and what earlier programs had left."""
        self._asked = None
        self._recovered = RecoveredCounts(
            events=len(recovered.unfinished),
            dead_letters=len(recovered.letters),
            buried=len(recovered.buried),
            unreadable=recovered.unreadable,
            is_torn=recovered.is_torn,
        )

    def note_error(self, text: str) -> None:
        """Keep an error as the last one."""
        self._last_error, self._last_error_time = text, clock.wall()

    def look(self, writer: Writer | None) -> JournalSnapshot:
        """Return what is known now; `writer` is None while the queue does not run."""
        return JournalSnapshot(
            path=self._path,
            size=sum(map(_size, (self._path, f"{self._path}-wal"))),
            on_record=None if writer is None else writer.on_record,
            unwritten=None if writer is None else writer.unwritten,
            lag=None if writer is None else writer.lag,
            oldest_age=None if writer is None else self._oldest_age(writer),
            trouble=None if writer is None or writer.trouble is None else str(writer.trouble),
            last_error=self._last_error,
            last_error_time=self._last_error_time,
            recovered=self._recovered,
        )

    def _oldest_age(self, writer: Writer) -> float | None:
        """Return what the look before has asked the thread of the writer, and ask again."""
        now, asked = clock.now(), self._asked
        if asked is not None and not asked.done():  # the disk takes its time
            return None
        accepted = None
        if asked is not None and asked.exception() is None and now - self._asked_at <= STALE:
            accepted = asked.result()
        self._asked, self._asked_at = writer.call(JournalFile.oldest), now
        self._asked.add_done_callback(_see)
        return None if accepted is None else max(0.0, clock.wall() - accepted)


def _see(answer: "Future[float | None]") -> None:
    """Have no log line about an error, which the next batch reports."""
    if not answer.cancelled():
        answer.exception()


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
