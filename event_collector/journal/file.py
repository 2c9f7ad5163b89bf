"""The file of a journal: an SQLite database, its tables, and what is checked before it is trusted.

Each method runs in the caller's thread and may take as long as the disk does; one thread at a time.
"""

import os
import sqlite3
import stat
from collections.abc import Iterable, Iterator
from contextlib import closing
from time import time
from typing import Any, Final
from urllib.parse import quote

from event_collector.handlers.attempt import Attempt
from event_collector.journal.changes import Changes
from event_collector.journal.lock import JournalLock
from event_collector.journal.record import Letter, Record, encode_progress, make_record
from event_collector.journal.write_ahead_log import survey
from event_collector.values.errors import JournalError

__all__ = ["JournalFile"]

APPLICATION_ID: Final = 0x65764A4E  # "evJN"
SCHEMA_VERSION: Final = 1
FREE_PAGES: Final = 256
"""Pages of a file that may be unused before they are given back: 1 MiB."""
LOG_BYTES: Final = 4 * 1024 * 1024
"""What is left of the write-ahead log once all of it is in the database."""

_TABLES = """
CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice
    schema TEXT NOT NULL,
    body BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    accepted REAL NOT NULL,
    expires REAL,
    progress BLOB,
    crashes INTEGER NOT NULL
);
CREATE TABLE dead_letter (
    id INTEGER NOT NULL,
    collector TEXT NOT NULL,
    schema TEXT NOT NULL,
    body BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    accepted REAL NOT NULL,
    expires REAL,
    attempts INTEGER NOT NULL,
    reason TEXT NOT NULL,
    error TEXT NOT NULL,
    trace TEXT NOT NULL,
    time REAL NOT NULL,
    PRIMARY KEY (id, collector)
);
CREATE TABLE journal (name TEXT NOT NULL);
"""
_RECORD = "id, schema, body, checksum, accepted, expires, progress, crashes"
_INSERT = f"INSERT INTO event ({_RECORD}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - only names are put in
_LETTER = "id, collector, schema, body, checksum, accepted, expires, attempts, reason, error, trace, time"
_BURY = f"INSERT OR REPLACE INTO dead_letter ({_LETTER}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_GIVE = "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'event'"
_DROP = "DELETE FROM dead_letter WHERE id = ? AND collector = ?"


class JournalFile:
    """An open journal.

    Args:
        path: of the file.
        create: whether to make it where it is missing.
        synchronous: "full" or "normal"; see Journal.
        read_only: look only; does not need the lock.

    Raises:
        JournalError: it cannot be used; the message says why and what to do. The file has not been touched then.

    """

    def __init__(
        self, path: str, *, create: bool = True, synchronous: str = "full", read_only: bool = False
    ) -> None:
        self.path = path
        if not create and not os.path.lexists(path):
            raise JournalError(f"there is no journal {path}")
        self._lock = None if read_only else JournalLock(path)
        self._db: sqlite3.Connection | None = None
        self.is_torn = False
        """Whether the log ended in the middle of a transaction, as after a loss of power: what it held was not
        acknowledged, or a bit of it has changed since."""
        try:
            self._open(synchronous, read_only)
        except BaseException as exc:
            self.abandon()
            if isinstance(exc, (sqlite3.Error, OSError)) and not isinstance(exc, JournalError):
                raise JournalError(f"the journal {path} cannot be opened: {reason_of(exc)}") from exc
            raise

    def _open(self, synchronous: str, read_only: bool) -> None:
        _check_place(self.path)
        if not os.path.lexists(self.path):
            _make(self.path)
        _check_identity(self.path)
        if not read_only:  # else somebody may be writing to the log at this moment
            self._check_log()
        self._db = connect(self.path, "ro" if read_only else "rw")
        self.db.execute("PRAGMA trusted_schema = OFF")
        self.db.execute("PRAGMA cell_size_check = ON")
        self._check_content()
        if not read_only:
            for setting in (
                f"synchronous = {synchronous}",
                "fullfsync = ON",
                "checkpoint_fullfsync = ON",
                f"journal_size_limit = {LOG_BYTES}",
            ):
                self.db.execute(f"PRAGMA {setting}")
            self._see_that_it_can_be_written()
        row = self.db.execute("SELECT name FROM journal").fetchone()
        if row is None:
            raise damaged(self.path, "its name is missing")
        self.name = str(row[0])
        """What tells this journal from all others: eight hexadecimal digits."""

    def _check_log(self) -> None:
        found = survey(self.path)
        if found.damaged:
            raise damaged(self.path, "its write-ahead log has transactions that cannot be read any more")
        self.is_torn = found.unreadable > 0

    def _check_content(self) -> None:
        """Look for damage; SQLite finds what does not fit together, the checksums of records the rest."""
        try:
            problems = [str(row[0]) for row in self.db.execute("PRAGMA quick_check(3)")]
        except sqlite3.DatabaseError as exc:
            if is_code(exc, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY):
                raise
            raise damaged(self.path, str(exc)) from exc
        if problems != ["ok"]:
            raise damaged(self.path, "; ".join(problems).replace("\n", " "))

    def _see_that_it_can_be_written(self) -> None:
        try:
            self.db.execute("BEGIN IMMEDIATE")
            self.db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            self.db.execute("COMMIT")
        except sqlite3.Error as exc:
            raise JournalError(f"the journal {self.path} cannot be written: {reason_of(exc)}") from exc

    @property
    def db(self) -> sqlite3.Connection:
        """The connection."""
        if self._db is None:
            raise JournalError(f"the journal {self.path} is closed")
        return self._db

    # Reading

    def last_id(self) -> int:
        """Return the highest id ever given."""
        row = self.db.execute(
            "SELECT max((SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'event'), "
            "(SELECT coalesce(max(id), 0) FROM event), (SELECT coalesce(max(id), 0) FROM dead_letter))"
        ).fetchone()
        return int(row[0])

    def events(self) -> Iterator[Record]:
        """Yield the unfinished events, in the order in which they were accepted."""
        yield from map(_record, self.db.execute(f"SELECT {_RECORD} FROM event ORDER BY id"))  # noqa: S608

    def dead_letters(self) -> Iterator[Letter]:
        """Yield the dead letters, in the order in which their events were accepted."""
        for row in self.db.execute(f"SELECT {_LETTER} FROM dead_letter ORDER BY id, collector"):  # noqa: S608
            yield Letter(Record(row[0], *row[2:7]), row[1], *row[7:])

    def counts(self) -> tuple[int, int]:
        """Return how many unfinished events and dead letters there are."""
        row = self.db.execute(
            "SELECT (SELECT count(*) FROM event), (SELECT count(*) FROM dead_letter)"
        ).fetchone()
        return int(row[0]), int(row[1])

    # Writing

    def apply(self, changes: Changes) -> None:
        """Write all of it, or nothing; on the disk when this returns.

        Raises:
            JournalError: nothing of it was written.

        """
        db = self.db
        try:
            db.execute("BEGIN IMMEDIATE")
            try:
                _apply(db, changes)
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
        except (sqlite3.Error, OverflowError) as exc:
            raise JournalError(f"the journal {self.path} cannot be written: {reason_of(exc)}") from exc

    def replay(self, letters: Iterable[Letter]) -> int:
        """Make dead letters events again, of the one collector that failed; return how many there were."""
        changes, number = Changes(), self.last_id()
        for letter in letters:
            number += 1
            record = letter.record
            progress = encode_progress({letter.collector: Attempt()}) if letter.collector else None
            changes.inserted[number] = make_record(
                number, record.schema, record.body, time(), progress=progress
            )
            changes.drop(record.id, letter.collector)
        self.apply(changes)
        return len(changes.inserted)

    def tidy(self, *, all_of_it: bool = False) -> None:
        """Give unused pages back to the file system, when they are many; never fails."""
        try:
            free = int(self.db.execute("PRAGMA freelist_count").fetchone()[0])
            if free > (0 if all_of_it else FREE_PAGES):
                # Not execute(), which gives back one page and leaves it at that.
                self.db.executescript("PRAGMA incremental_vacuum")
            if all_of_it:
                self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error:
            return  # a full disk, or a reader in the way: the file is larger than it need be, and sound

    def close(self) -> None:
        """Close it; what is in the log goes into the database."""
        if self._db is not None and self._lock is not None:
            self.tidy(all_of_it=True)
        self.abandon()

    def abandon(self) -> None:
        """Close it as it is."""
        db, self._db = self._db, None
        if db is not None:
            db.close()
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()


def _apply(db: sqlite3.Connection, changes: Changes) -> None:
    if changes.inserted:
        db.executemany(_INSERT, changes.inserted.values())
    if changes.attempted:
        db.executemany(
            "UPDATE event SET progress = ? WHERE id = ?",
            [(progress, number) for number, progress in changes.attempted.items()],
        )
    if changes.crashed:
        db.executemany(
            "UPDATE event SET crashes = crashes + 1 WHERE id = ?",
            [(number,) for number in changes.crashed],
        )
    if changes.buried:
        db.executemany(_BURY, map(_letter_row, changes.buried.values()))
    if changes.finished:
        db.executemany("DELETE FROM event WHERE id = ?", [(number,) for number in changes.finished])
    if changes.dropped:
        db.executemany(_DROP, changes.dropped)
    if changes.given and not db.execute(_GIVE, (changes.given,)).rowcount:
        db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('event', ?)", (changes.given,))


def _letter_row(letter: Letter) -> tuple[Any, ...]:
    record = letter.record
    return (record.id, letter.collector, *record[1:6], *letter[2:])


def _record(row: tuple[Any, ...]) -> Record:
    number, schema, body, check, accepted, expires, progress, crashes = row
    crashes = crashes if isinstance(crashes, int) else 0  # as all of these, it may have changed
    return Record(number, schema, body, check, accepted, expires, progress, crashes)


def _check_place(path: str) -> None:
    """Refuse what is no file of this user."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise JournalError(f"the journal {path} cannot be made: there is no folder {folder}")
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        if os.path.lexists(f"{path}-wal"):
            raise JournalError(
                f"there is a log {path}-wal of a journal that is not there: put the journal back beside it, or "
                f"remove the log, and with it the events that it holds"
            ) from None
        return
    if not stat.S_ISREG(status.st_mode):
        kind = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "no file"
        raise JournalError(f"{path} is {kind}: a journal is a file of its own; give the path of one")
    if hasattr(os, "geteuid") and status.st_uid not in (os.geteuid(), 0) and os.geteuid() != 0:
        raise JournalError(
            f"{path} belongs to another user, uid {status.st_uid}: it cannot be this one's journal"
        )


def _check_identity(path: str) -> None:
    """Refuse what is not a journal, before a connection that may write could change it.

    SQLite itself reads the header: a file that is opened and closed here would take the locks from a database that
    this process uses already, if that is what the path was mistaken for.
    """
    if os.path.getsize(path) == 0:
        raise JournalError(f"{path} is empty, and no journal: remove it to begin a new one")
    try:
        with closing(connect(path, "ro")) as db:
            application, version = (
                db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
            )
    except sqlite3.DatabaseError as exc:
        if is_code(exc, sqlite3.SQLITE_NOTADB):
            raise JournalError(
                f"{path} is no journal, or its beginning is damaged: it is no SQLite database. Give the path of "
                f"another file"
            ) from exc
        if is_code(exc, sqlite3.SQLITE_CORRUPT):
            raise damaged(path, str(exc)) from exc
        raise
    if application != APPLICATION_ID:
        raise JournalError(f"{path} is no journal but the database of another program: give another path")
    if version != SCHEMA_VERSION:
        raise JournalError(
            f"the journal {path} was written by another version of event_collector: its schema is {version}, and this "
            f"version knows {SCHEMA_VERSION}. Use that version, or another file"
        )


def connect(path: str, mode: str) -> sqlite3.Connection:
    """Connect to an existing database, for "ro" or "rw"; used by one thread at a time."""
    db = sqlite3.connect(
        f"file:{quote(os.path.abspath(path))}?mode={mode}",
        uri=True, isolation_level=None, check_same_thread=False, timeout=5.0,
    )  # fmt: skip
    # A flipped bit in a text must not be an error of SQLite's module: the checksum of the record tells of it.
    db.text_factory = lambda data: data.decode(errors="replace")
    return db


def _make(path: str) -> None:
    """Make an empty journal, under another name until it is whole: a crash leaves none, or all of it."""
    new = f"{path}-new"
    if os.path.lexists(new):  # of a crash on the way; whoever has the lock may remove it
        os.unlink(new)
    os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    db = sqlite3.connect(new, isolation_level=None)
    try:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.executescript(_TABLES)
        db.execute("INSERT INTO journal VALUES (?)", (os.urandom(4).hex(),))
        db.execute("PRAGMA journal_mode = WAL")
    finally:
        db.close()
    os.rename(new, path)
    _sync_folder(path)


def _sync_folder(path: str) -> None:
    if os.name != "posix":
        return
    fd = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def damaged(path: str, what: str) -> JournalError:
    """Return the error of a damaged journal."""
    return JournalError(
        f"the journal {path} is damaged: {what}. Nothing was changed. Move it aside and keep it: "
        f"`sqlite3 {path} .recover` may save what it holds"
    )


def reason_of(exc: BaseException) -> str:
    """Return in words why SQLite or the system refused."""
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    text = str(exc)
    if isinstance(exc, sqlite3.OperationalError) and is_code(exc, sqlite3.SQLITE_READONLY):
        return f"{text}: neither the file nor its folder may be read-only"
    return text


def is_code(exc: sqlite3.Error, *codes: int) -> bool:
    return getattr(exc, "sqlite_errorcode", -1) & 0xFF in codes
