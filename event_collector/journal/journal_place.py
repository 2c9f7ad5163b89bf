"""The place of a journal: which paths may have one, how its database is created there, and connections to it."""

import os
import sqlite3
import stat
from contextlib import closing
from typing import Final
from urllib.parse import quote

from event_collector.values.errors import JournalError

APPLICATION_ID: Final = 0x65764A4E  # "evJN"
SCHEMA_VERSION: Final = 1

_FIXED = "schema TEXT NOT NULL, body BLOB NOT NULL, checksum INTEGER NOT NULL, accepted REAL NOT NULL, expires REAL"
_TABLES = f"""
CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice
    {_FIXED},
    progress BLOB,
    crashes INTEGER NOT NULL
);
CREATE TABLE dead_letter (
    id INTEGER NOT NULL,
    collector TEXT NOT NULL,
    {_FIXED},
    attempts INTEGER NOT NULL,
    reason TEXT NOT NULL,
    error TEXT NOT NULL,
    trace TEXT NOT NULL,
    time REAL NOT NULL,
    PRIMARY KEY (id, collector)
);
CREATE TABLE journal (name TEXT NOT NULL);
"""


def check_kind(path: str) -> None:
    """Refuse a path that is not a regular file of this user. Nothing is created beside it."""
    if path.endswith((os.sep, os.altsep or os.sep)):
        raise JournalError(f"the journal {path} cannot be created: its path ends like that of a folder; give a file")
    try:
        status = os.lstat(path)
    except OSError:  # there is none, or it cannot be reached: `check_place()` and the lock say why
        return
    if not stat.S_ISREG(status.st_mode):
        kind = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "no file"
        raise JournalError(f"{path} is {kind}: a journal is a regular file; give the path of one")
    if hasattr(os, "geteuid") and status.st_uid not in (os.geteuid(), 0) and os.geteuid() != 0:
        raise JournalError(f"{path} belongs to another user, uid {status.st_uid}: give the path of another file")


def check_place(path: str) -> None:
    """Refuse a path where no journal can be or become."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise JournalError(f"the journal {path} cannot be created: there is no folder {folder}")
    check_kind(path)
    log = f"{path}-wal"
    if not os.path.lexists(log):
        return
    if not stat.S_ISREG(os.lstat(log).st_mode):
        raise JournalError(f"{log} is not a regular file, and so not the log of the journal {path}: remove it")
    if not os.path.lexists(path):
        raise JournalError(
            f"the journal {path} is missing, but its log {log} exists: restore the journal, or remove the log and with "
            f"it the events in it"
        )


def connect(place: str, mode: str) -> sqlite3.Connection:
    """Connect to an existing database, "ro" or "rw" and parameters of a URI; one thread at a time uses it.

    The URI is made of the bytes of an absolute path, so that every name of a file is a name and nothing else.
    """
    uri = f"file://{quote(os.fsencode(place))}?mode={mode}"
    db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=5.0)
    # A flipped bit must not make reading fail: the checksum of the event reports it.
    db.text_factory = lambda data: data.decode(errors="replace")
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA cell_size_check = ON")
    return db


def make(place: str) -> sqlite3.Connection:
    """Connect to a new, empty file for this user only."""
    os.close(os.open(place, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    return connect(place, "rw")


def create(place: str) -> None:
    """Create an empty journal under a temporary name, so that a crash leaves either no journal or a complete one."""
    new = f"{place}-new"
    if os.path.lexists(new):  # left by a crash; the holder of the lock may remove it
        os.unlink(new)
    with closing(make(new)) as db:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.executescript(_TABLES)
        db.execute("INSERT INTO journal VALUES (?)", (os.urandom(4).hex(),))
        db.execute("PRAGMA journal_mode = WAL")
    os.rename(new, place)
    if os.name == "posix":
        folder = os.open(os.path.dirname(place), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def identity(name: str) -> tuple[int, int]:
    """Return device and inode of a file; zeros if there is none."""
    try:
        status = os.lstat(name)
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino
