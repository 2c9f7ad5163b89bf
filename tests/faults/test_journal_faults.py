"""Faults 22, 23, 24 and the files of 42: the journal under SIGKILL, torn writes, flipped bits, a full disk."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from event_collector import JournalError, Payload, PayloadTypeError
from event_collector.journal.file import JournalFile
from event_collector.journal.journal_codec import JournalCodec
from event_collector.journal.stored_event import Changes, StoredEvent, StoredLetter
from event_collector.journal.write_ahead_log import survey

BOMB = 666_666
PROGRAM = Path(__file__).with_name("journal_program.py")
ROOT = Path(__file__).parents[2]
BOUND = 60.0
CODEC = JournalCodec([], 1_000_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.journal"


class Told(NamedTuple):
    """What a program has told so far."""

    accepted: set[int]
    ran: Counter[int]
    ids: dict[int, set[str]]
    refused: dict[int, str]
    idle: int


class Program:
    """A program of journal_program.py; its output goes to a file, which outlives it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._output = path.with_name("output")
        self._output.touch()

    def start(self, first: int, count: int, *options: str, limit: int = 0) -> "subprocess.Popen[bytes]":
        code = [str(PROGRAM)]
        if limit:
            setting = f"import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))"
            code = ["-c", f"{setting}; runpy.run_path({str(PROGRAM)!r}, run_name='__main__')"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "workers")])}
        if not limit:  # which would be one of this file, too
            environment["EVENT_OUTPUT"] = str(self._output)
        return subprocess.Popen(
            [sys.executable, *code, str(self._path), str(first), str(count), *options],
            env=environment,
            stdout=subprocess.PIPE if limit else None,
            stderr=subprocess.PIPE,
        )

    def finish(self, first: int, count: int, *options: str, limit: int = 0) -> None:
        """Run it to its end."""
        process = self.start(first, count, *options, limit=limit)
        output, errors = process.communicate(timeout=BOUND)
        assert process.returncode == 0, errors.decode()
        with self._output.open("ab") as file:
            file.write(output or b"")

    def size(self) -> int:
        return self._output.stat().st_size

    def told(self) -> Told:
        told = Told(set(), Counter(), {}, {}, 0)
        idle = 0
        for line in self._output.read_text().splitlines():
            kind, *words = line.split(maxsplit=2)
            if kind == "accepted":
                told.accepted.add(int(words[0]))
            elif kind == "ran":
                told.ran[int(words[0])] += 1
                told.ids.setdefault(int(words[0]), set()).add(words[1])
            elif kind == "refused":
                told.refused[int(words[0])] = words[1]
            idle += kind == "idle"
        return told._replace(idle=idle)


def wait_for_growth(program: Program, process: "subprocess.Popen[bytes]", size: int) -> None:
    deadline = time.monotonic() + BOUND
    while program.size() < size and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.0005)


# -- 22: SIGKILL at every point --


@pytest.mark.parametrize(
    ("mode", "synchronous", "kills"), [("coroutine", "full", 8), ("coroutine", "normal", 3), ("process", "full", 3)]
)
def test_what_was_acknowledged_survives_sigkill_at_any_moment(
    path: Path, mode: str, synchronous: str, kills: int
) -> None:
    """Each program is killed somewhere in its work, the next goes on: all that was accepted has run, under one id."""
    chance = random.Random(f"{mode} {synchronous}")
    program, first = Program(path), 0
    for _ in range(kills):
        process = program.start(first, 2000, mode, synchronous)
        wait_for_growth(program, process, program.size() + chance.choice([1, 500, 3000, 12000]))
        time.sleep(chance.random() * 0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        first += 2000
    program.finish(first, 10, mode, synchronous)
    told = program.told()
    assert told.idle >= 1  # one that was to be killed may have been through
    assert len(told.accepted) > 10
    assert told.accepted - set(told.ran) == set()
    assert max(len(ids) for ids in told.ids.values()) == 1
    with_second_run = sum(count > 1 for count in told.ran.values())
    assert with_second_run < len(told.ran)  # most are struck out in time
    file = JournalFile(str(path))
    assert file.counts() == (0, 0)
    file.close()


def filled(path: Path, count: int, *, crash: bool) -> None:
    """Make a journal of so many events, each in a transaction of its own; `crash` leaves them in the log."""
    file = JournalFile(str(path))
    for number in range(1, count + 1):
        changes = Changes()
        schema, body = CODEC.encode(Payload({"number": number, "text": "x" * (number * 37 % 300)}))
        changes.inserted[number] = StoredEvent(number, schema, body, 0.0).sealed()
        file.apply(changes)
    if not crash:
        file.close()
        return
    for name in ("", "-wal"):
        shutil.copy(f"{path}{name}", path.with_name(f"copy{name}"))
    file.abandon()
    for name in ("", "-wal"):
        os.replace(path.with_name(f"copy{name}"), f"{path}{name}")


def found(path: Path) -> tuple[set[int], set[int]] | None:
    """Return the events that a journal still has, and those that it reports as damaged; None when it is refused."""
    try:
        file = JournalFile(str(path))
    except JournalError as exc:
        if not re.search("damaged|no journal|another version", str(exc)):
            raise
        return None
    sound, damaged = set(), set()
    try:
        for record in file.events():
            try:
                assert CODEC.decode(record).value["number"] == record.id
                sound.add(record.id)
            except PayloadTypeError:
                damaged.add(record.id)
    finally:
        file.abandon()
    return sound, damaged


def test_a_log_that_was_torn_anywhere_costs_the_last_transaction_only(path: Path) -> None:
    """Cut at any byte, every transaction before the cut is there, and nothing else is asked of anybody."""
    filled(path, 40, crash=True)
    log, whole, original = Path(f"{path}-wal"), Path(f"{path}-wal").read_bytes(), path.read_bytes()
    seen = set()
    for cut in random.Random(1).sample(range(33, len(whole)), 40):
        path.write_bytes(original)
        log.write_bytes(whole[:cut])
        Path(f"{path}-shm").unlink(missing_ok=True)
        expected = survey(str(path)).transactions - 1  # the first is the start's own
        assert found(path) == (set(range(1, expected + 1)), set()), cut
        seen.add(expected)
    assert len(seen) > 15


@pytest.mark.parametrize("crash", [False, True])
def test_no_flipped_bit_loses_an_event_silently(path: Path, crash: bool) -> None:
    """A journal with a flipped bit is refused, or has every event, or reports the damaged one."""
    count, flips = 120, 60
    filled(path, count, crash=crash)
    log = Path(f"{path}-wal")
    originals = {file: file.read_bytes() for file in (path, log) if file.exists()}
    target = log if crash else path
    chance = random.Random(2)
    outcomes: Counter[str] = Counter()
    last = last_transaction(originals[log]) if crash else 0
    for _ in range(flips):
        for file, data in originals.items():
            file.write_bytes(data)
        Path(f"{path}-shm").unlink(missing_ok=True)
        place = chance.randrange(last or len(originals[target]))
        data = bytearray(originals[target])
        data[place] ^= 1 << chance.randrange(8)
        target.write_bytes(data)
        outcome = found(path)
        if outcome is None:
            outcomes["refused"] += 1
            continue
        sound, damaged = outcome
        assert len(sound) + len(damaged) == count, f"bit of byte {place}: {len(sound)} sound, {damaged} damaged"
        outcomes["damaged event" if damaged else "harmless"] += 1
    assert outcomes["refused"] > (flips * 2 / 3 if crash else 0)
    assert crash or outcomes["damaged event"] > flips / 3


def last_transaction(log: bytes) -> int:
    """Return where the last transaction begins: a flip in it cannot be told from a torn write."""
    size = 24 + int.from_bytes(log[8:12], "big")
    frames = range(32, len(log) - size + 1, size)
    commits = [begin for begin in frames if log[begin + 4 : begin + 8] != b"\0\0\0\0"]
    return commits[-2] + size


def test_an_event_that_ends_the_program_at_once_is_found_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its handler ends the process before anything is written: it runs `max_crashes` times, and the others are done.

    Also those that were in handlers beside it each time: in the end they run one after the other.
    """
    monkeypatch.setenv("MAX_CRASHES", "3")
    program = Program(path)
    for count in (10, 0, 0):
        process = program.start(BOMB - 5, count)
        process.communicate(timeout=BOUND)
        assert process.returncode == -signal.SIGABRT
    program.finish(0, 0)
    told = program.told()
    assert told.ran[BOMB] == 3
    assert told.accepted <= told.ran.keys()
    file = JournalFile(str(path))
    (letter,) = file.dead_letters()
    assert (letter.reason, CODEC.decode(letter.event).value) == ("quarantined", BOMB)
    file.close()


# -- 23: the disk --


def test_a_full_disk_refuses_what_it_cannot_keep(path: Path) -> None:
    """Each send is acknowledged or refused, nothing between; the program goes on, and all that was accepted ran."""
    program = Program(path)
    program.finish(0, 3000, limit=200_000)
    told = program.told()
    assert told.refused
    assert told.accepted | set(told.refused) == set(range(3000))
    assert not told.accepted & set(told.refused)
    assert all("cannot be written" in error for error in told.refused.values())
    assert set(told.ran) == told.accepted
    program.finish(3000, 100)  # there is room again
    told = program.told()
    assert set(range(3000, 3100)) <= told.accepted
    assert told.accepted == set(told.ran)


def test_a_start_on_a_full_disk_says_so(path: Path) -> None:
    """And leaves nothing that a later start would stumble over."""
    process = Program(path).start(0, 1, limit=2000)
    _, errors = process.communicate(timeout=BOUND)
    assert process.returncode == 1
    assert b"JournalError: the journal" in errors
    Program(path).finish(0, 1)


# -- 24: twice --


def test_replaying_dead_letters_twice_with_a_crash_runs_each_once(path: Path) -> None:
    """The letters are events from the moment of the replay on: a second one finds none."""
    file = JournalFile(str(path))
    changes = Changes()
    for number in (1, 2, 3):
        schema, body = CODEC.encode(Payload(number))
        record = StoredEvent(number, schema, body, 0.0).sealed()
        changes.bury(StoredLetter(record, "work", 1, "exhausted", "ValueError: no", "", 0.0))
    file.apply(changes)
    assert file.replay(list(file.dead_letters())) == 3
    file.abandon()  # as after a crash
    again = JournalFile(str(path))
    assert again.replay(list(again.dead_letters())) == 0
    again.close()
    program = Program(path)
    program.finish(10, 0)
    assert program.told().ran == {1: 1, 2: 1, 3: 1}
    program.finish(10, 0)
    assert program.told().ran == {1: 1, 2: 1, 3: 1}


# -- 42: files --


def test_a_second_program_is_refused_until_the_first_is_dead(path: Path) -> None:
    """Its message names the first one's pid; SIGKILL frees the journal at once, workers or not."""
    program = Program(path)
    first = program.start(0, 100_000, "process")
    wait_for_growth(program, first, 1)
    second = program.start(0, 1)
    _, errors = second.communicate(timeout=BOUND)
    assert second.returncode == 1
    assert f"is in use by another process, pid {first.pid}".encode() in errors
    first.send_signal(signal.SIGKILL)
    first.communicate()
    JournalFile(str(path)).close()
