"""`event-collector run --journal`: what was read and not written out is not lost, however the run ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from .running import BOUND, command, events, lines_of, run, start, wait_until


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "run.journal"


def counts(journal: Path) -> Any:
    done = subprocess.run(
        [*command()[:3], "journal", str(journal), "count", "--json"], capture_output=True, timeout=BOUND, check=False
    )  # fmt: skip
    return json.loads(done.stdout or "null")


@pytest.mark.parametrize("target", ["echo", "rest"])
def test_a_run_that_ends_well_leaves_nothing(journal: Path, target: str) -> None:
    """Its output is what it would be without a journal."""
    options = ["--journal", str(journal)]
    plain, kept = (run(*given, target=target, stdin=events(50, seconds=0) + "nonsense\n") for given in ([], options))
    assert kept.stdout == plain.stdout
    assert kept.returncode == plain.returncode == 1
    assert counts(journal) == {"unfinished": 0, "dead": 0}


@pytest.mark.parametrize("unordered", [[], ["--unordered"]])
def test_a_killed_run_is_taken_up_by_the_next(tmp_path: Path, journal: Path, unordered: list[str]) -> None:
    """Every line that was read is written by one of the two runs at least, with its number."""
    trace = tmp_path / "begun"
    options = ["--journal", str(journal), "--quiet", *unordered]
    process = start(*options, target="rest")
    assert process.stdin is not None
    lines = [
        json.dumps({"n": n, "seconds": 0 if n < 5 else 60, **({"touch": str(trace)} if n == 9 else {})})
        for n in range(1, 10)
    ]
    process.stdin.write("\n".join(lines).encode() + b"\n")
    process.stdin.flush()
    wait_until(trace.exists)
    written: list[Any] = []
    assert process.stdout is not None
    while len(written) < 4:
        written.append(json.loads(process.stdout.readline()))
    process.send_signal(signal.SIGKILL)
    process.wait(BOUND)
    rest = counts(journal)["unfinished"]
    assert 5 <= rest <= 9  # at least the five under way; the others unless the journal heard of their output

    file_of_values(journal, seconds=0)
    done = run(*options[:2], *unordered, target="rest", stdin=events(1, seconds=0))
    again = lines_of(done.stdout)
    assert f"{rest} events of an earlier run first; the last line that it took was 9" in done.stderr
    assert [line for line in again if "replayed" not in line] == [{"id": 1, "ok": 1}]
    replayed = [line for line in again if "replayed" in line]
    assert all(line == {"id": line["id"], "replayed": True, "ok": line["id"]} for line in replayed)
    assert {line["id"] for line in written} | {line["id"] for line in replayed} == set(range(1, 10))
    assert counts(journal) == {"unfinished": 0, "dead": 0}


def file_of_values(journal: Path, seconds: float) -> None:
    """Have the handlers of the events in a journal wait no longer."""
    from event_collector import Payload
    from event_collector.journal.file import JournalFile
    from event_collector.journal.journal_codec import JournalCodec
    from event_collector.journal.stored_event import StoredEvent

    codec = JournalCodec([], 1_000_000)
    file = JournalFile(str(journal))
    for record in list(file.events()):
        payload = codec.decode(record)
        changed = Payload({"n": payload.value["n"], "seconds": seconds})
        changed._update_headers(origin=payload._headers.origin)
        schema, body = codec.encode(changed)
        file.db.execute(
            "UPDATE event SET body = ?, checksum = ? WHERE id = ?",
            (body, StoredEvent(record.id, schema, body, record.accepted).sealed().checksum, record.id),
        )
    file.close()


def test_what_is_given_up_at_a_signal_runs_again(tmp_path: Path, journal: Path) -> None:
    """What was finished does not, although its output had to wait for a line that was not."""
    trace = tmp_path / "begun"
    process = start("--journal", str(journal), "--drain-timeout", "0.2", target="rest")
    assert process.stdin is not None
    process.stdin.write(b'{"n":1,"seconds":60}\n')
    process.stdin.write(events(8, seconds=0).encode())
    process.stdin.write(json.dumps({"n": 10, "seconds": 0, "touch": str(trace)}).encode() + b"\n")
    process.stdin.flush()
    wait_until(trace.exists)
    process.terminate()
    process.wait(BOUND)
    output, _ = process.communicate()
    lines = lines_of(output)
    assert [line["id"] for line in lines] == list(range(1, 11))
    assert lines[0]["error"]["type"] == "QueueShutDown"
    assert all("ok" in line for line in lines[1:])
    assert process.returncode == 143
    assert counts(journal) == {"unfinished": 1, "dead": 0}


def test_a_reader_that_goes_away_leaves_what_it_did_not_get(journal: Path) -> None:
    """The journal keeps what could not be written."""
    done = subprocess.run(
        ["bash", "-c", "yes '{\"n\":1}' | \"$@\" | head -1", "bash", *command("--journal", str(journal), "--quiet")],
        capture_output=True, timeout=BOUND, check=False,
    )  # fmt: skip
    assert lines_of(done.stdout) == [{"id": 1, "ok": {"n": 1}}]
    assert done.stderr == b""
    assert counts(journal)["unfinished"] > 0


def test_what_is_not_written_yet_stays_in_the_journal(journal: Path) -> None:
    """Although its handler has finished: here the reader of the output has not read it."""
    process = start("--journal", str(journal), "--quiet")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(events(3, text="x" * 500_000).encode())
    process.stdin.flush()
    process.stdout.read(1)  # the first line is being written, and waits for somebody to read it
    time.sleep(0.3)  # what is finished would be struck out by now
    process.send_signal(signal.SIGKILL)
    process.wait(BOUND)
    assert counts(journal) == {"unfinished": 3, "dead": 0}


def test_two_runs_cannot_share_a_journal(tmp_path: Path, journal: Path) -> None:
    """The second says who has it, and reads nothing."""
    trace = tmp_path / "begun"
    process = start("--journal", str(journal), target="rest")
    assert process.stdin is not None
    process.stdin.write(json.dumps({"n": 1, "seconds": 60, "touch": str(trace)}).encode() + b"\n")
    process.stdin.flush()
    wait_until(trace.exists)
    done = run("--journal", str(journal), stdin=events(1))
    assert (done.returncode, done.stdout) == (2, "")
    assert f"is in use by another process, pid {process.pid}" in done.stderr


def test_a_queue_says_itself_where_its_journal_is(journal: Path) -> None:
    """As with the other options."""
    done = run("--journal", str(journal), target="make_queue", stdin=events(1))
    assert done.returncode == 2
    assert "is a CollectorQueue: set --journal there, not on the command line" in done.stderr


def test_a_journal_that_cannot_be_had_is_told_before_anything_is_read(tmp_path: Path) -> None:
    """With status 2."""
    done = run("--journal", str(tmp_path / "no" / "folder"), stdin=events(1))
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot be locked: No such file or directory" in done.stderr


def test_a_full_disk_stops_the_reading(journal: Path) -> None:
    """Lines that could not be written down are errors, those before them are finished."""
    setting = "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))"
    code = f"import resource, sys; from event_collector.cli import main; {setting}; sys.exit(main())"
    arguments = command("--journal", str(journal), "--quiet")
    done = subprocess.run(
        [arguments[0], "-c", code, *arguments[3:]], input=events(3000, text="x" * 1000),
        capture_output=True, text=True, timeout=BOUND, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    lines = lines_of(done.stdout)
    failed = [line for line in lines if "error" in line]
    assert {line["error"]["type"] for line in failed} == {"JournalError"}
    assert 0 < len(failed) <= len(lines)
    assert "stopped reading after line" in done.stderr
    assert "cannot be written" in done.stderr
    assert done.returncode == 1
