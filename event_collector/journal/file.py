"""The file of a journal: an SQLite database, its tables, and the checks before it is trusted.

Every method blocks the calling thread for as long as the disk takes. One thread at a time uses a file.
"""

import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from time import time
from typing import Any, Final

from event_collector.handlers.attempt import Attempt
from event_collector.journal.journal_place import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    check_kind,
    check_place,
    connect,
    create,
    identity,
    make,
)  # fmt: skip
from event_collector.journal.lock import JournalLock
from event_collector.journal.stored_event import Changes, InputPosition, StoredEvent, StoredLetter, StoredProgress
from event_collector.journal.write_ahead_log import survey
from event_collector.values.errors import JournalError

FREE_PAGES: Final = 256
"""Unused pages that a file keeps: 1 MiB."""
LOG_BYTES: Final = 4 * 1024 * 1024
"""Size to which SQLite truncates the write-ahead log once all of it is in the database."""
UNWRITABLE: Final = (sqlite3.DataError, sqlite3.IntegrityError, OverflowError, ValueError)
"""Errors of a value that no disk can take."""

_EVENT = "id, schema, body, accepted, expires, progress, crashes, checksum"
_INSERT = f"INSERT INTO event ({_EVENT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - constants only
_LETTER = "id, schema, body, accepted, expires, checksum, collector, attempts, reason, error, trace, time"
_BURY = f"INSERT OR REPLACE INTO dead_letter ({_LETTER}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_INPUT = (
    "CREATE TABLE IF NOT EXISTS input "
    "(inode INTEGER PRIMARY KEY, lines INTEGER NOT NULL, digest BLOB NOT NULL, time REAL NOT NULL)"
)
_ADVANCE = "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'event'"


class JournalFile:
    """An open journal; `read_only` opens it without the lock.

    Raises JournalError if the file cannot be used; the message says why and what to do, and the file was not changed.
    """

    def __init__(self, path: str, *, create: bool = True, synchronous: str = "full", read_only: bool = False) -> None:
        self.path = path
        self._lock: JournalLock | None = None
        self._db: sqlite3.Connection | None = None
        self._files: dict[str, tuple[int, int]] = {}
        """Device and inode of each file that a program writes to."""
        self.is_torn = False
        """Whether the log ended within a transaction, as after a loss of power. Either that transaction was not
        acknowledged, or one of its bits has changed since."""
        self.on_record = 0
        """Events in it, if it may be written."""
        try:
            self._place = os.path.abspath(path)
            if not create and not os.path.lexists(path):
                raise JournalError(f"there is no journal {path}")
            check_kind(path)
            if not read_only:
                self._lock = JournalLock(path)
            self._open(synchronous, read_only)
        except BaseException as exc:
            self.abandon()
            if isinstance(exc, (sqlite3.Error, OSError)) and not isinstance(exc, JournalError):
                raise JournalError(f"the journal {path} cannot be opened: {_reason_of(exc)}") from exc
            raise

    def _open(self, synchronous: str, read_only: bool) -> None:
        check_place(self.path)
        if not os.path.lexists(self._place):
            create(self._place)
        # Closing a connection that may write would move the log into a damaged database. One that may not would create
        # a log where there is none, unless it is told that the file does not change.
        self._db = connect(self._place, "ro" if os.path.lexists(f"{self._place}-wal") else "ro&immutable=1")
        self._check_identity()
        if not read_only:  # else a program with the lock may be writing to the log now
            log = survey(self._place)
            if log.is_damaged:
                raise _damaged(self.path, "its write-ahead log has transactions that cannot be read any more")
            self.is_torn = log.unreadable > 0
        self._check_content()
        self._db.close()
        self._db = connect(self._place, "ro" if read_only else "rw")
        if read_only:
            return
        self._db.execute(f"PRAGMA synchronous = {synchronous}")
        self._db.execute("PRAGMA fullfsync = ON")
        self._db.execute("PRAGMA checkpoint_fullfsync = ON")
        self._db.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
        with self._transaction() as db:  # can it be written?
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            db.execute(_INPUT)
        names = [self._place, f"{self._place}-wal", f"{self._place}-shm", *([self._lock.path] if self._lock else [])]
        self._files = {name: identity(name) for name in names}
        self.on_record, _ = self.counts()

    def _check_identity(self) -> None:
        """Refuse a file that is not a journal before a connection that may write opens it.

        SQLite reads the header, not open(): closing a file that this process also uses as a database would release the
        locks of that database.
        """
        path = self.path
        if os.path.getsize(path) == 0:
            raise JournalError(f"{path} is empty, and no journal: remove it to start a new one")
        try:
            application, version = (
                self.db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
            )
        except sqlite3.DatabaseError as exc:
            if _has_code(exc, sqlite3.SQLITE_NOTADB):
                raise JournalError(
                    f"{path} is no journal, or its beginning is damaged: it is no SQLite database. Give the path of "
                    f"another file"
                ) from exc
            if _has_code(exc, sqlite3.SQLITE_CORRUPT):
                raise _damaged(path, str(exc)) from exc
            raise
        if application != APPLICATION_ID:
            raise JournalError(f"{path} is no journal but the database of another program: give another path")
        if version != SCHEMA_VERSION:
            raise JournalError(
                f"the journal {path} was written by another version of event_collector: its schema is {version}, and "
                f"this version knows {SCHEMA_VERSION}. Use that version, or another file"
            )

    def _check_content(self) -> None:
        """Check the structure of the database. The checksums of events cover their content."""
        try:
            problems = [str(row[0]) for row in self.db.execute("PRAGMA quick_check(3)")]
            for columns, table in ((_EVENT, "event"), (_LETTER, "dead_letter")):
                self.db.execute(f"SELECT {columns} FROM {table} LIMIT 0")  # noqa: S608
        except sqlite3.DatabaseError as exc:
            if _has_code(exc, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY):
                raise
            raise _damaged(self.path, str(exc)) from exc
        if problems != ["ok"]:
            raise _damaged(self.path, "; ".join(problems).replace("\n", " "))

    @property
    def db(self) -> sqlite3.Connection:
        """The connection. Raises JournalError if the file is closed."""
        if self._db is None:
            raise JournalError(f"the journal {self.path} is closed")
        return self._db

    # Reading

    def last_id(self) -> int:
        """Return the highest id that was ever used; 0 for none."""
        row = self.db.execute(
            "SELECT max((SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'event'), "
            "(SELECT coalesce(max(id), 0) FROM event), (SELECT coalesce(max(id), 0) FROM dead_letter))"
        ).fetchone()
        return int(row[0])

    def events(self) -> Iterator[StoredEvent]:
        """Yield the unfinished events in the order of their ids."""
        for row in self.db.execute(f"SELECT {_EVENT} FROM event ORDER BY id"):  # noqa: S608
            crashes = row[6] if isinstance(row[6], int) else 0  # a damaged row may have any type here
            yield StoredEvent._make(row)._replace(crashes=crashes)

    def dead_letters(self) -> Iterator[StoredLetter]:
        """Yield the dead letters in the order of the ids of their events."""
        for row in self.db.execute(f"SELECT {_LETTER} FROM dead_letter ORDER BY id, collector"):  # noqa: S608
            yield StoredLetter(StoredEvent(*row[:5])._replace(checksum=row[5]), *row[6:])

    def counts(self) -> tuple[int, int]:
        """Return the numbers of unfinished events and of dead letters."""
        row = self.db.execute("SELECT (SELECT count(*) FROM event), (SELECT count(*) FROM dead_letter)").fetchone()
        return int(row[0]), int(row[1])

    def oldest(self) -> float | None:
        """Return when the oldest event was accepted, in seconds since 1970; None if there is none, or if damaged."""
        row = self.db.execute("SELECT accepted FROM event ORDER BY id LIMIT 1").fetchone()
        return row[0] if row is not None and isinstance(row[0], float) else None

    def positions(self) -> list[InputPosition]:
        """Return how far the inputs of earlier runs were taken, the latest first."""
        rows = self.db.execute("SELECT inode, lines, digest FROM input ORDER BY time DESC")
        return [InputPosition(*row) for row in rows if type(row[1]) is int]

    # Writing

    def loss(self) -> JournalError | None:
        """Return an error if a file of the journal was removed or replaced: no later program would find new events."""
        for name, opened in self._files.items():
            if identity(name) != opened:
                return JournalError(
                    f"the journal {self.path} takes no more events: {name} was removed or replaced while this program "
                    f"used it. End this program, and start it again"
                )
        return None

    def apply(self, changes: Changes) -> None:
        """Write all changes durably, in one transaction. Raises JournalError if none was written."""
        with self._transaction() as db:
            grown = _apply(db, changes)
        self.on_record += grown

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        db = self.db
        try:
            if db.in_transaction:  # the last one could not be rolled back
                db.execute("ROLLBACK")
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
        except (sqlite3.Error, *UNWRITABLE) as exc:
            raise JournalError(f"the journal {self.path} cannot be written: {_reason_of(exc)}") from exc

    def replay(self, letters: Iterable[StoredLetter]) -> int:
        """Turn dead letters into events for the collector that failed; return their number."""
        changes, event_id = Changes(), self.last_id()
        for letter in letters:
            event_id += 1
            progress = StoredProgress({letter.collector: Attempt()}).encode() if letter.collector else None
            event = StoredEvent(event_id, letter.event.schema, letter.event.body, time(), progress=progress)
            changes.insert(event.sealed())
            changes.drop(letter.event.id, letter.collector)
        self.apply(changes)
        return len(changes.inserted)

    def tidy(self, *, completely: bool = False) -> None:
        """Return unused pages to the file system if there are many. Never fails."""
        try:
            free = int(self.db.execute("PRAGMA freelist_count").fetchone()[0])
            if free > (0 if completely else FREE_PAGES):
                self.db.executescript("PRAGMA incremental_vacuum")  # execute() would return one page only
            if completely:
                self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error:
            return  # a full disk or a reader: the file stays larger than necessary, and sound

    def close(self) -> str:
        """Move the log into the database and close the file.

        Returns the path of a copy of the journal, if it has events and no file of its name has them any more; else an
        empty text. Raises JournalError if the copy cannot be written.
        """
        try:
            if self._db is None or self._lock is None:
                return ""
            self.tidy(completely=True)
            is_gone = identity(self._place) != self._files.get(self._place)
            return self._save(self._db) if is_gone and any(self.counts()) else ""
        finally:
            self.abandon()

    def _save(self, db: sqlite3.Connection) -> str:
        copy = f"{self._place}-saved-{os.getpid()}"
        try:
            with closing(make(copy)) as target:
                db.backup(target)
        except (sqlite3.Error, OSError) as exc:
            raise JournalError(
                f"the events of the journal {self.path} are lost, and cannot be saved: {_reason_of(exc)}"
            ) from exc
        return copy

    def abandon(self) -> None:
        """Close the file without tidying."""
        db, self._db = self._db, None
        if db is not None:
            db.close()
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()


def _apply(db: sqlite3.Connection, changes: Changes) -> int:
    """Write changes, and return by how many events the journal has grown."""
    attempted = [(progress, event_id) for event_id, progress in changes.attempted.items()]
    letters = [(*letter.event[:5], letter.event.checksum, *letter[1:]) for letter in changes.buried.values()]
    steps: tuple[tuple[str, Collection[tuple[Any, ...]]], ...] = (
        (_INSERT, changes.inserted.values()),
        ("UPDATE event SET progress = ? WHERE id = ?", attempted),
        ("UPDATE event SET crashes = crashes + 1 WHERE id = ?", [(event_id,) for event_id in changes.crashed]),
        (_BURY, letters),
        ("DELETE FROM dead_letter WHERE id = ? AND collector = ?", changes.dropped),
    )
    for statement, rows in steps:
        if rows:
            db.executemany(statement, rows)
    finished = [(event_id,) for event_id in changes.finished]
    gone = db.executemany("DELETE FROM event WHERE id = ?", finished).rowcount if finished else 0
    if changes.highest_id and not db.execute(_ADVANCE, (changes.highest_id,)).rowcount:
        db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('event', ?)", (changes.highest_id,))
    if (position := changes.position) is not None and position.lines:
        db.execute("INSERT OR REPLACE INTO input VALUES (?, ?, ?, ?)", (*position, time()))
    elif position is not None:
        db.execute("DELETE FROM input WHERE inode = ?", (position.inode,))
    return len(changes.inserted) - gone


def _damaged(path: str, what: str) -> JournalError:
    return JournalError(
        f"the journal {path} is damaged: {what}. Nothing was changed. Move it aside and keep it: "
        f"`sqlite3 {path} .recover` may save what it holds"
    )


def _reason_of(exc: BaseException) -> str:
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    text = str(exc)
    if isinstance(exc, sqlite3.OperationalError) and _has_code(exc, sqlite3.SQLITE_READONLY):
        return f"{text}: neither the file nor its folder may be read-only"
    return text


def _has_code(exc: sqlite3.Error, *codes: int) -> bool:
    return getattr(exc, "sqlite_errorcode", -1) & 0xFF in codes
