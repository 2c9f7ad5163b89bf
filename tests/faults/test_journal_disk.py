"""Fault 23: the disk of a journal is full, or fails in the middle of a write: refused, told, and nothing lost.

A full disk is a real one, of a megabyte. A disk that fails cannot be had without a driver for one: there the error is
raised where the journal calls SQLite. That SQLite itself refuses to write beyond RLIMIT_FSIZE, with "disk I/O error",
is in test_journal_faults.py.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from event_collector import Collector, Context, Error, JournalError, Payload, Retry
from event_collector.journal.file import JournalFile
from tests.event_collector.modes import balanced, running

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("full_disk_program.py")
MOUNT = 'mount -t tmpfs -o size=1m none "$1" && exec "$2" "$3" "$1"'


def namespace() -> list[str]:
    """The command with which this user may mount a disk that nobody else sees."""
    for options in (["-m"], ["-rm"]):
        command = ["unshare", *options, "sh", "-c"]
        if shutil.which("unshare") and not subprocess.run([*command, "mount -t tmpfs none /mnt"], check=False,
                                                          capture_output=True, timeout=30).returncode:  # fmt: skip
            return command
    pytest.skip("this user may not mount a disk")


def test_a_disk_without_room_refuses_and_takes_events_again_when_there_is_some(tmp_path: Path) -> None:
    """ENOSPC: what was accepted is finished, the rest is refused in so many words; a start says so, too."""
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        [*namespace(), MOUNT, "sh", str(disk), sys.executable, str(PROGRAM)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "workers")])},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    told = [line.partition(": ")[::2] for line in done.stdout.splitlines()]
    assert ("full", "No space left on device") in told
    (refused,) = [text for word, text in told if word == "refused"]
    assert refused.endswith("events.journal cannot be written: database or disk is full")
    (no_start,) = [text for word, text in told if word == "no start"]
    assert "disk" in no_start
    assert [line for line in told if line[0] not in {"full", "refused", "no start"}] == [
        ("accepted and finished", "True"),
        ("accepted again", "5000"),
        ("left", "0 0"),
        ("started", ""),
    ]


class FailingConnection(sqlite3.Connection):
    """A connection to a database on a disk that fails when a transaction begins, is written, or is made durable."""

    failing = ""

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        self.fail(sql)
        return super().execute(sql, *args)

    def executemany(self, sql: str, *args: Any) -> sqlite3.Cursor:
        self.fail(sql)
        return super().executemany(sql, *args)

    @classmethod
    def fail(cls, sql: str) -> None:
        if cls.failing and sql.startswith(cls.failing):
            raise sqlite3.OperationalError("disk I/O error")


@pytest.mark.parametrize("moment", ["BEGIN", "INSERT INTO event", "DELETE FROM event", "UPDATE event", "COMMIT"])
async def test_a_write_that_fails_is_all_or_nothing(
    tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch, hurried: Callable[[float], None]
) -> None:
    """EIO at any step of a transaction: none of it is there; its sends are refused, the rest is written later."""
    monkeypatch.setattr(
        "event_collector.journal.file.sqlite3.connect", partial(sqlite3.connect, factory=FailingConnection)
    )
    hurried(0.01)
    path, runs = tmp_path / "events.journal", 0

    async def fail_once(payload: Payload[str], ctx: Context) -> str:
        nonlocal runs
        runs += 1
        if payload.value == "first" and payload.attempt == 1:
            monkeypatch.setattr(FailingConnection, "failing", moment)
            raise ConnectionError("refused")
        return payload.value

    policy = Retry(max_attempts=2, backoff=0.01)
    async with running(Collector("c", fail_once, retry=policy), journal=str(path)) as queue:
        publisher = queue.get_publisher()
        event = await publisher.send(Payload("first"))
        assert (await event.wait()).first().unwrap() == "first"
        refused = 0
        for _ in range(3):
            try:
                late = await publisher.send(Payload("late"))
            except JournalError as exc:
                refused += str(exc) == f"the journal {path} cannot be written: disk I/O error"
            else:
                assert not isinstance((await late.wait()).first(), Error)
            balanced(queue)
        assert refused == (3 if moment in {"BEGIN", "INSERT INTO event", "COMMIT"} else refused)
        monkeypatch.setattr(FailingConnection, "failing", "")
        assert (await (await publisher.send(Payload("again"))).wait()).first().unwrap() == "again"
        assert queue.accounting().accepted == 2 + 3 - refused
    assert runs == 1 + 2 + 3 - refused
    file = JournalFile(str(path))
    assert file.counts() == (0, 0)
    file.close()
