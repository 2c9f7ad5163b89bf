"""The file of a journal: what it keeps, what it refuses to open, and who may have it."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from event_collector import JournalError
from event_collector.handlers.attempt import Attempt
from event_collector.journal.file import JournalFile
from event_collector.journal.running_page import SIZE, SLOTS, RunningPage
from event_collector.journal.stored_event import Changes, StoredEvent, StoredLetter, StoredProgress


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.journal"


def record(number: int, body: bytes = b"body") -> StoredEvent:
    return StoredEvent(number, "builtins.int", body, 1000.0 + number).sealed()


def letter(number: int, collector: str = "orders") -> StoredLetter:
    return StoredLetter(record(number), collector, 3, "exhausted", "ValueError: no", "Traceback", 5000.0)


def write(file: JournalFile, *numbers: int, body: bytes = b"body") -> None:
    changes = Changes()
    changes.inserted = {number: record(number, body) for number in numbers}
    file.apply(changes)


def ids(path: Path) -> list[int]:
    file = JournalFile(str(path))
    try:
        return [found.id for found in file.events()]
    finally:
        file.close()


@pytest.fixture
def file(path: Path) -> Iterator[JournalFile]:
    opened = JournalFile(str(path))
    yield opened
    opened.abandon()


# -- contents --


def test_what_was_written_is_there_after_the_file_was_closed(file: JournalFile, path: Path) -> None:
    """Records come back whole and in the order of their ids, finished ones do not."""
    write(file, 3, 1, 2)
    changes = Changes()
    changes.finish(2)
    changes.attempted[3] = StoredProgress({"orders": Attempt(2, "ValueError: no", 1)}, 77.0).encode()
    file.apply(changes)
    file.close()
    again = JournalFile(str(path))
    first, third = again.events()
    assert first == record(1)
    assert third == record(3)._replace(progress=third.progress)
    assert StoredProgress.decode(third.progress) == ({"orders": Attempt(2, "ValueError: no", 1)}, 77.0)
    again.close()


def test_the_running_page_survives_whoever_wrote_it(path: Path) -> None:
    """The next one finds the events that had begun and not ended; a page that was closed leaves nothing."""
    page = RunningPage(str(path))
    assert page.interrupted == frozenset()
    for number in (7, 8, 2**63, 8):
        page.begin(number)
    page.end(8)
    page.end(99)
    page.begin(9)
    again = RunningPage(str(path))  # while the first is as it was when its program died
    assert again.interrupted == {7, 9, 2**63}
    again.clear()
    assert RunningPage(str(path)).interrupted == frozenset()
    again.close()
    assert list(path.parent.iterdir()) == []


def test_the_running_page_tells_the_highest_id(path: Path) -> None:
    """Until it is forgotten, or the program ends in good order; if that could not be written, the page stays."""
    page = RunningPage(str(path))
    page.record_id(41)
    again = RunningPage(str(path))
    assert (again.highest_id, again.interrupted) == (41, frozenset())
    again.close(keep=True)
    assert RunningPage(str(path)).highest_id == 41
    page.clear()
    assert RunningPage(str(path)).highest_id == 0
    page.close()
    assert list(path.parent.iterdir()) == []


def test_more_events_than_the_running_page_has_room_for_are_no_error(path: Path) -> None:
    """They are not kept track of, until there is room again."""
    page = RunningPage(str(path))
    for number in range(1, SLOTS + 11):
        page.begin(number)
    for number in range(1, SLOTS + 11):
        page.end(number)
    page.begin(5)
    assert RunningPage(str(path)).interrupted == {5}
    page.close()


def test_a_short_or_foreign_running_page_is_filled_up(path: Path) -> None:
    """What another program or a full disk has left cannot hurt; a symbolic link is refused."""
    file = Path(f"{path}-running")
    file.write_bytes(b"abc")
    assert len(RunningPage(str(path)).interrupted) == 1
    assert file.stat().st_size == SIZE
    file.unlink()
    file.symlink_to(path)
    with pytest.raises(OSError, match="symbolic links"):
        RunningPage(str(path))


@pytest.mark.parametrize(("synchronous", "number"), [("full", 2), ("normal", 1)])
def test_how_long_a_write_waits_for_the_disk(path: Path, synchronous: str, number: int) -> None:
    """SQLite is told so, and keeps its log."""
    file = JournalFile(str(path), synchronous=synchronous)
    assert file.db.execute("PRAGMA synchronous").fetchone() == (number,)
    assert file.db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    file.close()


def test_ids_are_never_given_twice(file: JournalFile, path: Path) -> None:
    """The highest id is remembered although its event is finished."""
    write(file, 41)
    changes = Changes()
    changes.finish(41)
    file.apply(changes)
    file.close()
    again = JournalFile(str(path))
    assert again.last_id() == 41
    assert again.counts() == (0, 0)
    again.close()


def test_dead_letters_are_kept_by_event_and_collector(file: JournalFile) -> None:
    """Two collectors may fail the same event; each letter goes by itself."""
    changes = Changes()
    changes.bury(letter(1))
    changes.bury(letter(1, "stock"))
    file.apply(changes)
    assert list(file.dead_letters()) == [letter(1), letter(1, "stock")]
    changes = Changes()
    changes.drop(1, "orders")
    file.apply(changes)
    assert list(file.dead_letters()) == [letter(1, "stock")]


def test_a_replayed_dead_letter_is_an_event_of_its_collector_alone(file: JournalFile) -> None:
    """It has a new id, sound contents, and no attempts; the letter is gone."""
    changes = Changes()
    changes.bury(letter(7))
    file.apply(changes)
    assert file.replay(list(file.dead_letters())) == 1
    assert not list(file.dead_letters())
    (event,) = file.events()
    assert event.id > 7
    assert event.is_sound
    assert event.body == b"body"
    assert StoredProgress.decode(event.progress) == ({"orders": Attempt()}, None)


def test_a_changed_record_is_not_sound(file: JournalFile) -> None:
    """The checksum tells a record of which anything has changed that does not."""
    write(file, 1)
    (found,) = file.events()
    assert found.is_sound
    for changed in ({"id": 2}, {"schema": "builtins.str"}, {"body": b"bodx"}, {"expires": 5.0}, {"accepted": 1.0}):
        assert not found._replace(**changed).is_sound  # type: ignore[arg-type]


def test_a_hundred_thousand_events_leave_a_small_file(file: JournalFile, path: Path) -> None:
    """What finished events took is given back: neither the database nor its log grows with their number."""
    for begin in range(0, 100_000, 5_000):
        write(file, *range(begin, begin + 5_000), body=b"x" * 200)
        changes = Changes()
        changes.finished = set(range(begin, begin + 5_000))
        file.apply(changes)
        file.tidy()
    assert path.stat().st_size + Path(f"{path}-wal").stat().st_size < 12_000_000
    file.close()
    assert path.stat().st_size < 200_000
    assert not Path(f"{path}-wal").exists()


def test_changes_that_could_not_be_written_go_before_later_ones(file: JournalFile) -> None:
    """What is written late ends as if it had been written in time."""
    write(file, 1, 2, 3)
    early, late = Changes(), Changes()
    early.attempted[1] = b"early"
    early.attempted[2] = b"early"
    early.bury(letter(3))
    early.finish(3)
    late.attempted[1] = b"late"
    late.drop(3, "orders")
    early.precede(late)
    file.apply(early)
    first, second = file.events()
    assert (first.progress, second.progress) == (b"late", b"early")
    assert not list(file.dead_letters())


# -- who may have it --


HOLD = """
import sys
from event_collector.journal.file import JournalFile
file = JournalFile(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


def hold(path: Path) -> "subprocess.Popen[bytes]":
    """Start a process that has the journal open."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"open\n"
    return process


def test_a_second_process_is_refused_with_the_pid_of_the_first(path: Path) -> None:
    """While a process has the journal no other gets it; when that is killed, the next one does."""
    process = hold(path)
    try:
        with pytest.raises(JournalError, match=f"in use by another process, pid {process.pid}: end that program"):
            JournalFile(str(path))
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert ids(path) == []


def test_a_second_queue_of_the_same_process_is_refused(file: JournalFile, path: Path) -> None:
    """The kernel would let one process lock a file twice; the journal does not, whatever the path looks like."""
    (path.parent / "sub").mkdir()
    for same in (path, path.parent / "sub" / ".." / path.name):
        with pytest.raises(JournalError, match=f"another queue of this process, pid {os.getpid()}"):
            JournalFile(str(same))
    file.close()
    assert ids(path) == []


def test_whoever_only_reads_needs_no_lock(file: JournalFile, path: Path) -> None:
    """A reader sees what is written so far, while the writer goes on; it cannot write."""
    write(file, 1, 2)
    reader = JournalFile(str(path), read_only=True)
    assert reader.counts() == (2, 0)
    with pytest.raises(JournalError, match="readonly"):
        write(reader, 3)
    reader.close()
    write(file, 3)
    assert file.counts() == (3, 0)


# -- what is refused --


def refused(path: Path, match: str) -> None:
    """See that the journal is refused, and that it and its log are what they were."""
    before = contents(path)
    with pytest.raises(JournalError, match=match):
        JournalFile(str(path))
    assert contents(path) == before
    with pytest.raises(JournalError, match=match):  # and no lock stays behind
        JournalFile(str(path))


def contents(path: Path) -> dict[str, bytes]:
    """Return what the files of a journal hold, apart from the lock and the index of the log, which hold no events."""
    found = (path, Path(f"{path}-wal"), Path(f"{path}-running"))
    return {file.name: file.read_bytes() for file in found if file.is_file()}


def test_files_are_for_their_owner_only(file: JournalFile, path: Path) -> None:
    """The journal and all that lies beside it is 0600, whatever the umask allows."""
    write(file, 1)
    beside = list(path.parent.iterdir())
    assert len(beside) == 4
    assert {stat.S_IMODE(found.stat().st_mode) for found in beside} == {0o600}


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    """A text file is not touched."""
    path.write_text("Dear diary, " * 100)
    refused(path, "is no journal, or its beginning is damaged")


def test_an_empty_file_is_refused(path: Path) -> None:
    """A journal that was cut to nothing must not pass for a new one."""
    path.touch()
    refused(path, "is empty, and no journal: remove it")


def test_the_database_of_another_program_is_refused(path: Path) -> None:
    """It is not touched."""
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE event (id)")
    db.commit()
    db.close()
    refused(path, "is no journal but the database of another program")


def test_a_journal_of_another_version_is_refused(file: JournalFile, path: Path) -> None:
    """The message names both versions."""
    file.close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 9")
    db.close()
    refused(path, "another version of event_collector: its schema is 9, and this version knows 1")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """The journal's folder is not made."""
    refused(tmp_path / "nowhere" / "events.journal", f"there is no folder {tmp_path / 'nowhere'}|cannot be locked")


def test_a_symbolic_link_is_refused(file: JournalFile, path: Path) -> None:
    """Somebody could have put it there to have another file overwritten."""
    file.close()
    link = path.with_name("link")
    link.symlink_to(path)
    with pytest.raises(JournalError, match="is a symbolic link"):
        JournalFile(str(link))


def test_a_lock_that_is_a_symbolic_link_is_refused(path: Path) -> None:
    """Nothing is written through it."""
    victim = path.with_name("victim")
    victim.write_text("precious")
    Path(f"{path}-lock").symlink_to(victim)
    with pytest.raises(JournalError, match="cannot be locked"):
        JournalFile(str(path))
    assert victim.read_text() == "precious"


def test_a_folder_is_refused(path: Path) -> None:
    """A journal is a file."""
    path.mkdir()
    refused(path, "is no file")


def test_a_log_without_its_journal_is_refused(path: Path) -> None:
    """A new database would swallow the events of an old one's log."""
    Path(f"{path}-wal").write_bytes(b"log")
    refused(path, "is missing, but its log .*-wal exists")


def test_a_read_only_file_is_refused_at_the_start(file: JournalFile, path: Path) -> None:
    """Not with the first event."""
    file.close()
    path.chmod(0o400)
    with as_nobody(path.parent), pytest.raises(JournalError, match=r"read-only|readonly|belongs to another"):
        JournalFile(str(path))


def test_a_read_only_folder_is_refused_at_the_start(path: Path) -> None:
    """The message says what cannot be written."""
    path.parent.chmod(0o500)
    try:
        with as_nobody(path.parent, give=False), pytest.raises(JournalError, match="Permission denied"):
            JournalFile(str(path))
    finally:
        path.parent.chmod(0o700)


class as_nobody:
    """Be no superuser for a while, who may write to everything; the folder is given to that user."""

    def __init__(self, folder: Path, *, give: bool = True) -> None:
        self._folder, self._give = folder, give
        self._root = os.geteuid() == 0

    def __enter__(self) -> None:
        if not self._root:
            return
        for parent in (*self._folder.parents, self._folder):
            if parent.owner() == "root":
                parent.chmod(stat.S_IMODE(parent.stat().st_mode) | 0o011)
        if self._give:
            for found in (self._folder, *self._folder.iterdir()):
                os.chown(found, 65534, -1)
        os.seteuid(65534)

    def __exit__(self, *_exc: object) -> None:
        if self._root:
            os.seteuid(0)


# -- what a crash may leave --


def test_a_crash_while_the_file_was_made_leaves_none_or_all_of_it(path: Path) -> None:
    """What is left under the other name is made anew."""
    Path(f"{path}-new").write_bytes(b"half")
    assert ids(path) == []
    assert not Path(f"{path}-new").exists()


def crashed(path: Path, transactions: int, checkpoint_after: int = 0) -> None:
    """Leave a journal as a killed process does: its events in the log, but for those up to `checkpoint_after`."""
    code = f"""
import os, sys
from tests.event_collector.journal.test_journal_file import JournalFile, write
file = JournalFile(sys.argv[1])
for number in range(1, {transactions} + 1):
    write(file, number)
    if number == {checkpoint_after}:
        file.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
os.kill(os.getpid(), 9)
"""
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", code, str(path)], cwd=root, check=False, timeout=60)
    assert Path(f"{path}-wal").stat().st_size > 0


def test_events_in_the_log_of_a_killed_process_are_there(path: Path) -> None:
    """SQLite takes them over."""
    crashed(path, 5)
    assert ids(path) == [1, 2, 3, 4, 5]


def test_a_torn_end_of_the_log_costs_no_more_than_its_transaction(path: Path) -> None:
    """However much of the last transaction is missing, those before it are there."""
    crashed(path, 5)
    log = Path(f"{path}-wal")
    whole = log.read_bytes()
    original = path.read_bytes()
    for cut in (1, 100, 4000, 4096, 4120):
        path.write_bytes(original)
        log.write_bytes(whole[:-cut])
        Path(f"{path}-shm").unlink(missing_ok=True)
        found = ids(path)
        assert found == [1, 2, 3, 4], cut


def test_a_flipped_bit_within_the_log_is_reported(path: Path) -> None:
    """SQLite would read up to there and say nothing: acknowledged events would be gone."""
    crashed(path, 9)
    log = Path(f"{path}-wal")
    whole = log.read_bytes()
    for place in (3, 20, 31, 40, 50, 300, len(whole) // 2):
        changed = bytearray(whole)
        changed[place] ^= 4
        log.write_bytes(changed)
        refused(path, "its write-ahead log has transactions that cannot be read")
    log.write_bytes(whole)
    assert ids(path) == list(range(1, 10))


def test_a_broken_page_of_the_database_is_reported(file: JournalFile, path: Path) -> None:
    """The message says how to save what can be saved."""
    write(file, *range(1, 500), body=b"x" * 100)
    file.close()
    data = bytearray(path.read_bytes())
    data[5 * 4096 : 5 * 4096 + 200] = bytes(200)
    path.write_bytes(data)
    refused(path, r"is damaged: .* `sqlite3 .* \.recover` may save what it holds")


def test_a_damaged_database_keeps_its_log(path: Path) -> None:
    """The log of a program that was killed is not moved into a database that is refused: it may hold the last copy."""
    crashed(path, 300, checkpoint_after=280)
    log = Path(f"{path}-wal").read_bytes()
    data = bytearray(path.read_bytes())
    data[2 * 4096 :] = bytes(len(data) - 2 * 4096)
    path.write_bytes(data)
    refused(path, r"is damaged: .* Nothing was changed")
    assert Path(f"{path}-wal").read_bytes() == log


@pytest.mark.parametrize("statement", ["DROP TABLE dead_letter", "ALTER TABLE event DROP COLUMN progress"])
def test_a_journal_without_one_of_its_tables_is_damaged(file: JournalFile, path: Path, statement: str) -> None:
    """This is said at the start, not when the events are read."""
    file.close()
    db = sqlite3.connect(path, isolation_level=None)
    db.execute(statement)
    db.close()
    refused(path, "is damaged: no such")


# -- paths --


@pytest.mark.parametrize(
    "name",
    [
        ":memory:", "file:j?mode=memory&cache=shared", "file::memory:", "file:j", "a?b#c", "a%41b", "a b", "-j",
        "line\nbreak", "'quoted\"", "\u00e9\u4e2d", os.fsdecode(b"\xff\xfe"),
    ],
)  # fmt: skip
def test_every_name_is_the_name_of_a_file(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite does not take it for a URI or a database in memory, relative or absolute, and the events are in it."""
    monkeypatch.chdir(tmp_path)
    for path in (name, str(tmp_path / name), f"/{tmp_path / name}"):
        file = JournalFile(path)
        write(file, file.last_id() + 1)
        file.close()
    assert {found.name for found in tmp_path.iterdir()} == {name, f"{name}-lock"}
    assert ids(tmp_path / name) == [1, 2, 3]


@pytest.mark.parametrize("kind", ["folder", "folder/", "missing/", "pipe", "link"])
def test_what_can_be_no_journal_is_refused_and_nothing_is_left_beside_it(tmp_path: Path, kind: str) -> None:
    """Not even a lock."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("nowhere")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(JournalError, match=r"is no file|ends like that of a folder|is a symbolic link"):
        JournalFile(f"{tmp_path}/{kind}")
    assert sorted(tmp_path.iterdir()) == before


def test_a_log_that_is_a_pipe_is_refused(file: JournalFile, path: Path) -> None:
    """Reading it would never end."""
    file.close()
    os.mkfifo(f"{path}-wal")
    refused(path, "-wal is not a regular file")


def test_a_folder_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path has no meaning then."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(JournalError, match="cannot be opened: No such file"):
        JournalFile("events.journal")


def test_a_program_may_change_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path belongs to the folder in which the journal was opened."""
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    file, page = JournalFile("events.journal"), RunningPage("events.journal")
    monkeypatch.chdir(tmp_path / "other")
    assert file.loss() is None
    write(file, 1)
    file.close()
    page.close()
    assert ids(tmp_path / "events.journal") == [1]
    assert not (tmp_path / "events.journal-running").exists()
