"""`event-collector journal`: what it shows, what it changes, and when it refuses."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from event_collector import Payload
from event_collector.handlers.attempt import Attempt
from event_collector.journal.file import JournalFile
from event_collector.journal.journal_codec import JournalCodec
from event_collector.journal.stored_event import Changes, StoredEvent, StoredLetter, StoredProgress

BOUND = 30.0
TRACE = "Traceback (most recent call last)"


def record(number: int, value: Any) -> StoredEvent:
    schema, body = JournalCodec([], 1_000_000).encode(Payload(value))
    return StoredEvent(number, schema, body, 1_000_000_000.0 + number).sealed()


def letter(number: int, collector: str, value: Any = "lost") -> StoredLetter:
    return StoredLetter(record(number, value), collector, 3, "exhausted", "ValueError: no", TRACE, 1_000_000_100.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of two unfinished events and three dead letters of two events."""
    path = tmp_path / "orders.journal"
    file = JournalFile(str(path))
    changes = Changes()
    changes.inserted = {1: record(1, {"number": 1}), 4: record(4, b"\x00\xff")}
    changes.attempted[4] = StoredProgress({"bill": Attempt(2, "OSError: busy", 0)}, 1_000_000_500.0).encode()
    for one in (letter(2, "bill"), letter(2, "stock"), letter(3, "bill", "\x1b[31mred\n")):
        changes.bury(one)
    file.apply(changes)
    file.close()
    return path


def journal(path: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "event_collector", "journal", str(path), *arguments],
        capture_output=True, text=True, timeout=BOUND, check=False,
    )  # fmt: skip


def entries(path: Path, *arguments: str) -> list[Any]:
    done = journal(path, "list", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def keys(path: Path, *arguments: str) -> list[tuple[int, str | None]]:
    return [(entry["id"], entry.get("collector")) for entry in entries(path, *arguments)]


def test_it_lists_everything(path: Path) -> None:
    """Unfinished events first, each with its value and what was tried."""
    first, fourth, *letters = entries(path)
    assert first == {
        "state": "unfinished", "id": 1, "accepted": "2001-09-09T01:46:41+00:00", "attempts": {}, "error": "",
        "due": None, "crashes": 0, "type": "builtins.dict", "value": {"number": 1},
    }  # fmt: skip
    assert (fourth["attempts"], fourth["error"]) == ({"bill": 2}, "OSError: busy")
    assert fourth["due"] == "2001-09-09T01:55:00+00:00"
    assert letters[0] == {
        "state": "dead", "id": 2, "accepted": "2001-09-09T01:46:42+00:00", "died": "2001-09-09T01:48:20+00:00",
        "collector": "bill", "reason": "exhausted", "attempts": 3, "error": "ValueError: no",
        "type": "builtins.str", "value": "lost",
    }  # fmt: skip
    assert [(entry["id"], entry["collector"]) for entry in letters] == [(2, "bill"), (2, "stock"), (3, "bill")]


def test_a_line_for_people_cannot_control_their_terminal(path: Path) -> None:
    """One line each, without control characters."""
    done = journal(path)
    assert len(done.stdout.splitlines()) == 5
    assert "\x1b" not in done.stdout
    assert "dead  2  bill  exhausted" in done.stdout
    assert '"lost"  (ValueError: no)' in done.stdout


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--unfinished"], [(1, None), (4, None)]),
        (["--dead"], [(2, "bill"), (2, "stock"), (3, "bill")]),
        (["--collector", "bill"], [(2, "bill"), (3, "bill")]),
        (["--id", "1", "--id", "3"], [(1, None), (3, "bill")]),
        (["--id", "9"], []),
    ],
)
def test_it_lists_what_was_asked_for(path: Path, options: list[str], expected: list[Any]) -> None:
    """By state, collector, id."""
    assert keys(path, *options) == expected


def test_it_counts(path: Path) -> None:
    """As text and as JSON."""
    assert journal(path, "count").stdout == "unfinished 2\ndead 3\n"
    assert journal(path, "count", "--json", "--collector", "stock").stdout == '{"unfinished":0,"dead":1}\n'


def test_dead_letters_are_replayed(path: Path) -> None:
    """They become events that go to their collector only; the others stay."""
    done = journal(path, "replay", "--collector", "bill")
    assert (done.stdout, done.returncode) == ("2 dead letters will run again at the next start\n", 0)
    assert keys(path, "--dead") == [(2, "stock")]
    replayed = entries(path, "--unfinished")[2:]
    assert [(entry["value"], entry["attempts"]) for entry in replayed] == [
        ("lost", {"bill": 0}),
        ("\x1b[31mred\n", {"bill": 0}),
    ]
    assert min(entry["id"] for entry in replayed) > 4


def test_they_are_dropped(path: Path) -> None:
    """Dead letters, or unfinished events when told so."""
    assert journal(path, "drop", "--id", "2").stdout == "2 dead letters dropped\n"
    assert journal(path, "drop", "--unfinished", "--all", "--json").stdout == '{"dropped":2}\n'
    assert keys(path) == [(3, "bill")]


@pytest.mark.parametrize("action", ["replay", "drop"])
def test_a_change_says_what_of(path: Path, action: str) -> None:
    """Nothing is changed by a slip: neither all of it, nor a part of what was named."""
    done = journal(path, action)
    assert (done.returncode, done.stderr) == (
        2,
        f"event-collector journal: say which to {action}: --id N, --collector KEY or --all\n",
    )
    done = journal(path, action, "--id", "2", "--id", "77")
    assert done.returncode == 2
    assert "there is no dead letter 77" in done.stderr
    assert len(keys(path)) == 5


def test_unfinished_events_need_no_replay(path: Path) -> None:
    """They run anyway."""
    assert "unfinished events run at the next start anyway" in journal(path, "replay", "--unfinished", "--all").stderr


def test_it_reads_beside_a_queue_and_changes_nothing_there(path: Path) -> None:
    """Who holds the journal is named."""
    file = JournalFile(str(path))
    try:
        assert len(keys(path)) == 5
        done = journal(path, "drop", "--all")
        assert done.returncode == 2
        assert "is in use by another process, pid" in done.stderr
    finally:
        file.close()
    assert len(keys(path)) == 5


@pytest.mark.parametrize("action", ["list", "drop"])
def test_what_is_no_journal_is_refused(tmp_path: Path, action: str) -> None:
    """With status 2, and nothing is made."""
    done = journal(tmp_path / "none", action, "--all")
    assert (done.returncode, done.stderr) == (2, f"event-collector journal: there is no journal {tmp_path}/none\n")
    (tmp_path / "text").write_text("no database " * 20)
    done = journal(tmp_path / "text", action, "--all")
    assert done.returncode == 2
    assert "is no journal, or its beginning is damaged" in done.stderr
    assert [found.name for found in tmp_path.iterdir() if "none" in found.name] == []


def test_a_reader_that_goes_away_ends_it_quietly(path: Path) -> None:
    """As `| head` does."""
    file = JournalFile(str(path))
    changes = Changes()
    changes.inserted = {number: record(number, "x" * 500) for number in range(100, 1100)}
    file.apply(changes)
    file.close()
    done = subprocess.run(
        ["bash", "-c", f"'{sys.executable}' -m event_collector journal '{path}' --json | head -1"],
        capture_output=True, text=True, timeout=BOUND, check=False,
    )  # fmt: skip
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""
